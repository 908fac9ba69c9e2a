"""HTTP/1.1 without a socket: bytes in, requests or answers out; answers and requests to bytes.

`RequestParser.feed` gives events in order: `Continue` (the client waits for leave to send its body), `Received` (one
whole request), or, as the last one, `Refused` with the answer that says why. After a `Received` whose `upgrade` is set
the parser holds what follows: `take_over()` gives those bytes to whoever speaks next, `resume()` reads them as HTTP
when the upgrade was not granted. `ResponseParser` is the client's side: `Head`, `Data`..., `End`.

Invariants: no input raises; memory is bounded by the limits below; requests whose end could be read in two ways
(lengths twice, length and chunks, bare line ends) are refused. llhttp does the grammar, strictly. RFC 9110, RFC 9112.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

import httptools

from petset.base import memory
from petset.wire import http

HEAD_BYTES_MAX = 64 << 10  # Request line and headers together; more is 431.
HEADERS_MAX = 256  # 431
TARGET_BYTES_MAX = 48 << 10  # 414; an exec has its whole command there, percent-encoded.
BODY_BYTES_MAX = 3 << 20  # 413
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
BODYLESS_CODES = (204, 304)
USUAL_HEADERS_MAX = 256  # Kept as they were read, of all connections,
USUAL_VALUE_BYTES_MAX = 64  # which is less than a token has,
USUAL_HEADERS_AT_ONCE_MAX = 6  # and as many in one answer.

_REASONS = {status.value: status.phrase for status in HTTPStatus}
HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")  # Ours to set, never a handler's.


@dataclass(slots=True)  # Never changed; to freeze it would take longer than to make it.
class Received:
    """One whole request. `keep_alive`: another may follow. `chunks`: the client understands chunked answers."""

    request: http.Request
    keep_alive: bool = True
    upgrade: bool = False
    chunks: bool = True


@dataclass(frozen=True, slots=True)
class Continue:
    """The client sent `Expect: 100-continue` and waits for it before it sends the body."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is no request, or too large; nothing after it is read."""

    why: http.Malformed


Event = Received | Continue | Refused


_UNREADABLE = http.Malformed(400, "BadRequest", "cannot read the request: it is not HTTP/1.1; use an HTTP/1.1 client")


