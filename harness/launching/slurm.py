"""The engine for Slurm: an array of tasks, each a worker. Its script stays in the sweep's folder.

A task that Slurm preempts, requeues or stops at its time limit saves its runs, and is queued again. Which tasks there are is
asked of the queue alone, by the job's name, so a command that comes later takes up the tasks of an earlier one.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.config.launcher import SlurmConfig
from harness.config.registry import LAUNCHER
from harness.config.run import RunConfig
from harness.launching.engine import Engine, LaunchError
from harness.records import paths, writer
from harness.system.owner import Owner

log = logging.getLogger("harness")

MOST_TASKS = 16
"""Tasks where `launcher.workers` is auto."""
POLL = 2.0
"""Seconds between two questions to the queue."""
USUAL = ("None", "Resources", "Priority", "BeginTime", "JobArrayTaskLimit", "Dependency", "Cleaning")
"""Reasons for which a task waits that need no message."""
STOPPED = "stopped"
"""A file beside the script: the numbers of jobs that were stopped, whose tasks are not queued again."""
WAIT = ' $([ "$SLURM_ARRAY_TASK_ID" = 0 ] && echo --wait)'
"""Of tasks that nobody watches, the first stays until all runs have ended."""
SCRIPT = """#!/bin/bash
{directives}
worker= stop=
trap 'stop=1; [ -n "$worker" ] && kill -TERM $worker 2>/dev/null' USR1 USR2 TERM INT
cd {folder}
{setup}
code=130
if [ -z "$stop" ]; then
    {command} &
    worker=$!
    [ -n "$stop" ] && kill -TERM $worker 2>/dev/null
    while kill -0 $worker 2>/dev/null; do wait $worker; done
    wait $worker; code=$?
