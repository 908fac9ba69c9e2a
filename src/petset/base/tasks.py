"""The one clock, the one randomness, the one way to spawn and to leave the loop for a thread.

Everything that must behave the same in production and in simulation comes from here: the wall clock, random
numbers, identifiers, worker threads, and tasks. The simulation sets an `Environment` of its own whose clock is the
virtual loop's, whose random source is seeded and whose threads run inline; nobody else can tell.

`asyncio.sleep`, `asyncio.timeout` and `asyncio.TaskGroup` follow the loop and may be used directly.
Invariant: no other module calls `time.*`, `random.*`, `uuid.*`, `asyncio.create_task` or `asyncio.to_thread` (a test
reads the sources).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import queue
import random as _random
import sys
import threading
import time as _time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from petset.base import memory, reasons

log = logging.getLogger("petset")
P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


RANDOM_NUMBERS_KEPT = 256


class _SystemRandom(_random.SystemRandom):
    """The kernel's randomness, asked for many identifiers at once: each question lets go of the interpreter's lock."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[int] = []

    def getrandbits(self, k: int) -> int:
        if k != IDENTIFIER_BITS:
            return super().getrandbits(k)
        try:
            return self._kept.pop()
        except IndexError:
            fresh = os.urandom(RANDOM_NUMBERS_KEPT * IDENTIFIER_BITS // 8)
            step = IDENTIFIER_BITS // 8
            numbers = [int.from_bytes(fresh[at : at + step]) for at in range(0, len(fresh), step)]
            self._kept.extend(numbers[1:])
            return numbers[0]


IDENTIFIER_BITS = 128


@dataclass(frozen=True, slots=True)
class Environment:
    """Where time and chance come from; `threads=False` runs blocking functions inline (simulation)."""

    wall_clock: Callable[[], float] = _time.time
    rng: _random.Random = field(default_factory=_SystemRandom)
    threads: bool = True


REAL = Environment()
_environment: contextvars.ContextVar[Environment] = contextvars.ContextVar("environment", default=REAL)


@contextlib.contextmanager
def environment(env: Environment) -> Generator[None]:
    """Run what is inside, and the tasks it starts, with another clock and randomness."""
    token = _environment.set(env)
    try:
        yield
    finally:
        _environment.reset(token)


def now() -> float:
    """Seconds since 1970, UTC."""
    return _environment.get().wall_clock()


def monotonic() -> float:
    """The running loop's clock, seconds; only differences mean anything."""
    return asyncio.get_running_loop().time()


def rfc3339(seconds: float) -> str:
    """2016-08-03T00:00:00Z, the form of metav1.Time."""
    return _rfc3339(int(seconds))


@memory.cached(64)
def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def http_date(seconds: float) -> str:
    """Wed, 03 Aug 2016 00:00:00 GMT (RFC 9110, 5.6.7), in every language the process may be run in."""
    at = datetime.fromtimestamp(int(seconds), UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def rfc3339_micro(seconds: float) -> str:
    """2016-08-03T00:00:00.000000Z, the form of metav1.MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time; raises ValueError."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def rng() -> _random.Random:
    return _environment.get().rng


def new_uid() -> str:
    """A version 4 UUID from the environment's randomness."""
    bits = rng().getrandbits(IDENTIFIER_BITS) & ~_UID_FIXED | _UID_VERSION_4
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_UID_FIXED = 0xF << 76 | 0x3 << 62  # Version and variant, as RFC 9562 places them.
_UID_VERSION_4 = 0x4 << 76 | 0x2 << 62


NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # No vowels, no look-alikes.


GENERATED_NAME_CHARACTERS_MAX = 63
NAME_SUFFIX_CHARACTERS = 5


def name_suffix(length: int = NAME_SUFFIX_CHARACTERS) -> str:
    """The random end of a generated name."""
    number, letters = rng().randrange(len(NAME_ALPHABET) ** length), ""
    for _ in range(length):
        number, letter = divmod(number, len(NAME_ALPHABET))
        letters += NAME_ALPHABET[letter]
    return letters


def generated_name(prefix: str) -> str:
    """A name that begins so and that nobody has: what metadata.generateName means."""
    return prefix[: GENERATED_NAME_CHARACTERS_MAX - NAME_SUFFIX_CHARACTERS] + name_suffix(NAME_SUFFIX_CHARACTERS)


async def side_by_side(items: Sequence[Item], work: Callable[[Item], Awaitable[None]], most: int, name: str) -> None:
    """Work on all items, at most so many at once; none is begun after one has failed.

    Raises the first failure, when all have ended.

    No task of the group fails itself: before Python 3.13 that leaves whoever owns the group half cancelled, and each
    asyncio.timeout of it from then on ends as a cancellation.
    """
    left, failures = iter(items), list[Exception]()

    async def go_on() -> None:
        for item in left:
            try:
                await work(item)
            except Exception as error:
                failures.append(error)
            if failures:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(min(len(items), most)):
            spawn(group, go_on(), name)
    if failures:
        raise failures[0]


_threads: ThreadPoolExecutor | None = None


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of a blocking function, run in a worker thread (inline in simulation)."""
    if not _environment.get().threads:
        return function(*args, **kwargs)
    global _threads
    if _threads is None:
        _threads = _executor(THREADS_MAX, "petset")
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: function(*args, **kwargs))


THREADS_MAX = 8
HANDOVER_SECONDS = 0.001  # Until a thread that computes lets the loop go on: TLS alone asks for that 64 times a MiB.


def _executor(threads: int, name: str) -> ThreadPoolExecutor:
    sys.setswitchinterval(HANDOVER_SECONDS)
    return ThreadPoolExecutor(threads, thread_name_prefix=name)


class Thread:
    """One dedicated worker thread: calls run in it one after another (SQLite's writer, netlink); or a few."""

    def __init__(self, name: str, threads: int = 1):
        self._executor: ThreadPoolExecutor | None = None
        self._name, self._threads = name, threads

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not _environment.get().threads:
            return function(*args, **kwargs)
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Like `call` for who has no task to wait in; inline, the future is done when it is returned."""
        loop = asyncio.get_running_loop()
        if not _environment.get().threads:
            return _at_once(loop, partial(function, *args, **kwargs))
        if self._executor is None:
            self._executor = _executor(self._threads, self._name)
        return loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None


class Worker:
    """What `Thread` is, for who comes thousands of times a second: a call takes half the CPU of an executor's.

    It is to be closed. A process that ends without doing so leaves what is under way unfinished.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls = queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.submit(function, *args, **kwargs)

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """As `Thread.submit`. Who cancels what has not begun takes it back."""
        loop, work = asyncio.get_running_loop(), partial(function, *args, **kwargs)
        if not _environment.get().threads:
            return _at_once(loop, work)
        if self._thread is None:
            sys.setswitchinterval(HANDOVER_SECONDS)
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

        done: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            if done.cancelled():
                return
            try:
                told = partial(_tell, done, work())
            except BaseException as error:
                told = partial(_fail, done, error)
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits.
                loop.call_soon_threadsafe(told)

        self._calls.put(call)
        return done

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # While it waits for the next.

    def close(self) -> None:
        """What was submitted is done first."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join()
            self._thread = None


def _at_once(loop: asyncio.AbstractEventLoop, work: Callable[[], T]) -> asyncio.Future[T]:
    done: asyncio.Future[T] = loop.create_future()
    try:
        done.set_result(work())
    except Exception as error:
        done.set_exception(error)
    return done


def _tell(done: asyncio.Future[T], answer: T) -> None:
    if not done.done():  # Else nobody waits any more.
        done.set_result(answer)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


def spawn(group: asyncio.TaskGroup, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
    """A task owned by a group; the only way to start one."""
    return group.create_task(work, name=name)


class Signal:
    """What asyncio.Event does, in a fifth of its bytes: for what there are ten thousand of."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] = []

    def set(self) -> None:
        self._is_set = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        if self._is_set:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await waiting
        finally:
            self._waiting.remove(waiting)


REPETITIONS_KEPT_MAX = 1000


class Repetitions:
    """How often each line would have been said; bounded, whoever comes after many others is new again."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def times(self, line: str) -> int:
        """Which time this is."""
        times = self._times.pop(line, 0) + 1
        if len(self._times) >= REPETITIONS_KEPT_MAX:
            self._times.pop(next(iter(self._times)), None)
        self._times[line] = times
        return times


def is_worth_saying(times: int) -> bool:
    """What happens again and again is said the 1st, 2nd, 4th, 8th ... time."""
    return times & (times - 1) == 0


_failures: dict[str, int] = {}
_said = Repetitions()


def best_effort_failures() -> dict[str, int]:
    """How often each best-effort step failed since the start, by what it was doing."""
    return dict(_failures)


def best_effort(doing: str, what: str = "") -> _BestEffort:
    """Count and log an Exception instead of raising it: for cleanups whose failure must not stop the rest.

    It is counted by what it was `doing`, a text of the source that is a metric's label; `what` it was done to, of which
    there may be any number, is only logged.
    """
    return _BestEffort(doing, what)


class _BestEffort:
    """A class, since it stands round each change that a controller hears of: a generator's context takes longer."""

    __slots__ = ("_doing", "_what")

    def __init__(self, doing: str, what: str):
        self._doing, self._what = doing, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        _failures[self._doing] = _failures.get(self._doing, 0) + 1
        line = f"cannot {self._doing}{self._what and f' {self._what}'}: {reasons.in_a_line(error)}"
        times = _said.times(line)
        if is_worth_saying(times):
            log.warning("%s%s", line, f" ({times} times)" if times > 1 else "")
        return True


@dataclass(slots=True)
class Backoff:
    """Growing delays in seconds: first, then doubled up to `most`, with up to `jitter` of itself added."""

    first: float = 0.05
    most: float = 15.0
    jitter: float = 0.1
    failures: int = 0

    def next(self) -> float:
        delay = min(self.most, self.first * 2 ** min(self.failures, 30))
        self.failures += 1
        return delay * (1 + rng().random() * self.jitter)

    def reset(self) -> None:
        self.failures = 0


async def retrying(doing: str, attempt: Callable[[], Awaitable[T]], *errors: type[Exception]) -> T:
    """Try until it works, with growing delays; only the named errors are retried."""
    backoff = Backoff()
    while True:
        try:
            return await attempt()
        except errors as error:
            log.info("cannot %s yet: %s", doing, error)
            await asyncio.sleep(backoff.next())
