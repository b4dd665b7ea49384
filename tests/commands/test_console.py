"""What a terminal, a pipe, a full disk or Ctrl-C do to a command, and what a plugin may do to it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.config.run import RunConfig

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ["run --help", "describe depth=20", "report nowhere", "status nowhere", "verify nowhere", "reference nowhere"]
COMMANDS += ["lab --help", "bench --help"]


def shell(line, cwd, **environment):
    """Return the exit code of the first command of a shell line, its output and its messages."""
    command = ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"]
    given = os.environ | {"PYTHONPATH": str(ROOT), "PYTHON": sys.executable} | environment
    return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, errors="replace", check=False)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("describe depth=8 | true", 141, ""),
        ("run --help | true", 141, ""),
        ("describe depth=20 > /dev/full", 1, "harness.describe: [Errno 28] No space left on device\n"),
        ("run --help > /dev/full", 1, "harness.run: [Errno 28] No space left on device\n"),
        ("describe depth=20 >&-", 0, ""),
        ("run depth=21 2>&-", 2, ""),
        ("run depth=21 2> /dev/full", 2, ""),
        ("run depth=21 >&- 2>&- <&-", 2, ""),
        ("status nowhere 2> /dev/full", 2, ""),
        ("reference --help | true", 0, ""),  # argparse keeps it to itself
    ],
)
def test_output_that_nobody_takes_is_no_error_of_the_program(line, code, message, tmp_path):
    done = shell(f'"$PYTHON" -m harness.{line}', tmp_path)
    assert (done.returncode, done.stderr) == (code, message)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_cannot_be_encoded_is_escaped(command, encoding, tmp_path):
    (tmp_path / "é").mkdir()
    line = command.replace("nowhere", "é")
    done = shell(f'"$PYTHON" -m harness.{line}', tmp_path, PYTHONIOENCODING=encoding)
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 2)


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&- <&-", "2> /dev/full", "2>&1 | true"])
def test_a_sweep_runs_to_its_end_whoever_reads_of_it(streams, tmp_path):
    done = shell(f'"$PYTHON" -m harness.run -m depth=8 width=4 schedule.steps=2 seed=1,2 device=cpu {streams}', tmp_path)
    assert done.returncode in (0, 141)
    assert "Traceback" not in done.stderr
    states = [(run / "status.json").read_text() for run in (tmp_path / "results" / "runs").iterdir()]
    assert len(states) == 2
    assert all('"state": "done"' in state for state in states)
    assert len(list((tmp_path / "results" / "sweeps").glob("*/report.html"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run depth=8 width=4", "describe depth=110", "report x", "status", "verify x", "lab"])
def test_ctrl_c_at_any_time_gives_no_traceback(command, tmp_path):
    """From after this project's first lines: what Python does before that, for 30 ms or more, is not ours."""
    for milliseconds in (60, 90, 130, 180, 240, 300, 500, 900, 1500):
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-m", *f"harness.{command}".split()],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(milliseconds / 1000)
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=60)
        if "Traceback" in messages and f"{ROOT / 'harness'}/" not in messages.replace(str(ROOT / "harness" / "__init__.py"), ""):
            continue  # Python was at most at the first line of this project
        assert "Traceback" not in messages, (milliseconds, messages)
        assert process.returncode in (0, 2, 130, -signal.SIGINT), (milliseconds, messages)


PLUGINS = [
    ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
    ("raise SystemExit(5)", "cannot be imported: SystemExit: 5"),
    ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt"),
    ("raise GeneratorExit", "cannot be imported: GeneratorExit"),
    ("class E(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise E", "cannot be imported: E: (a value"),
    ("1 / 0", "cannot be imported: ZeroDivisionError"),
    ("raise ValueError('one\\ntwo' + 'x' * 10_000)", "cannot be imported: ValueError: one"),
    ("def f(: pass", "cannot be imported: SyntaxError"),
    ("def f():\n    f()\nf()", "cannot be imported: RecursionError"),
    ("import sys; del sys.modules[__name__]", "cannot be imported"),
]
REGISTERED = [
    ("SHORTCUT.register('a/b')", "shortcut=a/b: cannot be a name"),
    ("SHORTCUT.register('../../x')", "cannot be a name"),
    ("SHORTCUT.register('.x')", "cannot be a name"),
    ("SHORTCUT.register('')", "cannot be a name"),
    ("SHORTCUT.register('a b')", "cannot be a name"),
    ("SHORTCUT.register('ä')", "cannot be a name"),
    ("SHORTCUT.register('$\\\\frac{$')", "cannot be a name"),
    ("SHORTCUT.register('x' * 65)", "cannot be a name"),
    ("SHORTCUT.register(5)", "cannot be a name"),
    ("SHORTCUT.register('1e5')", "cannot be a name"),
    ("SHORTCUT.register('True')", "cannot be a name"),
    ("NORM.register('batch')", "norm=batch: is built in"),
    ("SHORTCUT.register('none')", "shortcut=none: is built in"),
    ("PROBE.register('layers')", "probes=layers: is built in"),
    ("PROBE.register('mine')", "probes=mine: must be a class with the method watch"),
    ("PROBE.register('steps')", "probes=steps: is the name of a table that every run has"),
]


