"""A Slurm of two virtual nodes on this machine, on loopback ports: for root, with Debian's slurmctld, slurmd and munge."""

import os
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import until

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
CONFIG = """
ClusterName=depth
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=1,requeue_delay=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=20
InactiveLimit=0
KillWait=10
MinJobAge=10
OverTimeLimit=0
JobRequeue=1
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000
PartitionName=low Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=15
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def is_installed():
    """Return whether a cluster can be started here."""
    return os.geteuid() == 0 and all(shutil.which(program) for program in PROGRAMS)


class Cluster:
    """A running cluster; commands of Slurm find it by `SLURM_CONF`."""

    def __init__(self, folder):
        self.folder, self._daemons = folder, {}
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self):
        ports = free_ports(3)
        (self.folder / "state").mkdir()
        (self.folder / "slurm.conf").write_text(CONFIG.format(folder=self.folder, host=socket.gethostname(), ports=ports))
        for parent in [self.folder, *self.folder.parents][:3]:
            parent.chmod(0o755)  # munged is another user's
        shutil.chown(self.folder, "munge", "munge")
        if not Path("/etc/munge/munge.key").exists():
            subprocess.run(["mungekey", "--create"], check=True)
        key = self.folder / "munge.key"
        shutil.copy("/etc/munge/munge.key", key)
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={self.folder}/munge.{name}" for option, name in names.items()]
        self._run("munge", ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", *options])
        until((self.folder / "munge.socket").exists)
        self._run("slurmctld", ["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])
        for node in ("n1", "n2"):
            self.start_node(node)
        until(lambda: self("sinfo", "--noheader", "-N", "-p", "low", "-o", "%t", check=False).split() == ["idle", "idle"], 60)

    def start_node(self, node):
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self._run(node, ["slurmd", "-D", "-N", node, "-f", str(self.folder / "slurm.conf")])

    def _run(self, name, command):
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(command, stdout=out, stderr=out, env=self.environment, start_new_session=True)

    def kill(self, name):
        """Kill a daemon as by SIGKILL: munge, slurmctld, n1 or n2."""
        self._daemons[name].kill()
        self._daemons[name].wait()

    def stop(self):
        with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            self("scancel", "--state=PENDING", "--me")
            self("scancel", "--signal=KILL", "--full", "--me")
            self("scancel", "--me")
            until(lambda: not self("squeue", "--noheader", "--me").strip(), 30)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
                continue
            daemon.kill()

    def __call__(self, *command, check=True):
        """Return what a command of Slurm prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check, timeout=60).stdout

    def tasks(self, state=""):
        """Return the array tasks in the queue, as JOB_TASK; with `state` only those in it."""
        options = ["--state", state] if state else []
        return self("squeue", "--noheader", "--array", "--me", "--format=%F_%K", *options).split()


@contextmanager
def cluster(folder):
    """Start a cluster for the block; its files are in `folder`."""
    running = Cluster(folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def free_ports(count):
    """Return ports of this machine that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
