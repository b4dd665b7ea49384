"""The command line: what it refuses, what it runs, and what it leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness import report, run
from harness.planning.sweep import hide_paths
from harness.records import paths
from support.helpers import KEYS, keys

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = (paths.STEPS, paths.probe_table("layers"), paths.probe_table("blocks"), paths.WEIGHTS)


def harness_run(*arguments, results, expect=0):
    """Carry out `python -m harness.run` in this process."""
    code = run.main([*arguments, *KEYS, f"results={results}"])
    assert code == expect
    return code


def only(folder):
    (child,) = folder.iterdir()
    return child


BAD = [
    (["depth=21"], "depth=21: this family has depth 6n+2; nearest are 20 and 26"),
    (["depth=8.5"], "depth=8.5: must be a whole number"),
    (["depth=-2"], "depth=-2"),
    (["shortcut=identiy"], "did you mean identity?"),
    (["depth=44", "block=bottleneck"], "nearest are 38 and 47, or block=basic"),
    (["family=imagenet"], "depth=20: this family has depth 18 or 34 or 50 or 101 or 152; nearest are 18 and 34"),
    (
        ["shortcut=none", "gate_bias=-3"],
        "not for shortcut=none; leave gate_bias out, or take shortcut=exclusive_gate or",
    ),
    (["-m", "shortcut=none,scaling", "shortcut_scale=0.3"], "shortcut_scale=0.3: is for shortcut=scaling"),
    (["family=imagenet", "depth=18", "schedule.batch_size=1"], "batch normalisation needs two values a channel"),
    (["variant=he2016_dropot"], "did you mean he2016_dropout"),
    (["start_from=20"], "start_from=20: must be a depth of the same kind below depth=20; nearest is 14"),
    (["-m", "depth=14,20", "start_from=none,14"], "start_from=14: must be a depth of the same kind below depth=14; nearest is 8"),
    (["update_scaling=layer"], "did you mean layerwise?"),
    (["norm=layer"], "norm=layer: unknown; allowed: batch, none"),
    (["init=xavir"], "did you mean xavier?"),
    (["data=cifar"], "did you mean cifar10?"),
    (["schedule=paper"], "schedule=paper: unknown; allowed: cifar10"),
    (["depht=20"], "did you mean depth?"),
    (["+depht=20"], "did you mean"),
    (["schedule.stesp=20"], "did you mean schedule.steps"),
    (["seed=-1"], "seed=-1"),
    (["schedule.steps=0"], "schedule.steps=0"),
    (["schedule.milestones=[5,12]"], "12 is past the end"),
    (["schedule.batch_size=2000"], "larger than the data set"),
    (["width=0"], "width=0"),
    (["schedule.learning_rate=nan"], "schedule.learning_rate=nan"),
    (["device=cuda:99"], "CUDA device"),
    (["data=cifar10", "data.root=/no/such/folder"], "there is no such folder"),
    (["data=cifar100", "data.root=/no/such/folder"], "there is no such folder; unpack an official CIFAR100 archive"),
    (["data=image_folder"], "data.root is not given"),
    (["data=image_folder", "data.root=/no/such/folder"], "data.root=/no/such/folder: there is no such folder"),
    (["data=image_folder", "data.root=x", "data.image_size=0"], "data.image_size=0: must be a whole number of at least 1"),
    (["data=image_folder", "data.root=x", "data.content=mine"], "data.content=mine: must be sha256: and 16 hexadecimal digits"),
    (["data=image_folder", "data.root=x", "data.download=true"], "there is nothing to download"),
    (
        ["data=image_folder", "data.root=x", "data.image_size=32", "data.resize=31"],
        "data.resize=31: must be from data.image_size",
    ),
    (["data=image_folder", "data.root=x", "data.image_size=32", "data.resize=257"], "nearest is data.resize=256"),
    (["data=image_folder", "data.root=x", "data.resize=100000"], "data.resize=100000: must be at most 16384"),
    (["data=image_folder", "data.root=x", "data.resize=0"], "data.resize=0: must be a whole number of at least 1"),
    (["data.resize=32"], "data.resize=32: data=digits has its own images, of one size; for image_folder alone"),
    (["data.image_size=32"], "data.image_size=32: data=digits has its own images, of one size"),
    (["data=cifar10", "data.image_size=32"], "data=cifar10 has its own images"),
    (["depth=8,14"], "add -m"),
    (["experiment=degradation"], "add -m"),
    (["experiment=degradatoin", "-m"], "did you mean degradation?"),
    (["-m", "depth=8,14,21"], "nearest are 20 and 26"),
    (["-m", "schedule.steps=12,0"], "schedule.steps=0"),
    (["-m", "shortcut=none,"], ""),
    (["depth=[8"], ""),
    (["probes=[layers,speed]"], "probes=speed"),
    (["plugins=[no_such_module]"], "cannot be imported"),
    (["~depth"], "a key cannot be removed"),
    (["results="], "must be a folder's path"),
    (["results=null"], "must be a folder's path"),
    (["-m", "results=one,two"], "a sweep has one results"),
    (["-m", "experiment=degradation,vanishing_gradient"], "a sweep has one experiment"),
    (["-m", "launcher=nonsense"], "nonsense"),
    (["-m", "launcher.workers=abc"], "abc"),
    (["-m", "hydra.lancher.x=2"], "lancher"),
    (["-m", "data.split=holdout,full", "schedule.batch_size=1400"], "1294 training images"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bad_input_is_refused_with_exit_code_2_before_anything_is_written(arguments, words, tmp_path, capsys):
    results = tmp_path / "results"
    place = [] if any(argument.startswith("results=") for argument in arguments) else [f"results={results}"]
    assert run.main([*keys(*arguments), *place]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("harness.run: ")
    assert "Traceback" not in error
    assert not results.exists() or not any(results.iterdir())


def test_a_results_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    harness_run(results=tmp_path / "file", expect=2)
    assert "cannot be written" in capsys.readouterr().err


def test_a_plugin_that_breaks_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run.main(["plugins=[broken_plugin]", f"results={tmp_path / 'results'}"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "published"),
    [
        ("depth=20,56", "depth=20,56"),
        ("results=/home/someone/results", "results=PATH"),
        ("results='/home/someone/my results'", "results=PATH"),
        ('data.root="~/data"', "data.root=PATH"),
        ("plugins=[/home/someone/x]", "plugins=PATH"),
        ("results=C:\\Users\\someone", "results=PATH"),
        ("schedule.milestones=[1,2]", "'schedule.milestones=[1,2]'"),
    ],
)
def test_no_absolute_path_of_a_command_is_published(argument, published):
    assert hide_paths(["python", argument]) == f"python {published}"


def test_data_that_are_damaged_are_refused_with_the_md5(tmp_path, capsys):
    place = tmp_path / "cifar-10-batches-bin"
    place.mkdir()
    (place / "data_batch_1.bin").write_bytes(b"7")
    harness_run("data=cifar10", f"data.root={tmp_path}", results=tmp_path / "results", expect=2)
    assert "data_batch_1.bin is damaged: its MD5 is 8f14e45f" in capsys.readouterr().err


def test_a_bad_choice_is_refused_without_importing_torch():
    code = "import sys; from harness.run import main; code = main(['depth=21']); sys.exit(code + 10 * ('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 2


def test_help_names_every_key_and_group(capsys):
    assert run.main(["--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "depth: 20",
        "shortcut: identity",
        "projection_all",
        "  data: cifar10, cifar100, digits, image_folder",
        "warmup_max_steps",
        "  experiment: ",
    ):
        assert word in text


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """One small sweep through the real command, in its own process, run in parallel by default."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-m", "harness.run", "-m", "depth=8,14,8", "shortcut=none,identity", *KEYS]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, env=environment, check=False)
    return home, done


