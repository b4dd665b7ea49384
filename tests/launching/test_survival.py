"""Runs that are cut off go on to the same bits; what one run suffers costs no other; damage is found."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import survival
from harness import run, status
from harness.config.data import DataConfig
from harness.launching import job
from harness.planning.sweep import plan
from harness.records import paths, states
from harness.records.reader import RecordError
from harness.records.run import Run, create, write_status
from harness.system import locks
from harness.system.owner import Owner
from harness.training import checkpoint
from harness.training.train import train
from support.helpers import KEYS, keys, tiny, tiny_schedule
from support.interruption import SUICIDE, files, interrupt, stop_after
from support.waiting import until

ROOT = Path(__file__).resolve().parents[2]


CONFIGS = {
    "plain": tiny(shortcut="none"),
    "no norm": tiny(norm="none", data=DataConfig(augment=False)),
    "bf16": tiny(precision="bf16", schedule=tiny_schedule(decay_norm=False)),
    "equal steps": tiny(update_scaling="layerwise"),
    "every norm": tiny(gradient_norms="every", shortcut="projection"),
    "holdout": tiny(data=DataConfig(split="holdout"), shortcut="projection"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_goes_on_from_every_step_to_the_same_bits(name, tmp_path, monkeypatch):
    config = CONFIGS[name]
    whole = train(config, tmp_path / "whole")
    steps = []
    for looks in range(23 if config.data.split == "full" else 26):  # 11 steps and 3 evaluations, of 1 + 3 batches, less the last
        results = tmp_path / str(looks)
        interrupt(config, results, looks, monkeypatch)
        (folder,) = (results / paths.RUNS).iterdir()
        assert Run(folder).state == states.INTERRUPTED
        steps.append(Run(folder).status["step"])
        again = train(config, results)
        assert again.status["resumed_from_step"] == [steps[-1]]
        assert files(again) == files(whole)
        assert again.epochs.drop(columns="seconds").equals(whole.epochs.drop(columns="seconds"))
        assert not (folder / paths.CHECKPOINT).exists()
    assert set(steps) == set(range(1, config.schedule.steps + 1))


def test_a_run_cut_off_at_every_single_step_ends_in_the_same_bits(tmp_path, monkeypatch):
    schedule = tiny_schedule(steps=70, milestones=(), warmup="until_error", warmup_learning_rate=0.02, warmup_max_steps=60)
    config = tiny(schedule=schedule)
    whole = train(config, tmp_path / "whole")
    cuts = 0
    with monkeypatch.context() as patch:
        stop_after(patch, 6)
        while True:
            try:
                again = train(config, tmp_path / "cut")
                break
            except KeyboardInterrupt:
                cuts += 1
    assert cuts >= 9
    assert again.status["resumed_from_step"] == sorted(again.status["resumed_from_step"])
    assert len(again.status["resumed_from_step"]) == cuts
    assert again.status["warmup_end"] == whole.status["warmup_end"]
    assert files(again) == files(whole)


def test_random_layers_go_on_with_their_own_stream(tmp_path, monkeypatch):
    """A shortcut with dropout draws from torch's generator: its state is part of the checkpoint."""
    from torch.nn import functional

    from harness.config.registry import SHORTCUT
    from harness.models.shortcuts import Shortcut

    class Dropped(Shortcut):
        def forward(self, x, branch):
            return branch + functional.dropout(self.match(x), 0.5, self.training)

    SHORTCUT.register("dropped-for-a-test", "random")(Dropped)
    config = tiny(shortcut="dropped-for-a-test")
    whole = train(config, tmp_path / "whole")
    interrupt(config, tmp_path / "cut", 5, monkeypatch)
    assert files(train(config, tmp_path / "cut")) == files(whole)
    SHORTCUT.sentences.pop("dropped-for-a-test")


