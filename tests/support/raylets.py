"""A Ray of two virtual nodes on this machine, on loopback ports: for environments that have the package ray."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from support.slurm import free_ports
from support.waiting import until

COMMON = ["--num-cpus=2", "--object-store-memory=80000000", "--disable-usage-stats", "--node-ip-address=127.0.0.1"]


def is_installed():
    """Return whether a cluster can be started here."""
    return find_spec("ray") is not None


class Raylets:
    """A running cluster of a head and a second node."""

    def __init__(self, folder):
        self.folder, self._nodes = folder, {}
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"

    def start(self):
        head = ["--head", f"--port={self.address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self._start("head", [*head, "--min-worker-port=0", "--max-worker-port=0"])
        until(lambda: "Ray runtime started" in self.out("head"), 90)
        self.start_node()

    def start_node(self):
        """Start the second node."""
        self._start("second", [f"--address={self.address}", "--min-worker-port=0", "--max-worker-port=0"])
        until(lambda: "Ray runtime started" in self.out("second"), 90)

    def _start(self, name, options):
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *COMMON, *options]
        environment = os.environ | {"RAY_raylet_start_wait_time_s": "90", "RAY_DISABLE_IMPORT_WARNING": "1"}
        with (self.folder / f"{name}.out").open("wb") as out:
            self._nodes[name] = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True)

    def out(self, name):
        return (self.folder / f"{name}.out").read_text()

    def kill_node(self):
        """Kill the second node's raylet as by SIGKILL; `ray start --block` then ends the rest of the node."""
        for pid in _children(self._nodes["second"].pid):
            if "raylet" in Path(f"/proc/{pid}/comm").read_text():
                os.kill(pid, signal.SIGKILL)
        self._nodes["second"].wait(60)

    def stop(self):
        for node in reversed(self._nodes.values()):
            node.terminate()
        for node in self._nodes.values():
            node.wait(60)


def _children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def raylets(folder):
    """Start a cluster for the block; its files are in `folder`, whose path must be short."""
    running = Raylets(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()