def test_a_sweep_prints_its_table_and_the_absolute_path_of_its_report(sweep):
    _, done = sweep
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip().splitlines()[-1].removeprefix("report: "))
    assert path.is_absolute()
    assert path.is_file()
    assert done.stdout.splitlines()[0].split()[:3] == ["depth", "shortcut", "status"]
    assert done.stdout.count(" done ") == 4  # depth=8 was asked for twice, and is one run
    assert "step 12 of 12" in done.stderr


def test_a_sweep_leaves_nothing_but_runs_and_its_folder(sweep):
    home, _ = sweep
    assert [path.name for path in home.iterdir()] == ["results"]
    results = home / "results"
    assert {path.name for path in results.iterdir()} == {"runs", "sweeps"}
    assert len(list((results / "runs").iterdir())) == 4
    folder = only(results / "sweeps")
    assert {path.name for path in folder.iterdir()} == {
        *("sweep.json", "runs.csv", "verdicts.json", "figures", "report.json", "report.md", "report.html")
    }
    table = pd.read_csv(folder / "runs.csv", keep_default_na=False)
    assert table["shortcut"].tolist() == ["none", "identity"] * 2
    assert {
        "depth",
        "schedule.steps",
        "status",
        "train_error",
        "test_error",
        "train_loss",
        "seconds",
        "parameters",
        "run",
    } <= set(table)