def test_a_run_that_went_on_on_another_machine_says_so(tmp_path, monkeypatch, caplog):
    interrupt(tiny(), tmp_path, 5, monkeypatch)
    monkeypatch.setattr("harness.training.environment._cpu_model", lambda: "another processor")
    assert train(tiny(), tmp_path).status["resumed_elsewhere"] is True
    assert "begun with another torch or processor" in caplog.text


def test_saving_every_two_minutes_takes_at_most_one_percent():
    assert survival.checkpoint_share() < 0.01


def test_a_damaged_checkpoint_is_set_aside_and_the_run_begins_anew(tmp_path, monkeypatch, caplog):
    whole = train(tiny(), tmp_path / "whole")
    for damage in (lambda data: data[:-1], lambda data: data[:100] + b"x" + data[101:], lambda data: b""):
        results = tmp_path / "cut"
        interrupt(tiny(), results, 5, monkeypatch)
        (folder,) = (results / paths.RUNS).iterdir()
        path = folder / paths.CHECKPOINT
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(RecordError, match=r"checkpoint\.pt: damaged"):
            checkpoint.load(path)
        again = train(tiny(), results)
        assert "damaged: its checksum does not fit" in caplog.text
        assert files(again) == files(whole)
        assert "resumed_from_step" not in again.status
        assert (folder / f"{paths.CHECKPOINT}.damaged-1").exists()
        shutil.rmtree(results)


@pytest.mark.parametrize("name", [paths.STEPS, paths.probe_table("layers"), paths.WEIGHTS, paths.CONFIG, paths.STATUS])
@pytest.mark.parametrize("damage", ["altered", "cut short", "gone"])
def test_a_damaged_run_is_named_set_aside_and_done_again(name, damage, tmp_path, caplog):
    whole = train(tiny(), tmp_path)
    before = files(whole)
    path = whole.folder / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut short" else data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    if (name, damage) == (paths.STATUS, "gone"):  # as if cut off before it began
        assert files(train(tiny(), tmp_path)) == before
        return
    assert files(train(tiny(), tmp_path)) == before
    aside = whole.folder.with_name(f"{whole.folder.name}.damaged-1")
    assert aside.is_dir()
    assert name in caplog.text


def test_two_processes_do_not_write_one_run(tmp_path):
    lock = paths.lock(tmp_path, "a-run")
    with locks.try_lock(lock) as mine:
        assert mine
        code = "from pathlib import Path\nfrom harness.system import locks\n"
        code += f"with locks.try_lock(Path({str(lock)!r})) as mine: print(mine)"
        other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert other.stdout.strip() == "False"
        assert locks.is_held(lock)
    assert not locks.is_held(lock)
    dead = "import os\n" + code.replace("print(mine)", "os._exit(9)")
    subprocess.run([sys.executable, "-c", dead], cwd=ROOT, check=False)
    assert len(list(lock.parent.iterdir())) == 1  # left by a process that is dead
    assert not locks.is_held(lock)
    with locks.try_lock(lock) as mine:
        assert mine


def test_two_sweeps_at_once_share_their_runs(tmp_path):
    both = [survival.start(tmp_path / "results", ["-m", "depth=8,14", "shortcut=none,identity", *KEYS]) for _ in range(2)]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    log = (tmp_path / "results.log").read_text()
    assert log.count("step 12 of 12") == 4
    assert "Traceback" not in log


