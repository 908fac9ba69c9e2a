"""The remote command without a transport's framing: a client that is a script, a process that is one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from petset.server.pods import remotecommand
from petset.wire import streaming

INPUT = streaming.ExecOptions(("cat",), stdin=True)


class Client:
    """Sends what its script says, and stays until it is told the end, unless the script ends with None: it leaves."""

    def __init__(self, *script: streaming.Incoming | None, tells_status: bool = True):
        self.tells_status = tells_status
        self.sent: list[tuple[int, bytes]] = []
        self.ended = 0
        self.breaks_at: int | None = None  # The channel on which it is found to be gone.
        self._script = list(script)

    async def send(self, channel: int, data: bytes) -> None:
        if channel == self.breaks_at:
            raise ConnectionResetError("gone")
        self.sent.append((channel, data))

    async def receive(self) -> streaming.Incoming | None:
        if not self._script:
            await asyncio.Event().wait()
        return self._script.pop(0)

    async def end(self) -> None:
        self.ended += 1

    @property
    def said(self) -> list[bytes]:
        return [data for channel, data in self.sent if channel == streaming.ERROR]


class Session:
    """A process that writes back its input until that is closed; without input it runs until it is killed."""

    def __init__(self, code: int = 0, broken: streaming.StreamError | None = None):
        self.sizes: list[tuple[int, int]] = []
        self.closed = 0
        self._code, self._broken = code, broken
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._input.put_nowait(data)

    def close_input(self) -> None:
        self._input.put_nowait(None)

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        while (data := await self._input.get()) is not None:
            yield streaming.STDOUT, data
        if self._broken:
            raise self._broken

    async def exit_code(self) -> int:
        return self._code

    async def close(self) -> None:
        self.closed += 1


def starts(session: Session) -> Callable[[], Awaitable[Session]]:
    async def start() -> Session:
        return session

    return start


def run(client: Client, session: Session, options: streaming.ExecOptions = INPUT) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await remotecommand.serve(client, starts(session), options)

    asyncio.run(main())


def test_input_and_output_and_the_exit_code():
    client, session = Client((0, b"a"), (0, b""), (0, b"b"), (0, None)), Session(7)
    run(client, session)
    assert client.sent[:2] == [(streaming.STDOUT, b"a"), (streaming.STDOUT, b"b")]
    (said,) = client.said
    assert json.loads(said)["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert (client.ended, session.closed) == (1, 1)


SENTENCE = b"command terminated with non-zero exit code: exit status 7"


@pytest.mark.parametrize(("code", "said"), [(0, []), (7, [SENTENCE])])
def test_who_takes_no_status_gets_a_sentence_or_nothing(code, said):
    client = Client((0, None), tells_status=False)
    run(client, Session(code))
    assert client.said == said and client.ended == 1


def test_attach_ends_in_success_whatever_the_process_says():
    client = Client((0, None))
    run(client, Session(7), streaming.ExecOptions((), stdin=True))
    assert json.loads(client.said[0])["status"] == "Success"


def test_a_client_that_leaves_is_told_nothing_and_the_session_is_closed():
    client, session = Client((0, b"a"), None), Session()
    run(client, session)
    assert client.said == [] and (client.ended, session.closed) == (0, 1)


@pytest.mark.parametrize("channel", [streaming.STDOUT, streaming.ERROR])
def test_a_client_that_is_gone_when_it_is_written_to_is_no_failure(channel):
    client, session = Client((0, b"a"), (0, None)), Session()
    client.breaks_at = channel
    run(client, session)
    assert (client.ended, session.closed) == (0, 1)


def test_a_session_that_breaks_off_is_closed():
    client, session = Client((0, None)), Session(broken=streaming.StreamError(500, "the container is gone"))
    run(client, session)
    assert client.said == [] and session.closed == 1


def test_a_session_that_cannot_start_says_why():
    async def start() -> Session:
        raise streaming.StreamError(404, "no such program")

    client = Client()
    asyncio.run(remotecommand.serve(client, start, INPUT))
    assert json.loads(client.said[0])["message"] == "no such program" and client.ended == 1


def test_what_was_not_asked_for_is_not_heard():
    """Input without stdin, sizes without a terminal, other channels, and the close of another channel."""
    size = (4, b'{"Width":8,"Height":2}')
    client, session = Client((0, b"a"), size, (9, b"x"), (1, None), (9, None), None), Session()
    run(client, session, streaming.ExecOptions(("sh",)))
    assert client.sent == [] and session.sizes == []


def test_a_terminal_is_resized():
    client, session = Client((4, b'{"Width":80,"Height":24}'), (4, None), (4, b"{"), (4, b"[]"), None), Session()
    run(client, session, streaming.ExecOptions(("sh",), tty=True))
    assert session.sizes == [(80, 24)]
