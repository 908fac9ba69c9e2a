"""The way in for an instance's own commands."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from petset.net import control
from petset.objects.meta import Object
from tests import waiting


async def twice(asked: Object) -> Object:
    return {"twice": 2 * asked.get("number", 0)}


async def ask(path: Path, question: Object) -> Object:
    return await asyncio.to_thread(control.ask, path, question, 10)


@waiting.in_a_loop
async def test_a_question_is_answered_however_long_the_path_is(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "control"
    path.parent.mkdir(parents=True)
    with pytest.raises(control.NobodyListens):
        await ask(path, {})
    path.touch()  # What a killed one has left.
    async with control.served(path, twice):
        assert await asyncio.gather(*(ask(path, {"number": n}) for n in range(3))) == [
            {"twice": 2 * n} for n in range(3)
        ]
    with pytest.raises(control.NobodyListens):
        await ask(path, {})


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b"x" * (control.LINE_BYTES_MAX + 1), b"[" * 4000 + b"\n"])
@waiting.in_a_loop
async def test_nonsense_gets_an_error_or_nothing_and_does_no_harm(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "control"

    def say() -> bytes:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(10)
            asking.connect(str(path))
            asking.sendall(line)
            try:
                return asking.recv(1000)
            except ConnectionResetError:
                return b""

    async with control.served(path, twice):
        assert b"twice" not in await asyncio.to_thread(say)
        assert await ask(path, {"number": 4}) == {"twice": 8}