fi
if {again} && ! grep -qsx "$SLURM_ARRAY_JOB_ID" {stopped}; then
    echo "exit code $code; the task is queued again"
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit $code
"""
SAVED = "[ $code = 130 ]"
"""Which tasks are queued again: those that have saved. The command replaces others."""
SAVED_OR_KILLED = "{ [ $code = 130 ] || { [ $code -gt 130 ] && [ ${SLURM_RESTART_COUNT:-0} -lt 10 ]; }; }"
"""The same of tasks that nobody watches."""
STATES = "PENDING,CONFIGURING,RUNNING,COMPLETING,SUSPENDED,STOPPED"
"""States of tasks that have not ended."""


@LAUNCHER.register("slurm")
class Slurm(Engine):
    """Tasks of Slurm arrays. They outlive this process unless they are stopped."""

    config: SlurmConfig

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._folder = self.sweep / paths.SLURM
        self._name = f"harness-{sha256(str(self.sweep).encode()).hexdigest()[:10]}"
        self._tasks: dict[str, str] = {}
        self._asked, self._reasons, self._stopping = 0.0, set[str](), False
        self._folder.mkdir(exist_ok=True)
        self._ask()
        if self._tasks:
            log.info("%d task(s) of an earlier command are in the queue; they are taken up", len(self._tasks))

    def room(self, configs: Sequence[RunConfig]) -> int:
        return min(len(configs), MOST_TASKS)

    def start(self, count: int) -> None:
        number = self.submit(count)
        self._tasks |= {f"{number}_{task}": "" for task in range(count)}
        self._asked = time.monotonic()
        log.info("Slurm job %s: %d task(s); logs in %s", number, count, self._folder)

    def leave(self, runs: int) -> str:
        if (count := min(self.most, runs) - len(self._tasks)) > 0:
            self.start(count)
        jobs = self._jobs()
        progress = shlex.join(["python", "-m", "harness.status", str(self.sweep)])
        trained = f"job {', '.join(jobs)} trains the runs; to see how far they are: {progress}"
        command = shlex.join([sys.executable, "-m", "harness.report", str(self.sweep)])
        name, log_file = f"--job-name={self._name}-report", f"--output={self._escaped}/report.log"
        after = [f"--dependency=afterany:{':'.join(jobs)}", f"--chdir={Path.cwd()}"]
        wrap = "\n".join([*self.config.setup, command])
        try:
            _call("scancel", "--me", f"--name={self._name}-report")
            report = _call("sbatch", "--parsable", *self._where(), name, log_file, *after, "--wrap", wrap).partition(";")[0]
        except LaunchError as error:
            return f"{trained}. No job builds the report ({error}); then build it: {command}"
        return f"{trained}. Then job {report} builds the report"

    def submit(self, count: int) -> str:
        """Write the script and submit an array of that many tasks; return its job number. Raises LaunchError if refused."""
        script, options = self._folder / "worker.sh", self._options(count)
        writer.write_text(script, self._script(options))
        return _call("sbatch", "--parsable", *options, str(script)).partition(";")[0]  # here they overrule SBATCH_... variables

    def _where(self) -> list[str]:
        """Return the options of every job: where it may run, and for how long."""
        config = self.config
        named = {"--partition": config.partition, "--account": config.account, "--qos": config.qos, "--mem": config.memory}
        return [
            f"--time={config.minutes}",
            *(f"{key}={value}" for key, value in named.items() if value is not None),
            *config.options,
        ]

    def _options(self, count: int) -> list[str]:
        config = self.config
        return [
            "--ntasks=1",
            f"--cpus-per-task={self.threads if config.cpus == 'auto' else config.cpus}",
            *([f"--gpus-per-task={config.gpus}"] if config.gpus else []),
            *self._where(),
            f"--signal=B:USR1@{config.grace_seconds}",
            "--requeue",
            "--open-mode=append",
            f"--output={self._escaped}/%A_%a.log",
            f"--job-name={self._name}",
            f"--array=0-{count - 1}",
        ]

    def _script(self, options: Sequence[str]) -> str:
        return SCRIPT.format(
            directives="\n".join(f"#SBATCH {shlex.quote(option)}" for option in options),
            folder=shlex.quote(str(Path.cwd())),
            setup="\n".join(self.config.setup),
            command=shlex.join(self.command()) + ("" if self.config.wait else WAIT),
            again=SAVED if self.config.wait else SAVED_OR_KILLED,
            stopped=shlex.quote(str(self._folder / STOPPED)),
        )

    def live(self) -> int:
        if time.monotonic() - self._asked > POLL:
            self._ask()
            if self._stopping and self._tasks:  # one may have been queued again in the meantime
                self.finish()
        return len(self._tasks)

    def _ask(self) -> None:
        """Ask the queue for the tasks of this sweep; while it does not answer, they are believed to be as they were."""
        self._asked = time.monotonic()
        query = ("--noheader", "--array", "--me", f"--name={self._name}", f"--states={STATES}", "--format=%F_%K %A %r")
        try:
            lines = _call("squeue", *query).splitlines()
        except LaunchError as error:
            log.warning("%s; its tasks are believed to be as they were", error)
            return
        tasks = [line.split(maxsplit=2) for line in lines if line.strip()]
        self._tasks = {task: job for task, job, _ in tasks}
        for task, _, reason in tasks:
            if reason == "BeginTime" and not any(option.startswith(("--begin", "-b")) for option in self.config.options):
                with suppress(LaunchError):  # Slurm waits two minutes before it starts a task again
                    _call("scontrol", "update", f"JobId={task}", "StartTime=now")
            elif reason not in USUAL and reason not in self._reasons:
                self._reasons.add(reason)
                log.warning("Slurm job %s waits: %s", task, reason)

    def _jobs(self) -> list[str]:
        return sorted({task.partition("_")[0] for task in self._tasks})

    def owns(self, owner: Owner) -> bool:
        return bool(owner.job) and owner.job in self._tasks.values()

    def why(self) -> str:
        return f"the logs of the tasks are in {self._folder}"

    def finish(self) -> None:
        with suppress(LaunchError):
            _call("scancel", "--me", f"--name={self._name}", "--state=PENDING")

    @property
    def _escaped(self) -> str:
        """The folder of the logs, as Slurm reads file names."""
        return str(self._folder).replace("%", "%%")

    def stop(self) -> None:
        self._stopping = True
        writer.write_text(self._folder / STOPPED, "".join(f"{job}\n" for job in self._jobs()))
        for options in (["--state=PENDING"], ["--signal=TERM", "--full"]):
            try:
                _call("scancel", "--me", f"--name={self._name}", *options)
            except LaunchError as error:
                log.warning("%s", error)

    def close(self, wait: bool) -> None:
        pass


def _call(*command: str) -> str:
    """Return what a command of Slurm prints. Raises LaunchError, with its first line of complaint.

    The command gets neither a Ctrl-C at the terminal nor the user's defaults for what squeue shows and scancel cancels.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SQUEUE_", "SCANCEL_"))}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=20, check=False, env=environment, start_new_session=True
        )
    except FileNotFoundError as error:
        raise LaunchError(
            f"{command[0]}: no such command; launcher=slurm is for machines that submit to a Slurm cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"{command[0]}: no answer within 20 s") from error
    if done.returncode:
        complaint = " ".join((done.stderr or done.stdout).partition("\n")[0].split())
        raise LaunchError(complaint or f"{command[0]}: exit code {done.returncode}")
    return done.stdout.strip()
