"""One writer per run: if nothing can be locked or written, one sentence says so, and nothing spins or starts."""

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

import harness
from harness import run
from harness.config.registry import ChoiceError
from harness.launching import handover
from harness.records import paths
from harness.system import locks
from support.helpers import KEYS, tiny

ROOT = Path(__file__).resolve().parents[2]
SUBFOLDERS = [paths.LOCKS, paths.LAUNCH, paths.RUNS, paths.SWEEPS]
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
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{tmp_path / place}: is not a folder" in message
    assert names(tmp_path) == [place]
    with pytest.raises(ChoiceError, match="is not a folder"):
        harness.train(tiny(), tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", [*WRONG, "a folder"])
def test_a_lock_file_of_a_wrong_kind_is_named_and_nothing_is_started(wrong, tmp_path, capsys):
    lock = paths.lock(tmp_path, NAME)
    lock.parent.mkdir()
    if wrong == "a file":  # what a dead process left
        lock.write_text("left")
        with locks.try_lock(lock) as mine:
            assert mine
        return
    (lock.mkdir if wrong == "a folder" else lambda: WRONG[wrong](lock))()
    assert not locks.is_held(lock)
    with pytest.raises(locks.LockError, match=NAME), locks.try_lock(lock):
        pass
    assert run.main(["depth=8", *KEYS, f"results={tmp_path}"]) == 2
    assert f"{lock}: cannot be locked" in capsys.readouterr().err
    assert not (tmp_path / paths.SWEEPS).exists()
    assert os.path.lexists(lock)
    assert Path("/etc/passwd").stat().st_size > 0


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
def test_a_file_system_without_locks_is_named_and_nothing_is_started(number, tmp_path, capsys, monkeypatch):
    def flock(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert run.main(["-m", "depth=8", "seed=0,1", *KEYS, f"results={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert str(tmp_path / paths.LOCKS) in message
    assert os.strerror(number) in message
    if number != errno.EIO:
        assert "its file system does not support locks" in message
        assert "mount it with flock, or keep results elsewhere: results=FOLDER" in message
    assert names(tmp_path) == []
    with pytest.raises(ChoiceError, match=os.strerror(number)):
        harness.train(tiny(), tmp_path)
    (tmp_path / paths.LOCKS).mkdir()
    lock = paths.lock(tmp_path, NAME)
    lock.touch()
    assert locks.is_held(lock)  # it cannot be known: a run that says it is running is believed


def test_looking_at_a_lock_does_not_take_it(tmp_path):
    lock = paths.lock(tmp_path, NAME)
    with locks.try_lock(lock) as mine:
        assert mine
        assert locks.is_held(lock)
        with locks.try_lock(lock) as again:
            assert not again
    assert not locks.is_held(lock)
    assert not lock.exists()


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


def test_the_launch_folder_can_be_made_while_others_remove_it(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_open_and_close, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert names(tmp_path) == []


def _open_and_close(results):
    for _ in range(200):
        with handover.launch_folder(results) as folder:
            handover.note(folder, paths.ENDED, "run")
            assert handover.noted_runs(folder, paths.ENDED) == {"run"}
            assert not handover.is_stopping(folder)
