"""A virtual-time event loop with a seed: the clock jumps to the next timer, what is ready runs in an order of chance.

The real code runs on it unchanged. What asyncio promises stays: the callbacks of one owner (a bound method's object)
keep their order, timers never run early. What it does not promise is shuffled: which of several ready tasks goes
first. Everything asyncio keeps in sets (a TaskGroup's children, `asyncio.wait`) would be iterated in the order of
memory addresses, so tasks and futures hash by their serial number here and one seed gives one run, in any process.

A loop that turns too often without the clock moving is a busy loop, one that turns too often in all is somebody who
tries again without a pause, and one where every task waits and no timer is set is a deadlock: all are failures of the
world, told as such.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Any

TURNS_WITHOUT_TIME_MAX = 20_000
TURNS_MAX = 1_000_000  # A hundred times what the busiest of three hundred worlds takes.


class Stuck(AssertionError):
    """The code under test waits for ever, or spins without waiting."""


class Done(Exception):
    """Raised to end a group of tasks when the story is over."""


class SerialTask(asyncio.Task[Any]):
    """A task that hashes by its number, so that sets of tasks have one order in every process."""

    serial: int

    def __init__(self, *args: Any, loop: VirtualLoop, **options: Any):
        self.serial = next(loop.serials)  # Before the base class puts it into sets.
        super().__init__(*args, loop=loop, **options)

    def __hash__(self) -> int:
        return self.serial


class SerialFuture(asyncio.Future[Any]):
    """A future that hashes by its number."""

    serial: int

    def __init__(self, *, loop: VirtualLoop):
        self.serial = next(loop.serials)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.serial


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop whose clock is its own and whose order is its seed's."""

    def __init__(self, seed: int):
        super().__init__()
        self.now = 0.0
        self.serials = itertools.count(1)
        self._selector = self
        self.begin(seed)
        self.set_task_factory(self._make_task)

    def begin(self, seed: int) -> None:
        """Order by this seed from now on, whatever has run on the loop before."""
        self.turns_without_time = self.turns = 0
        self._chance = random.Random(f"{seed} order")

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return SerialFuture(loop=self)

    def _make_task(self, loop: Any, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        return SerialTask(coroutine, loop=self, **options)

    # What BaseEventLoop asks its selector and its subclass.

    def select(self, timeout: float | None) -> list[Any]:
        """Nothing ever comes from outside: instead of waiting, jump."""
        if timeout is None:
            waiting = ", ".join(sorted(task.get_name() for task in asyncio.all_tasks(self)))
            raise Stuck(f"every task waits and no timer is set: {waiting}")
        if self.turns > TURNS_MAX:
            self.turns = 0  # What is cancelled after this may still clean up.
            raise Stuck(f"{TURNS_MAX} turns until {self.now:.3f} s: something tries again without a pause")
        if timeout > 0:
            self.now += timeout
            self.turns_without_time = 0
        else:
            self.turns_without_time += 1
            if self.turns_without_time > TURNS_WITHOUT_TIME_MAX:
                self.turns_without_time = 0
                raise Stuck(f"something spins at {self.now:.3f} s without waiting, one of: {self._running()}")
        return []

    def _running(self) -> str:
        found = (task for task in asyncio.all_tasks(self) if task._fut_waiter is None)  # type: ignore[attr-defined]  # CPython's.
        running = sorted(found, key=hash)
        return "; ".join(f"{task.get_name()} at {task.get_stack(limit=1)}" for task in running)[:2000]

    def _process_events(self, events: list[Any]) -> None:
        # Called once a turn, after what is ready was collected but for the timers that are due.
        self.turns += 1
        if len(self._ready) > 1:
            self._ready = shuffled(self._ready, self._chance)

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Threads run inline, so that they too are a matter of the seed."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def shuffled(ready: deque[asyncio.Handle], chance: random.Random) -> deque[asyncio.Handle]:
    """The handles in an order of chance in which those of one owner keep theirs."""
    order: list[int] = []
    of_owner: dict[int, deque[asyncio.Handle]] = {}
    for handle in ready:
        callback = getattr(handle, "_callback", None)
        owner = id(getattr(callback, "__self__", None) or callback)
        order.append(owner)
        of_owner.setdefault(owner, deque()).append(handle)
    chance.shuffle(order)
    return deque(of_owner[owner].popleft() for owner in order)


def run(main: Callable[[VirtualLoop], Any], seed: int) -> Any:
    """The result of `main(loop)`'s coroutine on a fresh loop; what it left running is cancelled and awaited."""
    loop = VirtualLoop(seed)
    context = contextvars.copy_context()
    try:
        task = context.run(loop.create_task, main(loop))
        return loop.run_until_complete(task)
    finally:
        close(loop)


def close(loop: VirtualLoop) -> None:
    """What still runs on it is cancelled and awaited."""
    left = sorted(asyncio.all_tasks(loop), key=hash)
    for each in left:
        each.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