class RequestParser:
    """One connection's requests. `body_bytes_max` is for tests and servers with other needs."""

    def __init__(self, peer: http.Peer | None = None, body_bytes_max: int = BODY_BYTES_MAX):
        self._peer = peer or http.Peer()
        self._body_bytes_max = body_bytes_max
        self._events: list[Event] = []
        self._refused = False
        self._held: bytes | None = None  # What follows a request to upgrade, until that is decided.
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._begin()

    def feed(self, data: bytes) -> list[Event]:
        if self._refused or self._parser is None:
            return []
        if self._held is not None:
            self._held += data
            return []
        began = self._messages
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._held = data[upgrade.args[0] :]
        except httptools.HttpParserCallbackError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, http.Malformed) else _UNREADABLE)
        except httptools.HttpParserError as error:
            self._refuse(http.Malformed(400, "BadRequest", f"cannot read the request: {error}; use an HTTP/1.1 client"))
        if self._in_head and not self._refused:
            # An unfinished line is held by llhttp's wrapper, unseen by us: count what went in.
            self._unfinished_bytes = self._unfinished_bytes + len(data) if began == self._messages else 0
            if self._unfinished_bytes > HEAD_BYTES_MAX:
                self._refuse(head_too_large())
        events, self._events = self._events, []
        return events

    def take_over(self) -> bytes:
        """The bytes that came after the request to upgrade; the parser is done."""
        held, self._held = self._held or b"", None
        self.close()
        return held

    def resume(self) -> list[Event]:
        """The upgrade was not granted: what came after the request is HTTP."""
        if self._held is None:
            return []
        held, self._held = self._held, None
        self._parser = httptools.HttpRequestParser(self)
        return self.feed(held) if held else []

    def close(self) -> None:
        """Let go of the inner parser, which refers back to this object, and of what has come of a request."""
        self._parser = None
        self._reset()

    def _refuse(self, refusal: http.Malformed) -> None:
        self._refused = True
        self._events.append(Refused(refusal))

    def _begin(self) -> None:
        self._in_head = False
        self.is_partial = False  # Whether a request has begun and is not complete.
        self._messages = 0
        self._unfinished_bytes = 0
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._first: dict[str, str] = {}  # First values of the headers.
        self._version = "1.1"
        self._head_bytes = 0
        self._body: list[bytes] = []
        self.body_bytes = 0  # How much is here of the body of a request that is not complete.

    # Called by httptools

    def on_message_begin(self) -> None:
        self._messages += 1
        self._in_head = self.is_partial = True

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > TARGET_BYTES_MAX:
            raise http.Malformed(
                414, "RequestURITooLong", f"cannot read the request: its target exceeds {TARGET_BYTES_MAX} bytes"
            )
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES_MAX or len(self._headers) >= HEADERS_MAX:
            raise head_too_large()
        if self._in_head:  # Otherwise it is a trailer, which nobody here reads.
            read = _usual_header if len(value) <= USUAL_VALUE_BYTES_MAX else _header
            self._headers.append(read(name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._in_head = False
        headers = self._first = dict(reversed(self._headers))
        hosts = "host" in headers if len(headers) == len(self._headers) else _count(self._headers, "host")
        version = self._version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise http.Malformed(
                505, "BadRequest", f"cannot read the request: HTTP {version} is not offered; use HTTP/1.1"
            )
        if hosts > 1 or (not hosts and version == "1.1"):
            raise http.Malformed(400, "BadRequest", "cannot read the request: it needs one Host header")
        if self._parser.get_method() == b"CONNECT":
            raise http.Malformed(405, "MethodNotAllowed", "cannot connect elsewhere: this is not a proxy")
        length = headers.get("content-length")
        has_body = (length or "0") != "0" or "transfer-encoding" in headers
        if length is not None and (not length.isdecimal() or int(length) > self._body_bytes_max):
            raise self._body_too_large()
        if has_body and self._parser.should_upgrade():
            raise http.Malformed(400, "BadRequest", "cannot upgrade: the request has a body; send it without Upgrade")
        expect = headers["expect"].lower() if "expect" in headers else ""
        if expect and expect != "100-continue":
            raise http.Malformed(417, "ExpectationFailed", f"cannot meet the expectation {expect!r}; send none")
        if expect and has_body and version == "1.1":
            self._events.append(Continue())

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self.body_bytes > self._body_bytes_max:
            raise self._body_too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        parser, body = self._parser, self._body
        assert parser is not None
        self.is_partial = False
        request = http.Request(
            parser.get_method().decode("ascii"),
            origin_form(self._target),
            tuple(self._headers),
            body[0] if len(body) == 1 else b"".join(body),
            self._peer,
        )
        request.first = self._first
        upgrade = parser.should_upgrade()
        self._events.append(Received(request, upgrade or parser.should_keep_alive(), upgrade, self._version == "1.1"))
        self._reset()

    def _body_too_large(self) -> http.Malformed:
        return body_too_large(self._body_bytes_max)


def _count(headers: Iterable[tuple[str, str]], name: str) -> int:
    return sum(key == name for key, _ in headers)


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    return name.decode("ascii", "replace").lower(), value.decode("utf-8", "replace").strip()


_usual_header = memory.cached(USUAL_HEADERS_MAX)(_header)  # A client says nearly the same with each request.


def body_too_large(most: int) -> http.Malformed:
    why = f"cannot read the request: its body exceeds {most} bytes; send a smaller one"
    return http.Malformed(413, "RequestEntityTooLarge", why)


def head_too_large() -> http.Malformed:
    return http.Malformed(
        431,
        "RequestHeaderFieldsTooLarge",
        f"cannot read the request: its headers exceed {HEAD_BYTES_MAX} bytes or {HEADERS_MAX} lines; send fewer",
    )


def origin_form(target: bytes) -> str:
    """The path and query, also of the absolute form that clients send to proxies."""
    text = target.decode("ascii", "replace")
    if text.startswith("/") or text == "*":
        return text
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        authority = rest.partition("?")[0].partition("/")[0]
        path = rest[len(authority) :]
        return path if path.startswith("/") else "/" + path
    raise http.Malformed(400, "BadRequest", f"cannot read the request target {text[:100]!r}: it must begin with /")


# Answers to bytes


def whole(response: http.Response, body: bytes, received: Received | None, keep_alive: bool, date: str = "") -> bytes:
    """A whole answer; to HEAD, its head alone."""
    if keep_alive and date and received is not None and received.chunks and received.request.method != "HEAD":
        begun = _heads.begun(response.code, response.headers)
        if begun:
            return b"%bdate: %b\r\ncontent-length: %d\r\n\r\n%b" % (begun, date.encode(), len(body), body)
    headers = [] if response.code in BODYLESS_CODES else [("content-length", str(len(body)))]
    if not keep_alive:
        headers.append(("connection", "close"))
    elif received is not None and not received.chunks:
        headers.append(("connection", "keep-alive"))  # HTTP/1.0 closes unless told.
    bodyless = response.code in BODYLESS_CODES or (received is not None and received.request.method == "HEAD")
    return _head(response, headers, date) + (b"" if bodyless else body)


class _Heads:
    """Heads of answers up to what each one has of its own: nearly all answers have the headers of one before."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, http.Headers], bytes] = {}

    def begun(self, code: int, headers: http.Headers) -> bytes:
        """b"" where such an answer has no body, or headers that are not kept."""
        known = self._known.get((code, headers))
        return self._made(code, headers) if known is None else known

    def _made(self, code: int, headers: http.Headers) -> bytes:
        if len(headers) > USUAL_HEADERS_AT_ONCE_MAX or code in BODYLESS_CODES:
            return b""
        if max((len(text) for header in headers for text in header), default=0) > USUAL_VALUE_BYTES_MAX:
            return b""
        if len(self._known) >= USUAL_HEADERS_MAX:
            self._known.clear()
        begun = self._known[code, headers] = _head(http.Response(code, headers), (), "").removesuffix(b"\r\n")
        return begun

    def forget(self) -> None:
        self._known.clear()


_heads = _Heads()
memory.at_rest.add(_heads.forget)


def begin(response: http.Response, received: Received, keep_alive: bool, date: str = "") -> bytes:
    """The head of a streaming answer; each part follows as `chunk`, then LAST_CHUNK (HTTP/1.0: raw until the end)."""
    headers = [("transfer-encoding", "chunked")] if received.chunks else []
    if not keep_alive or not received.chunks:
        headers.append(("connection", "close"))
    return _head(response, headers, date)


def switch(response: http.Response, received: Received) -> bytes:
    """The head of a 101: the handler's own headers, connection and upgrade among them."""
    headers = [] if response.header("connection") else [("connection", "Upgrade")]
    if not response.header("upgrade"):
        headers.append(("upgrade", received.request.header("upgrade")))
    return _head(response, headers, "", kept=("connection",))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(response: http.Response, headers: Iterable[tuple[str, str]], date: str, kept: tuple[str, ...] = ()) -> bytes:
    code = response.code
    lines = [f"HTTP/1.1 {code} {_REASONS.get(code, 'Unknown')}\r\n"]
    for name, value in response.headers:
        if name.lower() not in HOP_BY_HOP or name in kept:
            lines.append(_line(name, value))
    if date:
        lines.append(f"date: {date}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "replace")


def _line(name: str, value: str) -> str:
    return f"{name}: {one_line(value)}\r\n"


def one_line(value: str) -> str:
    """A value with a line end would be a header of its own."""
    if "\r" in value or "\n" in value or "\0" in value:
        return value.replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return value


# The client's side


def request_bytes(request: http.Request, host: str) -> bytes:
    """A request with its whole body."""
    lines = [f"{request.method} {request.target} HTTP/1.1\r\n"]
    if not request.header("host"):
        lines.append(_line("host", host))
    upgrade = bool(request.header("upgrade"))
    for name, value in request.headers:
        if name not in HOP_BY_HOP or (upgrade and name == "connection"):
            lines.append(_line(name, value))
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(request.body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "replace") + request.body


@dataclass(frozen=True, slots=True)
class Head:
    """`length`: of the body, where the server told it; None for a stream."""

    code: int
    headers: http.Headers
    length: int | None
    upgrade: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Broken:
    """What came is no answer; nothing after it is read."""

    why: str


ResponseEvent = Head | Data | End | Broken


class ResponseParser:
    """The answers of one connection; `expect` before each says to which method."""

    def __init__(self) -> None:
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._method = ""
        self._events: list[ResponseEvent] = []
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._in_head = self._ended = self._broken = self._until_end = False
        self._rest = b""

    def expect(self, method: str) -> None:
        self._method, self._ended = method, False

    def feed(self, data: bytes) -> list[ResponseEvent]:
        """Events in order; b"" says that the connection has ended."""
        if self._broken or self._parser is None:
            return []
        if self._ended:
            self._rest += data if self._upgraded else b""
            return []
        if not data:
            return [
                End(False) if self._until_end else self._break("the connection was closed before the answer was whole")
            ]
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._events.append(self._break(str(error.__context__ or error)))
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX * 2:
                self._events.append(self._break("its headers are too large"))
        events, self._events = self._events, []
        return events

    def take_over(self) -> bytes:
        """The bytes that came after a 101."""
        rest, self._rest = self._rest, b""
        self.close()
        return rest

    def close(self) -> None:
        self._parser = None

    @property
    def _upgraded(self) -> bool:
        return self._code == 101

    _code = 0

    def _break(self, why: str) -> Broken:
        self._broken = True
        return Broken(why)

    # Called by httptools

    def on_message_begin(self) -> None:
        self._in_head = True
        self._headers = []
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            self._headers.append((name.decode("ascii", "replace").lower(), value.decode("utf-8", "replace").strip()))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._in_head = False
        self._code = self._parser.get_status_code()
        if self._code < 200 and self._code != 101:
            return
        headers = dict(self._headers)
        bodyless = self._method == "HEAD" or self._code in BODYLESS_CODES
        length = headers.get("content-length")
        if self._code == 101 or bodyless:
            length = "0"
        self._until_end = length is None and "chunked" not in headers.get("transfer-encoding", "")
        self._events.append(
            Head(self._code, tuple(self._headers), int(length) if length is not None else None, self._code == 101)
        )
        if self._method == "HEAD" or self._code == 101:
            # llhttp would wait for the body that HEAD's headers promise.
            self._ended = True
            self._events.append(End(False))

    def on_body(self, body: bytes) -> None:
        if not self._ended:
            self._events.append(Data(body))

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._ended or (self._code < 200 and self._code != 101):
            return
        self._ended = True
        self._events.append(End(self._parser.should_keep_alive() and not self._until_end))