def test_runs_are_bit_equal_in_parallel_one_after_the_other_and_alone(sweep, tmp_path):
    home, _ = sweep
    parallel = {path.name: path for path in (home / "results" / "runs").iterdir()}
    harness_run("-m", "depth=8,14", "shortcut=none", "launcher=inline", results=tmp_path / "serial")
    harness_run("depth=14", "shortcut=none", results=tmp_path / "alone")
    for others in (tmp_path / "serial" / "runs", tmp_path / "alone" / "runs"):
        for folder in others.iterdir():
            for name in NUMBERS:
                assert (folder / name).read_bytes() == (parallel[folder.name] / name).read_bytes(), (folder.name, name)


def test_the_same_command_again_reuses_its_runs(sweep, caplog):
    home, _ = sweep
    stamps = {path: path.stat().st_mtime_ns for path in (home / "results" / "runs").rglob("*")}
    harness_run("-m", "depth=14,8", "shortcut=none,identity", results=home / "results")
    assert "4 of 4 runs were done before" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in (home / "results" / "runs").rglob("*")} == stamps
    assert len(list((home / "results" / "sweeps").iterdir())) == 1  # the same runs in another order are the same sweep


def test_what_is_published_holds_no_absolute_path(sweep):
    home, _ = sweep
    for path in (home / "results").rglob("*"):
        if path.suffix in (".json", ".md", ".html", ".csv"):
            assert str(home) not in path.read_text(), path


def test_a_single_run_is_a_sweep_of_one(tmp_path, capsys):
    harness_run("depth=8", "shortcut=none", results=tmp_path)
    folder = only(tmp_path / "sweeps")
    assert json.loads((folder / "sweep.json").read_text())["runs"] == [only(tmp_path / "runs").name]
    assert f"report: {folder / 'report.html'}" in capsys.readouterr().out


def test_absolute_paths_of_the_command_are_not_recorded(tmp_path):
    harness_run("depth=8", results=tmp_path)
    about = json.loads((only(tmp_path / "sweeps") / "sweep.json").read_text())
    assert about["command"].endswith("results=PATH")
    assert "results=PATH" in (only(tmp_path / "runs") / paths.ENVIRONMENT).read_text()


def test_one_failing_run_costs_no_other(tmp_path):
    plugin = tmp_path / "broken_shortcut.py"
    plugin.write_text(
        "from harness.config.registry import SHORTCUT\n"
        "from harness.models.shortcuts import Shortcut\n\n"
        "@SHORTCUT.register('broken', 'fails')\n"
        "class Broken(Shortcut):\n"
        "    def forward(self, x, branch):\n"
        "        raise RuntimeError('<b>no way through</b>')\n"
    )
    results = tmp_path / "results"
    arguments = ["-m", "depth=8", "shortcut=none,broken,identity", "plugins=[broken_shortcut]", *KEYS, f"results={results}"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    command = [sys.executable, "-m", "harness.run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 1
    states = {
        path.name.split("-")[1]: json.loads((path / "status.json").read_text())["state"] for path in (results / "runs").iterdir()
    }
    assert states == {"none": "done", "broken": "failed", "identity": "done"}
    page = (only(results / "sweeps") / "report.html").read_text()
    assert "RuntimeError: &lt;b&gt;no way through&lt;/b&gt;" in page
    assert "<b>no way" not in page
    assert "no way through" in done.stdout


def test_a_report_on_a_folder_that_is_no_sweep_is_refused(tmp_path, capsys):
    assert report.main([str(tmp_path)]) == 2
    assert "sweep.json: missing" in capsys.readouterr().err
    assert report.main([str(tmp_path / "nowhere")]) == 2
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "sweep.json").write_text('{"runs": ["gone"]}')
    assert report.main([str(tmp_path)]) == 2
    assert "gone: the run's folder is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_cifar10_runs_and_reports(cifar_root, tmp_path):
    keys = ["data=cifar10", f"data.root={cifar_root}", "schedule.steps=12", "schedule.batch_size=32", "width=4", "device=cpu"]
    command = [sys.executable, "-m", "harness.run", "-m", "depth=8,14", "shortcut=none,identity", *keys, f"results={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" done ") == 4
