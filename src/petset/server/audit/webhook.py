"""The audit log's webhook: Events posted to another server, many at a time (mode batch).

A batch is sent when it has so many Events or its first has waited for so long, one batch after another and no more
often than the settings say. What is not taken (anything but a 2xx, or no answer) is sent again after growing waits, and
is lost after ATTEMPTS_MAX; what comes meanwhile waits within its bounds. Whoever asks the API waits for nothing of it.
At the end what waits is sent once, for a few seconds.
Follows: "Auditing" of the Kubernetes documentation, "Webhook backend"; the values are upstream's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import dataclass

from petset.base import tasks, well_known
from petset.net import dialer
from petset.server.audit.event import Event, Waiting, line
from petset.wire import http

log = logging.getLogger("petset.server")

ATTEMPTS_MAX = 5
BACKOFF_FACTOR, BACKOFF_JITTER = 1.5, 0.2
BATCH_BYTES_MAX = 10 << 20  # Of the objects that its Events tell, unless it is one Event.
ANSWER_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the webhook is, and how Events are gathered."""

    url: str  # With the path; its host is whom the certificate must name.
    tls: ssl.SSLContext | None = None
    headers: http.Headers = ()  # Who we are: authorization.
    address: tuple[str, int] | None = None  # Where it is, when its URL names another place.
    buffer_events_max: int = 10_000
    batch_events_max: int = 400
    batch_seconds_max: float = 30.0
    batches_a_second: float = 10.0  # 0: as many as there are.
    burst_batches: int = 15
    backoff_first_seconds: float = 10.0


class Bucket:
    """How often something is done: `burst` times at once, and then so often a second. Pure."""

    def __init__(self, a_second: float, burst: int):
        self._a_second, self._burst = a_second, burst
        self._tokens, self._at = float(burst), 0.0

    def wait_seconds(self, now: float) -> float:
        """One is taken; how long to wait before it is used."""
        if not self._a_second:
            return 0.0
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._a_second) - 1
        self._at = now
        return max(0.0, -self._tokens / self._a_second)


class Backend:
    def __init__(self, settings: Settings):
        self._settings = settings
        self.waiting = Waiting(settings.buffer_events_max)
        self.failed_ever = 0  # Events that were sent in vain.
        self._bucket = Bucket(settings.batches_a_second, settings.burst_batches)
        self._sending: list[Event] = []

    async def keep(self) -> None:
        """Send what comes, until cancelled."""
        settings, thread = self._settings, tasks.Thread("petset-audit-webhook")
        answer_seconds = ANSWER_SECONDS_MAX
        async with dialer.Dialer(
            settings.url, settings.tls, settings.headers, answer_seconds_max=answer_seconds, address=settings.address
        ) as dialing:
            try:
                while True:
                    await self.waiting.come(settings.batch_events_max, settings.batch_seconds_max)
                    self._sending, lost = self.waiting.taken(settings.batch_events_max, BATCH_BYTES_MAX)
                    if lost:
                        log.warning("%d events of the audit log are lost: they came faster than they are sent", lost)
                    if self._sending:
                        await asyncio.sleep(self._bucket.wait_seconds(asyncio.get_running_loop().time()))
                        await self._send(dialing, await thread.call(_body, self._sending))
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()  # Or a timeout is taken for it, before Python 3.11.4.
                await self._send_rest(dialing)
                raise
            finally:
                thread.close()

    async def _send(self, dialing: dialer.Dialer, body: bytes) -> None:
        """One batch, as often as it takes."""
        seconds = self._settings.backoff_first_seconds
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                await _post(dialing, body)
                break
            except OSError as error:
                if attempt == ATTEMPTS_MAX:
                    self.failed_ever += len(self._sending)
                    log.warning("%d events of the audit log are lost: %s", len(self._sending), error)
                    break
            await asyncio.sleep(seconds * (1 + tasks.rng().random() * BACKOFF_JITTER))
            seconds *= BACKOFF_FACTOR
        self._sending = []

    async def _send_rest(self, dialing: dialer.Dialer) -> None:
        rest = [*self._sending, *self.waiting.taken()[0]]
        if not rest:
            return
        why = f"they could not be sent within {STOP_SECONDS_MAX:g} seconds"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                try:
                    for begin in range(0, len(rest), self._settings.batch_events_max):
                        await _post(dialing, _body(rest[begin : begin + self._settings.batch_events_max]))
                    return
                except OSError as error:
                    why = str(error)
        self.failed_ever += len(rest)
        log.warning("%d events of the audit log are lost: %s", len(rest), why)


async def _post(dialing: dialer.Dialer, body: bytes) -> None:
    """Raises OSError when it is not taken."""
    headers = (("content-type", "application/json"), ("accept", "application/json"), ("user-agent", "petset"))
    answer = await dialing.send(http.Request("POST", "", headers, body))
    if close := getattr(answer.body, "aclose", None):  # Of what it says only the code counts.
        await close()
    if not 200 <= answer.code < 300:
        raise OSError(f"the webhook answered {answer.code}")


def _body(events: list[Event]) -> bytes:
    head = b'{"kind":"EventList","apiVersion":"%s/v1","metadata":{},"items":[' % well_known.AUDIT_GROUP.encode()
    return head + b",".join(map(line, events)) + b"]}"
