"""Measure whether sweeps survive kills, and what that costs: python -m benchmarks.survival [KILLS]

Whenever the sweep's command runs, one of its processes (the parent, a launcher's worker, or one that trains) gets SIGKILL at a
random moment, the rest is stopped, and the same command is run again. When a sweep is complete, its numbers and weights are
compared with those of an undisturbed sweep, and the next one begins. Prints lost runs and files that differ: both must be 0.
Then measures the cost of checkpoints at the default interval, the cost of a run in a sweep of 200 runs of one step, and the
time that `harness.status` takes for them.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from harness.config.run import RunConfig
from harness.records import paths, reader
from harness.records.run import create
from harness.system.signals import Stop
from harness.training.loop import Training

ROOT = Path(__file__).resolve().parent.parent
MARK = "SURVIVAL_OF"
"""Environment variable that identifies the processes of a sweep, even after their parent has changed."""
NUMBERS = [paths.table(name) for name in ("steps", "layers", "blocks")] + [paths.WEIGHTS]
STARTED = []
"""Commands and their results, until `end_all`."""
SWEEP = [
    *("-m", "depth=8,14", "shortcut=none,identity", "width=4", "device=cpu"),
    *("schedule.steps=800", "schedule.batch_size=32", "schedule.eval_every=200", "checkpoint_minutes=0.005"),
]


def start(results, arguments=SWEEP, plugins=""):
    """Start the sweep's command in its own process group; its output goes to a file beside the results.

    Modules in the folder `plugins` can be imported.
    """
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{plugins}", MARK: str(results)}
    command = [sys.executable, "-m", "harness.run", *arguments, f"results={results}"]
    with results.with_suffix(".log").open("ab") as log:
        started = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True, preexec_fn=receive_signals
        )
    STARTED.append((started, results))
    return started


def receive_signals():
    """Restore the default reaction to SIGINT and SIGHUP, which `nohup` and background jobs ignore."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def end_all():
    """Kill whatever a failed test has left running."""
    while STARTED:
        command, results = STARTED.pop()
        for pid in family(results):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.wait()


def family(results):
    """Return the ids of the running processes of the sweep's command and of its descendants."""
    mark, pids = f"{MARK}={results}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    pids.append(int(entry.name))
    return pids


def wait_gone(results, seconds):
    """Wait until no process of the sweep runs; return those that still run after `seconds`."""
    end = time.monotonic() + seconds
    while (left := family(results)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def numbers(results):
    """Return the bytes of every file of numbers by run and name; epochs.csv without its times."""
    folders = [folder for folder in (results / paths.RUNS).iterdir() if ".damaged-" not in folder.name]
    contents = {
        (folder.name, name): (folder / name).read_bytes() for folder in folders for name in NUMBERS if (folder / name).exists()
    }
    for folder in folders:
        if (folder / paths.EPOCHS).exists():
            contents[folder.name, paths.EPOCHS] = (
                reader.read_table(folder / paths.EPOCHS).drop(columns="seconds").to_csv().encode()
            )
    return contents


def disturb(results, chance):
    """Start the sweep and kill one of its processes at a random moment; return (exit code or None, whether one was killed).

    A parent that survives gets SIGINT. Afterwards no process of the sweep may be left.
    """
    parent = start(results)
    end = time.monotonic() + chance.uniform(3.0, 10.0)
    while parent.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    members = family(results)
    if parent.poll() is not None:
        return parent.returncode, False
    os.kill(chance.choice(members), signal.SIGKILL)
    time.sleep(chance.uniform(0.0, 1.0))
    if parent.poll() is None:
        parent.send_signal(signal.SIGINT)
    parent.wait(timeout=60)
    assert not (left := wait_gone(results, 20)), f"left behind: {left}"
    return None, True


def survive(kills, seed=0, say=print):
    """Kill `kills` times; return (kills made, sweeps finished, runs lost, files that differ)."""
    chance, made, sweeps, lost, different = random.Random(seed), 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as home:
        undisturbed = Path(home) / "undisturbed"
        assert start(undisturbed).wait() == 0
        expected = numbers(undisturbed)
        while made < kills:
            results, done = Path(home) / f"results-{sweeps}", False
            while not done:
                if made < kills:
                    code, killed = disturb(results, chance)
                    made += killed
                else:
                    code = start(results).wait()
                done = code == 0
                assert code in (0, 1, None, 130), results.with_suffix(".log").read_text()
            sweeps += 1
            after = numbers(results)
            lost += len({run for run, _ in expected} - {run for run, _ in after})
            different += sum(after.get(key) != content for key, content in expected.items())
            say(f"{made} kills, {sweeps} sweeps finished, {lost} runs lost, {different} files differ", flush=True)
    return made, sweeps, lost, different


def checkpoint_share(steps=64_000):
    """Return the share of time spent on saving every two minutes: a 110-layer net on CIFAR-10 near its end."""
    config = RunConfig(110, "none", device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        training = Training(config, create(config, Path(folder)), {}, Stop())
        training.advance(probed=False)
        row = {"step": 63_999, "epoch": 163, "learning_rate": 0.001, "loss": 0.123456789, "error": 1.5625}
        training.recorder.steps = [dict(row) for _ in range(steps)]
        times = []
        for _ in range(5):
            before = time.perf_counter()
            training.save()
            times.append(time.perf_counter() - before)
    return sorted(times)[2] / (60 * config.execution.checkpoint_minutes)


def sweep_seconds(results, runs):
    """Return the seconds of a sweep of `runs` runs of one step."""
    seeds = ",".join(map(str, range(runs)))
    keys = ["depth=8", "width=4", "schedule.steps=1", "schedule.batch_size=32", f"seed={seeds}"]
    before = time.perf_counter()
    assert start(results, ["-m", "device=cpu", *keys]).wait() == 0
    return time.perf_counter() - before


def main(kills):
    survive(kills)
    print(f"checkpoints take {checkpoint_share():.2%} of the time")
    with tempfile.TemporaryDirectory() as home:
        few, many = sweep_seconds(Path(home) / "few", 20), sweep_seconds(Path(home) / "many", 200)
        print(f"200 runs of one step: {many:.1f} s in all, {(many - few) / 180:.2f} s a run beyond start-up")
        before = time.perf_counter()
        (sweep,) = (Path(home) / "many" / paths.SWEEPS).iterdir()
        subprocess.run([sys.executable, "-m", "harness.status", sweep], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        print(f"harness.status over 200 runs: {time.perf_counter() - before:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