@pytest.fixture
def plugin(tmp_path, monkeypatch, capsys):
    """Return a function that has the command line import a plugin of some text, and returns what it says."""
    from harness import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def carry_out(text, *arguments):
        (tmp_path / "a_plugin.py").write_text(text)
        try:
            code = run.main(["plugins=[a_plugin]", "depth=8", "width=4", "schedule.steps=2", *arguments])
        finally:
            sys.modules.pop("a_plugin", None)
        assert not (tmp_path / "results").exists()
        assert code == 2
        return capsys.readouterr().err

    return carry_out


@pytest.mark.parametrize(("text", "words"), PLUGINS, ids=lambda value: value[:30])
def test_a_plugin_that_cannot_be_imported_is_refused_whatever_it_raises(text, words, plugin):
    error = plugin(text)
    assert error.startswith("harness.run: plugins=a_plugin: ")
    assert words in error
    assert error.count("\n") == 1
    assert len(error) < 300


@pytest.mark.parametrize(("text", "words"), REGISTERED, ids=lambda value: value[:30])
def test_a_name_that_a_folder_or_a_figure_cannot_have_is_refused_when_it_is_registered(text, words, plugin):
    error = plugin(f"from harness.config.registry import NORM, PROBE, SHORTCUT\n\n@{text}\ndef f(x):\n    pass\n")
    assert words in error
    assert error.startswith("harness.run: plugins=a_plugin: ")


@pytest.mark.parametrize("value", ["5", "'text'", "functools.partial(print)", "[]"])
def test_an_implementation_is_a_function_or_a_class(value, plugin):
    error = plugin(f"import functools\nfrom harness.config.registry import NORM\nNORM.register('mine')({value})\n")
    assert "norm=mine: must be implemented by a function or a class" in error


@pytest.mark.parametrize(
    "name",
    ["os", "json", "sys", "__main__", "harness", "harness.run", "experiments", "'.x'", "'a b'", "''", "x.py", "'a/b.py'", "'1x'"],
)
def test_a_plugin_is_a_module_of_the_user_s_own(name, tmp_path, monkeypatch, capsys):
    from harness import run

    monkeypatch.chdir(tmp_path)
    assert run.main([f"plugins=[{name}]"]) == 2
    assert capsys.readouterr().err.startswith("harness.run: plugins=")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "now"),
    [
        ("from harness.choices import SHORTCUT", "harness.choices is now harness.config.registry"),
        ("from harness.config import DataConfig", "harness.config.DataConfig is now harness.config.data.DataConfig"),
        ("from harness.data.sources import Arrays", "harness.data.sources is now harness.data.datasets"),
        ("import harness.probes.probe", "harness.probes.probe is now harness.probes.base"),
        ("from experiments.declaration import Claim", "experiments.declaration is now harness.claims.claim"),
    ],
)
def test_a_plugin_written_for_an_earlier_version_is_told_the_new_place(line, now, plugin):
    assert plugin(line).rstrip().endswith(f"; {now}")


def test_a_plugin_of_this_project_s_own():
    assert RunConfig(plugins=("harness.lab.plugin",)).plugins == ("harness.lab.plugin",)


def test_a_plugin_that_changes_the_folder_changes_no_path_of_the_command_line(plugin, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    before = Path.cwd()
    plugin("import os; os.chdir('elsewhere')", "schedule.batch_size=2000")
    assert Path.cwd() == before
