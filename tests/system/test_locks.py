"""One writer per run: where nothing can be locked or written that is said in one sentence, and nothing spins or starts."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import harness
from harness import run
from harness.config.registry import ChoiceError
from harness.launching import job, worker
from harness.records import paths
from harness.records.run import create, write_status
from harness.system import locks
from harness.system.owner import Owner
from harness.system.signals import Stop
from support.helpers import KEYS, tiny, tiny_schedule

ROOT = Path(__file__).resolve().parents[2]
SUBFOLDERS = [paths.LOCKS, paths.RUNS, paths.SWEEPS]
WRONG = {
    "a file": lambda path: path.touch(),
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a link to a file": lambda path: path.symlink_to("/etc/passwd"),
    "a FIFO": os.mkfifo,
}
NAME = tiny().run_name()


def names(folder):
    return [path.name for path in folder.iterdir()]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("place", SUBFOLDERS)
def test_what_is_no_folder_below_results_is_named_and_nothing_is_started(place, wrong, tmp_path, capsys):
    WRONG[wrong](tmp_path / place)
    assert run.main(["-m", "depth=8", "seed=0,1", *KEYS, f"results={tmp_path}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path / place}: is not a folder" in said
    assert names(tmp_path) == [place]
    with pytest.raises(ChoiceError, match="is not a folder"):
        harness.train(tiny(), tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities are dropped by root alone")
@pytest.mark.parametrize("place", SUBFOLDERS)
def test_a_folder_without_permission_is_named_and_nothing_is_started(place, tmp_path):
    (tmp_path / place).mkdir(mode=0)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    command = [*drop, sys.executable, "-m", "harness.run", "depth=8", *KEYS, f"results={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{tmp_path / place}: is a folder without permission" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO])
def test_locks_need_nothing_of_a_file_system_but_files(number, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fails)
    monkeypatch.setattr(fcntl, "lockf", fails)
    assert harness.train(tiny(), tmp_path).state == "done"


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_where_no_lock_can_be_made_the_folder_is_named_and_nothing_is_started(number, tmp_path, capsys, monkeypatch):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "rename", fails)
    assert run.main(["-m", "depth=8", "seed=0,1", *KEYS, f"results={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert f"{tmp_path / paths.LOCKS}: no lock can be made there ({os.strerror(number)})" in message
    assert names(tmp_path) == []
    with pytest.raises(ChoiceError, match=os.strerror(number)):
        harness.train(tiny(), tmp_path)


def lease_of(lock, owner):
    """Write the lease of another owner, as it has it once it holds the lock."""
    lock.parent.mkdir(exist_ok=True)
    lease = lock.with_name(f"{lock.name}.0123456789abcdef")
    lease.write_text(json.dumps(asdict(owner)) + locks.HELD)
    return lease


ELSEWHERE = Owner("another-host", "another boot", 1, "1", "77")


def test_a_machine_that_renews_its_lease_holds_the_lock_until_it_no_longer_does(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "EXPIRY", 0.3)
    lock = paths.lock(tmp_path, NAME)
    lease = lease_of(lock, ELSEWHERE)
    for _ in range(4):
        os.utime(lease)
        with locks.try_lock(lock) as mine:
            assert not mine
        time.sleep(0.2)  # in all longer than a lease
    assert locks.owner(lock) == ELSEWHERE
    time.sleep(0.4)
    with locks.try_lock(lock) as mine:
        assert mine
        assert not lease.exists()


@pytest.mark.parametrize("hours", [-24, 24])
def test_the_clock_of_another_machine_does_not_matter(hours, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "EXPIRY", 0.3)
    lock = paths.lock(tmp_path, NAME)
    lease = lease_of(lock, ELSEWHERE)
    os.utime(lease, (time.time() + 3600 * hours,) * 2)
    assert locks.is_held(lock)
    time.sleep(0.4)
    assert not locks.is_held(lock)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "\0", "null" + locks.HELD])
def test_a_lease_that_names_nobody_is_respected_until_it_has_expired(text, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "EXPIRY", 0.2)
    lock = paths.lock(tmp_path, NAME)
    lease_of(lock, ELSEWHERE).write_text(text)
    assert locks.is_held(lock)
    time.sleep(0.3)
    with locks.try_lock(lock) as mine:
        assert mine


def test_no_attempt_uses_the_file_of_an_earlier_one(tmp_path, monkeypatch):
    """A process that saw the earlier file vanish takes it for that of a dead one, and removes it."""
    monkeypatch.setattr(locks, "TRIES", 5)
    names, rename = [], Path.rename

    def record(path, target):
        names.append(target.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", record)
    lock = paths.lock(tmp_path, NAME)
    lease_of(lock, ELSEWHERE).write_text(json.dumps(asdict(ELSEWHERE)))  # which may still give way, so it is tried again
    with locks.try_lock(lock) as mine:
        assert not mine
    assert len(set(names)) == 5


def test_a_process_with_the_number_of_a_dead_one_is_another(tmp_path):
    lock = paths.lock(tmp_path, NAME)
    with locks.try_lock(lock):
        myself = locks.owner(lock)
    assert myself.process == os.getpid()
    lease_of(lock, replace(myself, started="1"))
    assert not locks.is_held(lock)
    lease_of(lock, myself)
    assert locks.is_held(lock)


def test_who_lost_the_lock_learns_it_and_writes_no_more(tmp_path, monkeypatch):
    """As after a pause longer than a lease: another machine has taken the run over, and this process must leave it alone."""
    monkeypatch.setattr(locks, "BEAT", 0.05)
    run_here = create(tiny(), tmp_path)
    lock = paths.lock(tmp_path, NAME)
    locks._leases._process = 0  # a thread with this beat
    with locks.try_lock(lock):
        (lease,) = lock.parent.iterdir()
        lease.unlink()
        taken = lease_of(lock, ELSEWHERE)
        time.sleep(0.3)
        with pytest.raises(locks.LeaseLost, match="another process has taken it over"):
            write_status(run_here, "running", step=5)
    assert taken.exists()
    assert run_here.status["step"] == 0


def test_a_training_that_lost_its_lock_leaves_the_run_to_the_other(tmp_path, monkeypatch):
    config = tiny(schedule=tiny_schedule(steps=5000, eval_every=None))
    job.write(create(config, tmp_path), config, "a test")
    monkeypatch.setattr(locks, "BEAT", 0.05)
    locks._leases._process = 0
    lock = paths.lock(tmp_path, config.run_name())

    def take_over():
        while not (leases := list(lock.parent.glob(f"{lock.name}.*")) if lock.parent.exists() else []):
            time.sleep(0.01)
        time.sleep(0.5)
        leases[0].unlink()
        lease_of(lock, ELSEWHERE)

    thread = threading.Thread(target=take_over)
    thread.start()
    folder = paths.run_folder(tmp_path, config.run_name())
    assert worker.work([folder], attached=False, gpu=None, wait=False, stop=Stop()) == 0
    thread.join()
    assert locks.owner(lock) == ELSEWHERE
    assert (folder / paths.EXECUTION).exists()
    assert not (folder / paths.WEIGHTS).exists()


def test_looking_at_a_lock_does_not_take_it(tmp_path):
    lock = paths.lock(tmp_path, NAME)
    with locks.try_lock(lock) as mine:
        assert mine
        assert locks.is_held(lock)
        with locks.try_lock(lock) as again:
            assert not again
    assert not locks.is_held(lock)
    assert list(lock.parent.iterdir()) == []


def test_a_lock_is_free_when_its_process_is_gone_though_a_forked_child_lives(tmp_path):
    lock = paths.lock(tmp_path, NAME)
    child = (
        "import os, sys, time\nfrom pathlib import Path\nfrom harness.system import locks\n"
        f"with locks.try_lock(Path({str(lock)!r})):\n"
        "    if os.fork() == 0:\n        print('forked', flush=True)\n        time.sleep(60)\n"
        "    sys.stdin.read()\n    os._exit(9)\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", child], cwd=ROOT, **pipes) as process:
        try:
            process.stdout.readline()
            assert locks.is_held(lock)
            process.stdin.close()
            process.wait()
            os.killpg(process.pid, 0)  # the forked child lives
            assert not locks.is_held(lock)
        finally:
            os.killpg(process.pid, 9)


def test_of_many_threads_and_processes_one_at_a_time_has_the_lock_while_its_folder_comes_and_goes(tmp_path):
    lock = paths.lock(tmp_path, NAME)
    stop, inside, clashes = threading.Event(), [], []

    def want():
        while not stop.is_set():
            with locks.try_lock(lock) as mine:
                if mine:
                    inside.append(1)
                    clashes.extend(inside[1:])
                    inside.pop()
            with suppress(OSError):
                lock.parent.rmdir()

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    stop.wait(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert not clashes
