"""What a volume holds, from a pod here to a pod there: a tar stream, and then the same digest on both sides.

A pod on each side (the mover) holds the claims of one pet, and runs the pet's own image, so that nothing else need be
pulled: it needs sh, tar, find, stat, sort, du and sha256sum. Owners, modes, links, empty directories and the bytes of
files are compared; sockets are not taken along, nor are extended attributes and the holes of sparse files, nor what a
file system keeps for itself (lost+found).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petset.base import tasks
from petset.cli.failures import CommandError
from petset.client import remote
from petset.net.dialer import Dialer
from petset.wire import streaming

CONTAINER = "mover"
COMPLAINT_BYTES_MAX = 4096  # Of what a program says of its failure.
TOOLS = "tar find stat sort du sha256sum readlink"

_OF_IT = "find . -mindepth 1 -path ./lost+found -prune -o"
SIZE = 'cd "$1" && du -sk . | cut -f1'
EMPTY = f'cd "$1" && {_OF_IT} -print0 | xargs -0 -r rm -rf --'
READ = 'cd "$1" && exec tar --exclude=./lost+found -cf - .'
WRITE = 'cd "$1" && exec tar -xpf -'
# A line for everything there is; what was read of it makes the digest. An error anywhere is told and ends it.
DIGEST = f"""set -e
for tool in {TOOLS}; do command -v "$tool" >/dev/null || {{ echo "it has no $tool" >&2; exit 9; }}; done
cd "$1"; export LC_ALL=C
lines() {{
  {_OF_IT} -type d -exec stat -c 'd %a %u %g %n' {{}} +
  {_OF_IT} -type f -exec stat -c 'f %a %u %g %s %n' {{}} +
  {_OF_IT} -type l -exec stat -c 'l %u %g %n' {{}} + -exec readlink {{}} \\;
  {_OF_IT} -type p -exec stat -c 'p %a %u %g %n' {{}} +
  {_OF_IT} -type f -exec sha256sum {{}} +
  echo '= complete ='
}}
lines | sort >"/tmp/.mover.$$"
grep -qx '= complete =' "/tmp/.mover.$$" || {{ echo 'it could not be read to its end' >&2; exit 9; }}
sha256sum <"/tmp/.mover.$$" | cut -d ' ' -f 1
rm -f "/tmp/.mover.$$"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory in a mover."""

    dialer: Dialer
    namespace: str
    pod: str
    path: str

    def words(self, script: str) -> Sequence[str]:
        return ("sh", "-c", script, "mover", self.path)


Tell = Callable[[int, int], None]  # So many bytes, of so many.


async def copied(here: Place, there: Place, tell: Tell) -> str:
    """Make what is there the same as what is here; its digest. Raises CommandError, ApiError, ConnectionError."""
    wanted = await _said(here, DIGEST)
    if await _said(there, DIGEST) == wanted:
        return wanted
    await _said(there, EMPTY)
    await _streamed(here, there, tell, int(await _said(here, SIZE)) << 10)
    found = await _said(there, DIGEST)
    if found != wanted:
        raise CommandError(
            f"cannot move {here.path} of {here.pod}: what arrived there is not what is here "
            f"(digest {found[:12]} for {wanted[:12]}); run it again, and see whether something else writes there"
        )
    return wanted


async def _said(place: Place, script: str) -> str:
    done = await remote.execute(place.dialer, place.namespace, place.pod, CONTAINER, place.words(script))
    if done.exit_code:
        raise _failed(place, done.stderr, done.exit_code)
    return done.stdout.strip()


async def _streamed(here: Place, there: Place, tell: Tell, total: int) -> None:
    async with (
        remote.opened(here.dialer, here.namespace, here.pod, CONTAINER, here.words(READ), stdin=False) as reading,
        remote.opened(there.dialer, there.namespace, there.pod, CONTAINER, there.words(WRITE), stdin=True) as writing,
    ):
        complaints = {here: bytearray(), there: bytearray()}

        def complain(place: Place, data: bytes) -> None:
            complaints[place] += data[: COMPLAINT_BYTES_MAX - len(complaints[place])]

        async def bring() -> None:
            done = 0
            async for channel, data in reading.output():
                if channel == streaming.STDOUT:
                    await writing.write(data)
                    done += len(data)
                    tell(done, max(total, done))
                else:
                    complain(here, data)
            writing.close_input()

        try:
            async with asyncio.TaskGroup() as group:
                bringing = tasks.spawn(group, bring(), "to the other cluster")
                async for _, data in writing.output():
                    complain(there, data)
                if not bringing.done() and writing.has_failed:
                    bringing.cancel()  # Nobody takes any more.
        except* ConnectionError:
            pass  # How far both came is asked below.
        for place, running in ((there, writing), (here, reading)):
            if code := running.exit_code():
                raise _failed(place, complaints[place].decode(errors="replace"), code)


def _failed(place: Place, stderr: str, code: int) -> CommandError:
    lines = re.findall(r"\S.*", stderr) or [f"exit code {code}"]
    mend = "; name an image that has these with --image" if code in (9, 126, 127) else ""
    return CommandError(f"cannot copy {place.path} of {place.pod}: {lines[-1]}{mend}")
