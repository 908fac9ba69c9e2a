"""Runs one outside program to its end: skopeo, umoci, mmdebstrap, apt.

The flow: `run` starts the program in a process group of its own, hands each line it prints to `on_line`, and returns
all of them; a status other than 0 raises ProgramFailed with the last lines, which the caller turns into one sentence.

Invariants: when the caller is cancelled or the time is over, the whole group is killed and waited for before the
exception leaves; when petset itself dies, the kernel kills the program (setpriv --pdeathsig), so that nothing half-done
goes on working. Standard input is empty. Lines are capped, output never grows without limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence

OUTPUT_LINES_MAX = 400
LINE_BYTES_MAX = 1 << 20


class ProgramFailed(Exception):
    """The program is absent, ended with a status other than 0, or took too long."""

    def __init__(self, program: str, status: int | None, lines: Sequence[str], why: str):
        super().__init__(f"{program}: {why}")
        self.program = program
        self.status = status
        self.lines = tuple(lines)
        self.why = why


async def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    file_bytes_max: int | None = None,
    on_line: Callable[[str], None] | None = None,
) -> list[str]:
    """The lines (standard output and error together, the last OUTPUT_LINES_MAX) of a program that ended well.

    `file_bytes_max`: no file that it writes becomes larger.
    """
    program = os.path.basename(argv[0])
    if shutil.which(argv[0]) is None:
        raise ProgramFailed(program, None, (), "is not installed")
    process = await asyncio.create_subprocess_exec(
        *_dies_with_us(argv, file_bytes_max),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
        limit=LINE_BYTES_MAX,
    )
    lines: deque[str] = deque(maxlen=OUTPUT_LINES_MAX)
    try:
        async with asyncio.timeout(timeout_seconds):
            await _read(process, lines, on_line)
            status = await process.wait()
    except TimeoutError:
        raise ProgramFailed(program, None, lines, f"did not end within {timeout_seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            await _kill(process)
    if status != 0:
        last = next((line for line in reversed(lines) if line.strip()), f"status {status}")
        raise ProgramFailed(program, status, lines, last)
    return list(lines)


def _dies_with_us(argv: Sequence[str], file_bytes_max: int | None) -> list[str]:
    # The usual umask, whatever petset's own is; uvloop has no option for it.
    limited = [] if file_bytes_max is None else ["prlimit", f"--fsize={file_bytes_max}", "--"]
    usual = ["/bin/sh", "-c", 'umask 022; exec "$0" "$@"', *limited, *argv]
    return ["setpriv", "--pdeathsig", "KILL", "--", *usual] if shutil.which("setpriv") else usual


async def _read(process: asyncio.subprocess.Process, lines: deque[str], on_line: Callable[[str], None] | None) -> None:
    assert process.stdout is not None
    while True:
        try:
            raw = await process.stdout.readline()
        except ValueError:  # A line beyond LINE_BYTES_MAX: asyncio has dropped it.
            continue
        if not raw:
            return
        line = raw.decode(errors="replace").rstrip()
        lines.append(line)
        if on_line is not None:
            on_line(line)


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # The pipe may stay open in a grandchild that left the group; only the program itself is waited for.
    await process.wait()
