"""One question of the gRPC health protocol, without a socket: bytes to write, bytes in, at the end an answer.

`Check` is a single call of grpc.health.v1.Health/Check on a connection of its own: HTTP/2 by `h2`, the two messages of
one field each by hand. `feed` takes what comes and gives the answer once there is one; `outgoing` is what is to be
written after it. A call ends with the status of gRPC in its trailers; only a call that ended well has a message.
Import this module late: only who has such probes needs the library.

Invariants: no input raises anything but ValueError; at most RECEIVED_BYTES_MAX are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from h2 import config, connection, events, exceptions

PATH = "/grpc.health.v1.Health/Check"
RECEIVED_BYTES_MAX = 64 << 10
OK, UNIMPLEMENTED = 0, 12  # Of the statuses a call may end with.
SERVING = "SERVING"
_SERVICE_STATUSES = ("UNKNOWN", SERVING, "NOT_SERVING", "SERVICE_UNKNOWN")
_STREAM = 1  # The first that a client may open.


@dataclass(frozen=True, slots=True)
class Answer:
    """How the call ended: its status in gRPC and the server's words; when it is OK, what was said of the service."""

    code: int
    message: str = ""
    service_status: str = ""


@dataclass(slots=True)
class _Response:
    http_status: str = ""
    code: int | None = None
    message: str = ""
    body: bytearray = field(default_factory=bytearray)


class Check:
    """`service` "" asks about the server as a whole."""

    def __init__(self, authority: str, service: str, user_agent: str):
        self._http2 = connection.H2Connection(config.H2Configuration(client_side=True, header_encoding=None))
        self._response = _Response()
        self._received_bytes = 0
        self._http2.initiate_connection()
        headers = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", user_agent),
        )
        self._http2.send_headers(_STREAM, headers)
        self._http2.send_data(_STREAM, _framed(_question(service)), end_stream=True)

    def outgoing(self) -> bytes:
        return self._http2.data_to_send()

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is whole; b"" says that the connection has ended. Raises ValueError."""
        if not data:
            raise ValueError("the server closed the connection before it answered")
        self._received_bytes += len(data)
        if self._received_bytes > RECEIVED_BYTES_MAX:
            raise ValueError(f"the server sent more than {RECEIVED_BYTES_MAX} bytes")
        try:
            happened = self._http2.receive_data(data)
        except exceptions.H2Error as error:
            raise ValueError(f"the server does not speak HTTP/2: {error}") from None
        for event in happened:
            match event:
                case events.ResponseReceived() | events.TrailersReceived():
                    self._take_headers(event.headers or [])
                case events.DataReceived():
                    self._response.body += event.data
                case events.StreamEnded():
                    return self._answer()
                case events.StreamReset() | events.ConnectionTerminated():
                    raise ValueError(f"the server gave up the call: error code {int(event.error_code or 0)}")
                case _:
                    pass
        return None

    def _take_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        response = self._response
        for name, value in headers:
            text = value.decode("utf-8", "replace")
            match name:
                case b":status":
                    response.http_status = text
                case b"grpc-status" if text.isascii() and text.isdigit():
                    response.code = int(text[:3])
                case b"grpc-message":
                    response.message = unquote(text)
                case _:
                    pass

    def _answer(self) -> Answer:
        response = self._response
        if response.code is None:
            raise ValueError(f"the server does not speak gRPC: it answered with HTTP status {response.http_status}")
        if response.code != OK:
            return Answer(response.code, response.message)
        return Answer(OK, service_status=_service_status(_unframed(bytes(response.body))))


# -- Messages: gRPC's frame of five bytes, then protobuf --------------------------------------------------------------


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _unframed(data: bytes) -> bytes:
    if len(data) < 5 or data[0] != 0 or int.from_bytes(data[1:5], "big") != len(data) - 5:
        raise ValueError("the server's answer is not one uncompressed message")
    return data[5:]


def _question(service: str) -> bytes:
    """HealthCheckRequest: the name of the service is field 1."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _service_status(message: bytes) -> str:
    """HealthCheckResponse: the status is field 1, an enumeration whose zero is left out."""
    if not message:
        return _SERVICE_STATUSES[0]
    if len(message) != 2 or message[0] != 0x08:
        raise ValueError("the server's answer is not that of the health protocol")
    number = message[1]
    return _SERVICE_STATUSES[number] if number < len(_SERVICE_STATUSES) else str(number)
