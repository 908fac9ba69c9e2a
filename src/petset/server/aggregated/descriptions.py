"""What other servers say of their group versions in OpenAPI, for this server's own documents.

Whoever becomes available is read, and all of them again every REFRESH_SECONDS: of version 3 the index, for the hash of
his document, which he answers himself; of version 2 the document, for the part that is about his group version. Who
cannot be read, is slow or says what is no OpenAPI keeps what he said before; who is away is described no more. All are
read at once, each within its time, so that nobody waits for another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from petset.base import tasks
from petset.objects import encoding, errors, meta
from petset.server import weight
from petset.server.access import users
from petset.server.aggregated.remote import Remote
from petset.server.described import openapi
from petset.server.described.openapi import Description
from petset.server.elsewhere import calling
from petset.wire import http

REFRESH_SECONDS = 60.0
READ_SECONDS_MAX = 10.0  # Of one server.
INDEX_BYTES_MAX = 256 << 10
HASH_CHARACTERS_MAX = 200
AT_ONCE_MAX = 16
AGGREGATOR = http.User("system:aggregator", (users.MASTERS,))
Place = tuple[str, str]  # Group, version.


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read of somebody the last time."""

    hash: str | None = None
    tag: str = ""
    part: bytes = b""
    is_convertible: bool = False  # Version 3, which he has not, can be made of it.


class Descriptions:
    def __init__(self, tells: openapi.OpenApi):
        self._openapi = tells
        self._available: Mapping[Place, Remote] = {}
        self._read: dict[Place, _Read] = {}
        self._changed = asyncio.Event()
        self._work = weight.Work(weight.Line(), AGGREGATOR.name)

    def follow(self, available: Mapping[Place, Remote]) -> None:
        """Describe these, and nobody else."""
        if available != self._available:
            self._available = available
            self._read = {place: read for place, read in self._read.items() if place in available}
            self._tell()
            self._changed.set()

    async def keep(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            places = list(self._available)
            await tasks.side_by_side(places, self._look, AT_ONCE_MAX, "read what an API elsewhere says of itself")
            try:
                async with asyncio.timeout(REFRESH_SECONDS if places else None):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _look(self, place: Place) -> None:
        remote = self._available.get(place)
        if remote is None:
            return
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                found = await self._described(remote, place)
        except (TimeoutError, OSError, ValueError, errors.ApiError):
            return
        if self._available.get(place) is remote and self._read.get(place) != found:
            self._read[place] = found
            self._tell()

    async def _described(self, remote: Remote, place: Place) -> _Read:
        """Raises TimeoutError, OSError, ValueError, ApiError."""
        from petset.server.described import merging

        before = self._read.get(place, _Read())
        code, _, data = await _asked(remote, openapi.V3, "", INDEX_BYTES_MAX)
        hashed, has_version_3 = _hash_in(data, place) if code == 200 else None, code != 404
        code, tag, data = await _asked(remote, openapi.V2, before.tag, calling.ANSWER_BYTES_MAX)
        match code:
            case 304:
                return await self._converted(_Read(hashed, before.tag, before.part), has_version_3)
            case 200:
                try:
                    part = await self._work.beside(len(data), merging.part_of, data, *place)
                except (ValueError, RecursionError):
                    part = b""
                return await self._converted(_Read(hashed, tag, part), has_version_3)
            case _:
                return _Read(hashed)

    async def _converted(self, read: _Read, has_version_3: bool) -> _Read:
        """Of a server that has no such thing as version 3 whether it can be made."""
        if has_version_3 or not read.part:
            return read
        from petset.server.described import upgrading

        return replace(read, is_convertible=await self._work.beside(len(read.part), upgrading.can_be, read.part))

    def _tell(self) -> None:
        said: dict[str, Description] = {}
        for (group, version), read in sorted(self._read.items()):
            remote = self._available[group, version]
            digest = hashlib.sha256(read.part).hexdigest() if read.part else ""
            one = Description(group, version, read.hash, read.part, digest, remote.answer, read.is_convertible)
            said[one.name] = one
        self._openapi.others = said


async def _asked(remote: Remote, path: str, tag: str, bytes_max: int) -> tuple[int, str, bytes]:
    """(code, entity tag, body)."""
    headers = (("accept", "application/json"), *((("if-none-match", tag),) if tag else ()))
    answer = await remote.ask(http.Request("GET", path, headers), AGGREGATOR, READ_SECONDS_MAX)
    return answer.code, answer.header("etag"), await calling.whole(answer, bytes_max)


def _hash_in(data: bytes, place: Place) -> str | None:
    """The hash that an index names for a group version, "" where it names none; None where it is not in it."""
    from petset.server.described import documents

    url = meta.get(encoding.loads(data), "paths", documents.name_of(*place), "serverRelativeURL")
    if not isinstance(url, str):
        return None
    found = parse_qs(urlsplit(url).query).get("hash", [""])[0]
    return found if found.isalnum() and len(found) <= HASH_CHARACTERS_MAX else ""
