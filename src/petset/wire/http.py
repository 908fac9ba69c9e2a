"""What a request and an answer are, for the listener, the server, the client and the node alike.

In process the client hands a `Request` to the server's `handle` and gets the `Response`; over the network the dialer
and the listener put bytes between the two. Neither side need tell which; only who takes objects is handed, in process,
the server's own frozen trees instead of the bytes they are kept as. A body is bytes; a streaming answer's body is an
async iterator of bytes (closed with `aclose()` by whoever reads it, also when the peer goes away); an upgraded
connection's is a coroutine that is given the raw byte stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

Headers = tuple[tuple[str, str], ...]  # Lower-case names; repeated values stay repeated (SPDY's protocol list).


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: name, groups, and the uid and extra of user info where a token carries them."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end: address, and the verified client certificate's user where one was presented."""

    address: str = ""
    certificate_user: User | None = None
    front_proxy: str | None = None  # Whom the certificate names instead, which is of the front proxies' authority.
    certificate: bytes = b""  # Instead of both the certificate itself (DER), where the handler judges whose it is.


class ByteStream(Protocol):
    """A connection after its upgrade: raw bytes both ways, with flow control in `drain`."""

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        ...

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)  # Never changed, nor is an answer; to freeze them would take longer than to make them.
class Request:
    method: str
    target: str  # Path and query as sent, still percent-encoded.
    headers: Headers = ()
    body: bytes = b""
    peer: Peer = field(default_factory=Peer)
    user: User | None = None  # Set by an in-process transport that vouches for the caller; never from the network.
    takes_objects: bool = False  # In process: the answer may be `Response.objects`.
    # What the server has found out of it: what it asks for, who asks, and what any answer's headers say of it.
    route: object = field(default=None, init=False, repr=False, compare=False)
    answer_headers: Headers = field(default=(), init=False, repr=False, compare=False)
    asking: User | None = field(default=None, init=False, repr=False, compare=False)
    # First values of headers, once somebody knows them: by lower-case names.
    first: dict[str, str] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's pairs in order, repeated names kept."""
        return parse_qsl(self.target.partition("?")[2], keep_blank_values=True)

    def header(self, name: str, default: str = "") -> str:
        """The first value of a header, by its lower-case name."""
        return (self.first or self.first_values()).get(name, default)

    def first_values(self) -> dict[str, str]:
        """The first value of each header."""
        if self.first is None:
            self.first = dict(reversed(self.headers))
        return self.first

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def header_items(self, name: str) -> list[str]:
        """What a header lists, in all its values: the items between commas."""
        return [item.strip() for value in self.header_values(name) for item in value.split(",")]


class Malformed(Exception):
    """What came is not the protocol, or too large for it: an HTTP code, a reason (one word), a text for people."""

    def __init__(self, code: int, reason: str, message: str):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


class Sink(Protocol):
    """Where parts of a streaming answer may be written past its body's iterator, as long as the client keeps up."""

    def push(self, chunks: bytes) -> bool:
        """Parts, each framed as a chunk; False when the next ones are to come by the iterator, which waits for it."""
        ...


Upgraded = Callable[[ByteStream], Awaitable[None]]


@dataclass(slots=True)
class Response:
    code: int
    headers: Headers = ()
    body: bytes | AsyncIterator[bytes] = b""
    # Of a streaming body that can write past its iterator: told where to, when the head was written.
    begun: Callable[[Sink], None] | None = None
    upgraded: Upgraded | None = None  # With code 101: takes the connection over, returns when it is done with it.
    # In process, instead of a body: an object's or a list's tree, or an iterator of a watch's events by the piece.
    objects: Any = None

    def header(self, name: str, default: str = "") -> str:
        for key, value in self.headers:
            if key == name:
                return value
        return default


Handler = Callable[[Request], Awaitable[Response]]


class Transport(Protocol):
    """Sends one request; in process it is the server's handler with a vouched-for user, else the dialer."""

    async def send(self, request: Request) -> Response: ...
