"""If too little address space is left for torch or a training, one sentence says so, and nothing is started."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from harness.config.registry import ChoiceError
from harness.system import address_space
from support.helpers import KEYS

ROOT = Path(__file__).resolve().parents[2]


def limited(mib, tmp_path):
    """Run the command with `mib` MiB of address space; return the finished process."""
    command = [sys.executable, "-m", "harness.run", "depth=8", *KEYS, f"results={tmp_path / 'results'}"]
    limit = f'ulimit -v {mib * 1024}; exec "$@"'
    return subprocess.run(["sh", "-c", limit, "sh", *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("mib", [40, 150, pytest.param(300, marks=pytest.mark.slow), 700])
def test_a_limit_too_small_for_torch_is_named(mib, tmp_path):
    done = limited(mib, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("harness.run: ")
    assert done.stderr.count("\n") == 1
    assert f"{mib} MiB of address space" in done.stderr
    assert "raise the limit (ulimit -v)" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_limit_that_leaves_no_room_to_train_is_named(monkeypatch):
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (taken + 2**27, taken + 2**27))
    address_space.check(2**20)
    with pytest.raises(ChoiceError, match="are too few"):
        address_space.check(address_space.TRAINING)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    address_space.check(2**60)
    assert address_space.explain_import_error(MemoryError()) == "a library cannot be loaded: MemoryError"
