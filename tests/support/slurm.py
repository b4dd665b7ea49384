"""A Slurm of two virtual nodes on this machine, on loopback ports: for root, with Debian's slurmctld, slurmd and munge.

Each node has two cores and two GPUs, which are device files that take what is written and give nothing. With accounting, also
slurmdbd on a MariaDB: a job then needs the account `depth`.
"""

import os
import shutil
import socket
import stat
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import until

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")
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
{accounting}
GresTypes=gpu
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
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 Gres=gpu:2
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 Gres=gpu:2
PartitionName=low Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=3
PartitionName=high Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
WITHOUT_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
WITH_ACCOUNTING = """AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePass={folder}/munge.socket
AccountingStoragePort={ports[3]}
AccountingStorageEnforce=associations"""
ACCOUNTING_CONFIG = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[3]}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[4]}
StorageUser=root
StorageLoc=depth
"""


def is_installed(accounting=False):
    """Return whether a cluster can be started here."""
    programs = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return os.geteuid() == 0 and all(shutil.which(program) for program in programs)


class Cluster:
    """A running cluster; commands of Slurm find it by `SLURM_CONF`."""

    def __init__(self, folder, accounting):
        self.folder, self._accounting, self._daemons = folder, accounting, {}
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self):
        facts = {"folder": self.folder, "host": socket.gethostname(), "ports": free_ports(5)}
        accounting = (WITH_ACCOUNTING if self._accounting else WITHOUT_ACCOUNTING).format(**facts)
        (self.folder / "state").mkdir()
        (self.folder / "slurm.conf").write_text(CONFIG.format(accounting=accounting, **facts))
        for node in ("n1", "n2"):
            for number in (0, 1):
                os.mknod(self.folder / f"gpu-{node}-{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        gpus = [f"NodeName={node} Name=gpu File={self.folder}/gpu-{node}-[0-1]\n" for node in ("n1", "n2")]
        (self.folder / "gres.conf").write_text("".join(gpus))
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
        if self._accounting:
            self._start_accounting(facts)
        self._run("slurmctld", ["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])
        for node in ("n1", "n2"):
            self.start_node(node)
        until(lambda: self("sinfo", "--noheader", "-N", "-p", "low", "-o", "%t", check=False).split() == ["idle", "idle"], 60)

    def _start_accounting(self, facts):
        data, config = self.folder / "mariadb", self.folder / "slurmdbd.conf"
        subprocess.run(
            ["mariadb-install-db", f"--datadir={data}", "--user=root", "--skip-test-db"], check=True, capture_output=True
        )
        place = [f"--datadir={data}", f"--socket={self.folder}/mariadb.socket", f"--port={facts['ports'][4]}"]
        options = ["--no-defaults", "--user=root", "--skip-grant-tables", "--bind-address=127.0.0.1", *place]
        self._run("mariadb", ["mariadbd", *options])
        until((self.folder / "mariadb.socket").exists)
        config.write_text(ACCOUNTING_CONFIG.format(**facts))
        config.chmod(0o600)
        self._run("slurmdbd", ["slurmdbd", "-D"])
        until(lambda: self("sacctmgr", "--immediate", "add", "cluster", "depth", check=False))
        self("sacctmgr", "--immediate", "add", "account", "depth", "cluster=depth")
        self("sacctmgr", "--immediate", "add", "user", "root", "account=depth", "cluster=depth")

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
def cluster(folder, accounting=False):
    """Start a cluster for the block; its files are in `folder`."""
    running = Cluster(folder, accounting)
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
