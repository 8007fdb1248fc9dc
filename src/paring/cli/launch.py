"""A command as a batch job: through submitit, or as a plain sbatch script that anybody can read and change."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from paring.errors import EngineError, UnknownNameError

LAUNCHERS = ("sbatch", "slurm", "local")
HOURS = 24


def launch(launcher: str, argv: Sequence[str], out: Path, *, threads: int) -> str:
    """Submits `paring ARGV` without its --launcher; returns a sentence on what was submitted.

    "slurm" and "local" go through submitit, whose local executor runs the job on this machine. On SLURM the job has
    its node alone, since other jobs there would be in its timings.
    Raises: UnknownNameError; EngineError where sbatch or submitit is missing or refuses the job.
    """
    if launcher not in LAUNCHERS:
        raise UnknownNameError("launcher", launcher, LAUNCHERS, "--launcher")
    command = [sys.executable, "-m", "paring", *without_launcher(argv)]
    return _sbatch(command, out, threads) if launcher == "sbatch" else _submitit(launcher, command, out, threads)


def without_launcher(argv: Sequence[str]) -> list[str]:
    """The arguments that the job itself is called with."""
    rest, skip = [], False
    for argument in argv:
        if skip:
            skip = False
        elif argument == "--launcher":
            skip = True
        elif not argument.startswith("--launcher="):
            rest.append(argument)
    return rest


def script(command: Sequence[str], out: Path, threads: int, folder: Path) -> str:
    """The batch script. A job that is ended early goes on from its whole candidates when it is submitted again."""
    return f"""#!/bin/bash
#SBATCH --job-name=paring
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={threads}
#SBATCH --time={HOURS}:00:00
#SBATCH --exclusive
#SBATCH --chdir={folder}
#SBATCH --output={out.name}-%j.log
set -euo pipefail
{shlex.join(command)}
"""


def _sbatch(command: list[str], out: Path, threads: int) -> str:
    if shutil.which("sbatch") is None:
        raise EngineError("--launcher sbatch: there is no sbatch here. Run this where SLURM is, or leave it out.")
    path = out.with_name(f"{out.name}.sbatch").resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(command, out, threads, Path.cwd()), encoding="utf-8")
    done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True)
    if done.returncode:
        raise EngineError(f"--launcher sbatch: {' '.join(done.stderr.split()) or 'it failed'}. The script is {path}.")
    found = re.search(r"\d+", done.stdout)
    return f"Submitted {path} as job {found.group() if found else done.stdout.strip()}; the run folder will be {out}."


def _submitit(cluster: str, command: list[str], out: Path, threads: int) -> str:
    try:
        import submitit
    except ImportError:
        raise EngineError(f"--launcher {cluster}: submitit is not installed. Run: pip install submitit") from None
    logs = out.with_name(f"{out.name}-jobs").resolve()
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
        executor.update_parameters(timeout_min=60 * HOURS, cpus_per_task=threads, name="paring", slurm_exclusive=True)
        job = executor.submit(submitit.helpers.CommandFunction(command, cwd=Path.cwd()))
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        raise EngineError(f"--launcher {cluster}: {' '.join(str(error).split())}") from error
    return f"Submitted job {job.job_id}; its log is {job.paths.stdout}, the run folder will be {out}."