def test_a_killed_run_costs_no_other_and_the_same_command_goes_on(tmp_path):
    (tmp_path / "deadly.py").write_text(SUICIDE)
    arguments = ["-m", "plugins=[deadly]", "shortcut=none,deadly,identity", "depth=8", *KEYS, "results=results"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def sweep():
        command = [sys.executable, "-m", "harness.run", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    first = sweep()
    assert first.returncode == 1
    runs = {folder.name.split("-")[1]: Run(folder) for folder in (tmp_path / "results" / "runs").iterdir()}
    assert {name: one.state for name, one in runs.items()} == {"none": "done", "deadly": "killed", "identity": "done"}
    assert "ended by SIGKILL" in first.stdout
    assert "ended by SIGKILL" in next((tmp_path / "results" / "sweeps").glob("*/report.md")).read_text()
    (tmp_path / "harmless").touch()
    second = sweep()
    assert second.returncode == 0, second.stderr
    assert "2 of 3 runs were done before" in second.stderr


def test_divergence_alone_is_no_failure(tmp_path):
    wild = keys("norm=none", "depth=26", "schedule.learning_rate=1e6,0.01", f"results={tmp_path}")
    assert run.main(["-m", "launcher=inline", *wild]) == 0
    states = sorted(Run(folder).state for folder in (tmp_path / "runs").iterdir())
    assert states == ["diverged", "done"]


LONG = ["-m", "depth=8,14", "shortcut=none,identity", "width=4", "device=cpu", "schedule.steps=4000", "schedule.batch_size=32"]


LONG += ["launcher.workers=2"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_sweep_ends_soon_with_everything_saved(number, tmp_path):
    results = tmp_path / "results"
    parent = survival.start(results, LONG)
    until(lambda: sum('"running"' in path.read_text() for path in results.glob("runs/*/status.json")) == 2)
    time.sleep(1.5)
    asked = time.monotonic()
    parent.send_signal(number)
    assert parent.wait(timeout=30) == 130
    assert time.monotonic() - asked < 15  # 5 seconds on a machine that does nothing else; it is measured, not tested
    assert not survival.wait_gone(results, 10)
    log = results.with_suffix(".log").read_text()
    assert "run the same command again to resume: python -m harness.run -m depth=8,14" in log
    states = [Run(folder).state for folder in (results / "runs").iterdir()]
    assert states.count("interrupted") == 2
    assert states.count("waiting") == 2
    assert all(path.stat().st_size > 1000 for path in results.glob("runs/*/checkpoint.pt"))
    assert len(list(results.glob("runs/*/checkpoint.pt"))) == 2


def test_workers_end_when_the_parent_is_killed(tmp_path):
    results = tmp_path / "results"
    parent = survival.start(results, LONG)
    until(lambda: sum('"loss"' in path.read_text() for path in results.glob("runs/*/status.json")) == 2)
    assert len(survival.family(results)) >= 5  # the parent, two workers, their two guards
    parent.kill()
    parent.wait()
    assert not survival.wait_gone(results, 20)
    assert len(list(results.glob("runs/*/checkpoint.pt"))) == 2  # and they saved what they had


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
def test_workers_that_are_just_starting_end_when_the_parent_is_killed(delay, tmp_path):
    results = tmp_path / "results"
    parent = survival.start(results, LONG)
    until(lambda: workers(results))
    time.sleep(delay)
    parent.kill()
    parent.wait()
    assert not survival.wait_gone(results, 20)


def workers(results):
    """Return the process ids of a sweep's launcher workers."""
    found = []
    for pid in survival.family(results):
        with suppress(OSError):
            if b"harness.worker" in (Path("/proc") / str(pid) / "cmdline").read_bytes():
                found.append(pid)
    return found


def test_a_single_run_outlives_the_shell_that_started_it(tmp_path):
    results = tmp_path / "results"
    arguments = keys("depth=8", "shortcut=none", "schedule.steps=400", f"results={results}")
    command = shlex.join([sys.executable, "-m", "harness.run", *arguments])
    environment = os.environ | {survival.MARK: str(results)}
    shell = ["sh", "-c", f"nohup {command} >{shlex.quote(str(tmp_path / 'log'))} 2>&1 & read line"]
    with subprocess.Popen(shell, stdin=subprocess.PIPE, cwd=ROOT, env=environment) as process:
        until(lambda: any('"running"' in path.read_text() for path in results.glob("runs/*/status.json")))
        process.communicate(b"end\n")
    assert not survival.wait_gone(results, 60)
    (folder,) = (results / paths.RUNS).iterdir()
    assert Run(folder).state == states.DONE


def test_status_says_how_far_a_sweep_is_from_its_files_alone(tmp_path, capsys, monkeypatch):
    assert run.main(["-m", "launcher=inline", "depth=8,14", *KEYS, f"results={tmp_path / 'results'}"]) == 0
    capsys.readouterr()
    (cut,) = (tmp_path / "results" / "runs").glob("*-8-*")
    write_status(Run(cut), states.RUNNING, step=6, steps=12, loss=2.25, batch_error=50.0, seconds=3.0)
    monkeypatch.chdir(tmp_path)
    assert status.main([]) == 0
    text = capsys.readouterr().out
    assert "interrupted" in text  # nobody holds its lock
    with locks.try_lock(paths.lock(tmp_path / "results", cut.name)):
        other = subprocess.run(
            [sys.executable, "-m", "harness.status"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    line = next(line for line in other.splitlines() if cut.name in line)
    assert line.split()[1:] == ["running", "6", "of", "12", "2.25", "50.0", "%", "3", "s"]
    assert "1 running, 1 done; about 3 s left" in other
    assert status.main([str(tmp_path)]) == 2
    assert "sweep.json: missing" in capsys.readouterr().err


def test_a_full_disk_stops_the_run_with_a_clear_error_and_spares_what_was_there(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        first = ["depth=8", "shortcut=none", *KEYS, f"results={place}"]
        code = f"import sys; from harness.run import main; sys.exit(main({first!r}))"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode in (0, 1, 2)
        (one,) = (place / "runs").iterdir()
        good = {path.name: path.read_bytes() for path in one.iterdir()}
        assert Run(one).state == "done"
        (place / "ballast").write_bytes(b"\0" * max(0, shutil.disk_usage(place).free - 30_000))
        done = subprocess.run(
            [sys.executable, "-m", "harness.run", "depth=8", "shortcut=identity", *KEYS, f"results={place}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode != 0
        assert "No space left on device" in done.stderr + done.stdout
        assert {path.name: path.read_bytes() for path in one.iterdir()} == good
        Run(one).check()
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("kills", [pytest.param(5, marks=pytest.mark.slow), pytest.param(50, marks=pytest.mark.soak)])
@pytest.mark.timeout(3600)
def test_kills_at_random_moments_lose_nothing(kills):
    made, _, lost, different = survival.survive(kills, seed=kills)
    assert (made, lost, different) == (kills, 0, 0)


@pytest.mark.parametrize("runs", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_many_runs_of_one_step_in_one_sweep(runs, tmp_path):
    seeds = ",".join(map(str, range(runs)))
    one = keys("schedule.steps=1", "depth=8", f"seed={seeds}", f"results={tmp_path}")
    assert run.main(["-m", *one]) == 0
    assert len(list((tmp_path / "runs").glob("*/status.json"))) == runs
    assert {json.loads(path.read_text())["state"] for path in (tmp_path / "runs").glob("*/status.json")} == {"done"}


def test_runs_that_a_host_held_when_it_died_are_trained(tmp_path, monkeypatch):
    """A new worker takes the lease of another host for alive; only the command has watched it for long enough to free it."""
    monkeypatch.setattr(locks, "EXPIRY", 1.0)
    sweep = ["-m", "seed=0,1", *keys("depth=8", f"results={tmp_path}")]
    prepared, unprepared = plan(sweep[1:], True, []).configs
    job.write(create(prepared, tmp_path), prepared, "")
    (tmp_path / paths.LOCKS).mkdir()
    for config in (prepared, unprepared):
        lease = paths.lock(tmp_path, f"{config.run_name()}.0123456789abcdef")
        lease.write_text(json.dumps(asdict(Owner("elsewhere", "another boot", 1, "1", ""))) + locks.HELD)
    assert run.main(sweep) == 0
    assert {Run(folder).state for folder in (tmp_path / paths.RUNS).iterdir()} == {"done"}
