"""Commands in a container, from a client of petset's own: exec over a WebSocket, its output and its exit code.

The protocol is v5.channel.k8s.io: the first byte of a message is its channel; the last one, on the error channel, is
a Status that carries the exit code. No terminal, no input beyond what is given at the start, and no more output than
OUTPUT_BYTES_MAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from petset.kinds.pod import PODS
from petset.net.dialer import Dialer
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.wire import channels, http, streaming, websocket

PROTOCOL = "v5.channel.k8s.io"


OUTPUT_BYTES_MAX = 64 << 20  # Of both its outputs.


@dataclass(frozen=True, slots=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str


async def execute(
    dialer: Dialer, namespace: str, pod: str, container: str, command: Sequence[str], stdin: bytes = b""
) -> Result:
    """Run a command to its end. Raises ApiError when it cannot start, ConnectionError when the connection breaks."""
    words = [("command", word) for word in command]
    wanted = (("stdin", bool(stdin)), ("stdout", True), ("stderr", True))
    options = [("container", container), *((name, str(value).lower()) for name, value in wanted)]
    target = f"{PODS.path(namespace, pod, 'exec')}?{urlencode([*words, *options])}"
    client = websocket.Client(target, (PROTOCOL,))
    response, stream = await dialer.open(client.request)
    if stream is None:
        raise await refusal(response)
    output: dict[int, bytearray] = {channel: bytearray() for channel in range(5)}
    size = 0
    try:
        connection = client.accepted(response)
        if stdin:
            stream.write(connection.send_binary(bytes([streaming.STDIN]) + stdin))
            stream.write(connection.send_binary(bytes([channels.CLOSE, streaming.STDIN])))
        while not connection.is_over:
            data = await stream.read()
            for event in connection.feed(data):
                if isinstance(event, websocket.Message) and event.data:
                    size += len(event.data)
                    if size > OUTPUT_BYTES_MAX:
                        raise ConnectionError(f"cannot read what it says: it is longer than {OUTPUT_BYTES_MAX} bytes")
                    output.setdefault(event.data[0], bytearray()).extend(event.data[1:])
            stream.write(connection.outgoing())
            if not data:
                break
    finally:
        stream.close()
    return Result(
        _exit_code(bytes(output[streaming.ERROR])),
        output[streaming.STDOUT].decode(errors="replace"),
        output[streaming.STDERR].decode(errors="replace"),
    )


async def refusal(response: http.Response) -> errors.ApiError:
    """What an answer says that is no stream."""
    body = response.body if isinstance(response.body, bytes) else b"".join([part async for part in response.body])
    try:
        return errors.from_status(encoding.loads(body), response.code)
    except ValueError:
        return errors.ApiError(response.code, "Unknown", body.decode(errors="replace")[:300])


def _exit_code(said: bytes) -> int:
    """The exit code in the Status on the error channel. Raises ConnectionError when there is none."""
    if not said:
        raise ConnectionError("cannot tell how the command ended: the connection closed before it did")
    status: Object = encoding.loads(said)
    if status.get("status") == "Success":
        return 0
    for cause in meta.parts(status, "details", "causes"):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise errors.from_status(status, 500)
