"""Commands in a container, from a client of petset's own: exec over a WebSocket, its output and its exit code.

The protocol is v5.channel.k8s.io: the first byte of a message is its channel; the last one, on the error channel, is
a Status that carries the exit code. `execute` runs a command to its end, with what is put in at the start and no more
output than OUTPUT_BYTES_MAX; `opened` is for one that reads and writes for as long as it likes. No terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from petset.kinds.pod import PODS
from petset.net.dialer import Dialer
from petset.objects import encoding, errors, meta
from petset.objects.meta import Object
from petset.wire import channels, http, streaming, websocket

PROTOCOL = "v5.channel.k8s.io"


OUTPUT_BYTES_MAX = 64 << 20  # Of both its outputs.
INPUT_BYTES_MAX = 64 << 10  # In one message.
STATUS_BYTES_MAX = 64 << 10  # How it ended.


@dataclass(frozen=True, slots=True)
class Result:
    exit_code: int
    stdout: str
    stderr: str


async def execute(
    dialer: Dialer, namespace: str, pod: str, container: str, command: Sequence[str], stdin: bytes = b""
) -> Result:
    """Run a command to its end. Raises ApiError when it cannot start, ConnectionError when the connection breaks."""
    output = {streaming.STDOUT: bytearray(), streaming.STDERR: bytearray()}
    async with opened(dialer, namespace, pod, container, command, bool(stdin)) as running:
        if stdin:
            running.put(stdin)
            running.close_input()
        async for channel, data in running.output():
            output[channel].extend(data)
            if sum(map(len, output.values())) > OUTPUT_BYTES_MAX:
                raise ConnectionError(f"cannot read what it says: it is longer than {OUTPUT_BYTES_MAX} bytes")
        code = running.exit_code()
    stdout, stderr = (bytes(said).decode(errors="replace") for said in output.values())
    return Result(code, stdout, stderr)


@contextlib.asynccontextmanager
async def opened(
    dialer: Dialer, namespace: str, pod: str, container: str, command: Sequence[str], stdin: bool
) -> AsyncGenerator[Running]:
    """A command, which is left when the block is. Raises ApiError when it cannot start, ConnectionError."""
    words = [("command", word) for word in command]
    wanted = (("stdin", stdin), ("stdout", True), ("stderr", True))
    options = [("container", container), *((name, str(value).lower()) for name, value in wanted)]
    target = f"{PODS.path(namespace, pod, 'exec')}?{urlencode([*words, *options])}"
    client = websocket.Client(target, (PROTOCOL,))
    response, stream = await dialer.open(client.request)
    if stream is None:
        raise await refusal(response)
    try:
        yield Running(client.accepted(response), stream)
    finally:
        stream.close()


class Running:
    """A command that runs: bytes in, bytes out, and how it ended."""

    def __init__(self, connection: websocket.Connection, stream: http.ByteStream):
        self._connection, self._stream = connection, stream
        self._said = bytearray()  # On the error channel.

    def put(self, data: bytes) -> None:
        """Into its input, whenever it is read."""
        for at in range(0, len(data), INPUT_BYTES_MAX):
            part = data[at : at + INPUT_BYTES_MAX]
            self._stream.write(self._connection.send_binary(bytes([streaming.STDIN]) + part))

    async def write(self, data: bytes) -> None:
        """Into its input; waits while most of what was written before is not taken. Raises ConnectionError."""
        self.put(data)
        await self._stream.drain()

    def close_input(self) -> None:
        self._stream.write(self._connection.send_binary(bytes([channels.CLOSE, streaming.STDIN])))

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """(STDOUT or STDERR, bytes) until it has ended; no faster than they are taken. Raises ConnectionError."""
        while not self._connection.is_over:
            data = await self._stream.read()
            for event in self._connection.feed(data):
                if not isinstance(event, websocket.Message) or len(event.data) < 2:
                    continue
                channel, said = event.data[0], event.data[1:]
                if channel == streaming.ERROR:
                    self._said += said[: STATUS_BYTES_MAX - len(self._said)]
                elif channel in (streaming.STDOUT, streaming.STDERR):
                    yield channel, said
            self._stream.write(self._connection.outgoing())
            if not data:
                return

    @property
    def has_failed(self) -> bool:
        """Whether it is known to have ended otherwise than well."""
        return bool(self._said) and encoding.loads(bytes(self._said)).get("status") != "Success"

    def exit_code(self) -> int:
        """Once the output has ended. Raises ConnectionError where nobody told, ApiError where it did not run."""
        return _exit_code(bytes(self._said))


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
