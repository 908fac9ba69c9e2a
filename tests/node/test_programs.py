"""Outside programs, on the loop petset runs on."""

from __future__ import annotations

import asyncio
import os

import pytest
import uvloop

from petset.node import programs


def run(*argv: str, **options: object) -> list[str]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(programs.run(argv, timeout_seconds=10, **options))  # type: ignore[arg-type]


def test_a_program_has_its_arguments_and_the_usual_umask():
    before = os.umask(0o077)
    try:
        assert run("sh", "-c", 'umask; echo "$0" "$1"', "a b", "$c") == ["0022", "a b $c"]
    finally:
        os.umask(before)


def test_a_program_that_fails_says_so():
    with pytest.raises(programs.ProgramFailed, match="sh: no such thing"):
        run("sh", "-c", "echo no such thing; exit 3")
    with pytest.raises(programs.ProgramFailed, match="is not installed"):
        run("nosuchprogram")
