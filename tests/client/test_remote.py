"""Commands in a container, as a client of petset's own runs them."""

from __future__ import annotations

import asyncio

import pytest

from petset.client import remote
from petset.wire import http, streaming, websocket

ENDED = b'\x03{"metadata":{},"status":"Success"}'


class Server:
    """Says these messages to whoever opens a stream, and closes it."""

    def __init__(self, *messages: bytes):
        self._messages = messages
        self.is_closed = False

    async def open(self, request: http.Request) -> tuple[http.Response, Server]:
        headers, socket = websocket.accept(request, [remote.PROTOCOL])
        frames = [socket.send(message, False) for message in self._messages]
        self._sent = [b"".join([*frames, socket.send_close()])]
        return http.Response(101, headers), self

    async def read(self) -> bytes:
        return self._sent.pop() if self._sent else b""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True


def execute(server: Server) -> remote.Result:
    return asyncio.run(remote.execute(server, "default", "web-0", "main", ["true"]))  # type: ignore[arg-type]


def said(text: str) -> bytes:
    return bytes([streaming.STDOUT]) + text.encode()


def test_what_a_command_says_and_how_it_ends():
    server = Server(said("one "), said("two"), bytes([streaming.STDERR]) + b"three", ENDED)
    assert execute(server) == remote.Result(0, "one two", "three")
    assert server.is_closed


def test_one_that_says_more_than_anybody_would_read_is_left(monkeypatch):
    monkeypatch.setattr(remote, "OUTPUT_BYTES_MAX", 10)
    server = Server(said("twelve bytes"), ENDED)
    with pytest.raises(ConnectionError, match="longer than 10 bytes"):
        execute(server)
    assert server.is_closed
