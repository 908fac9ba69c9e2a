"""The ways to a cluster for who does not await: what each of them can, and a thread with a loop for two of them.

A `Way` has a client of the cluster's administrator and runs what it begins to its end: in the loop of the thread that
the cluster lives in (simulated.py), in one of a client alone (containers.py), or by letting virtual time pass
(virtual.py). Who calls is held until it is done.

Invariants: a call never hangs on a cluster that has ended, but raises ClusterError with its reason; the thread ends
with the process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from petset.base import reasons, tasks
from petset.objects import errors
from petset.testing.failures import ClusterError, precise

if TYPE_CHECKING:
    from petset.client.client import Client
    from petset.net.dialer import Dialer

T = TypeVar("T")
START_SECONDS_MAX = 120.0
STOP_SECONDS_MAX = 60.0


class Reached(Protocol):
    """What lives in the loop: the administrator's client, and sockets to the API where there are any."""

    @property
    def client(self) -> Client: ...

    def dialer(self) -> Dialer:
        """Raises ClusterError where there are no sockets."""
        ...


class Way(Protocol):
    @property
    def reached(self) -> Reached: ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What it comes to. Raises ApiError by its reason, and ClusterError when the cluster has ended."""
        ...

    def now(self) -> float:
        """The cluster's clock, seconds since 1970."""
        ...

    def deadline(self, seconds: float) -> float:
        """That far ahead, by the loop's clock."""
        ...


Living = Callable[[], contextlib.AbstractAsyncContextManager[Reached]]


class LoopThread:
    """A loop in a thread of its own, in which something lives until `stop`."""

    def __init__(self, living: Living, name: str, what: str):
        """`what` cannot be done is what a failure says."""
        self._living, self._what = living, what
        self._started: concurrent.futures.Future[Reached] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._why = "it was stopped; start it again"

    def start(self) -> None:
        """Return when it lives. Raises ClusterError."""
        self._thread.start()
        try:
            self._started.result(START_SECONDS_MAX)
        except TimeoutError:
            self.stop()
            raise ClusterError(
                f"cannot {self._what}: it is not ready after {START_SECONDS_MAX:.0f} s; the machine may be too busy"
            ) from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Return when all of it has ended."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # Its loop is closed: it has just ended by itself.
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(STOP_SECONDS_MAX)

    @property
    def reached(self) -> Reached:
        if not self._started.done() or not self._thread.is_alive():
            raise ClusterError(f"cannot ask the cluster: {self._why}")
        return self._started.result()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None or not self._thread.is_alive():
            work.close()
            raise ClusterError(f"cannot ask the cluster: {self._why}")
        if threading.current_thread() is self._thread:
            work.close()
            raise ClusterError(
                "cannot wait for the cluster in its own thread: it would wait for itself; ask in another"
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except errors.ApiError as error:
            raise precise(error) from None
        except concurrent.futures.CancelledError:
            raise ClusterError(f"cannot ask the cluster: {self._why}") from None
        except BaseException:
            future.cancel()  # Who waited was interrupted.
            raise

    def now(self) -> float:
        return tasks.now()

    def deadline(self, seconds: float) -> float:
        if self._loop is None:
            raise ClusterError(f"cannot ask the cluster: {self._why}")
        return self._loop.time() + seconds

    # In the thread

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._live())
        except BaseException as error:
            self._why = _told(error)
            if not self._started.done():
                is_told = self._why.startswith(reasons.SENTENCE)
                self._started.set_exception(ClusterError(self._why if is_told else f"cannot {self._what}: {self._why}"))

    async def _live(self) -> None:
        self._stop = asyncio.Event()
        async with self._living() as reached:
            self._started.set_result(reached)
            await self._stop.wait()


def _told(error: BaseException) -> str:
    inside = _innermost(error)
    if isinstance(inside, ClusterError):
        return str(inside)
    return reasons.in_a_line(inside) if isinstance(inside, Exception) else type(inside).__name__


def _innermost(error: BaseException) -> BaseException:
    inside: Sequence[BaseException] = getattr(error, "exceptions", ())
    return _innermost(inside[0]) if inside else error
