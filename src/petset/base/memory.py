"""Memory that was freed goes back to the machine only when somebody says so.

The C library keeps what is freed between two things that stay, and the interpreter keeps cycles until it next looks
at everything. After much work both are worth a few milliseconds, in a thread; an idle process never comes here.
Python gives back a MiB when none of the small objects in it is alive. So at rest whoever keeps what can be made again
lets go of it (`at_rest`); then memory is given back; then what stays but was made at many moments, such as who waits
for changes, is made anew (`after_rest`), which now finds its place in few of those MiBs.
"""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
Answer = TypeVar("Answer")

Method = Callable[[], None]

_caches: list[Method] = []


class Told:
    """Methods that are told of something as long as their objects live."""

    def __init__(self) -> None:
        self._methods: list[weakref.WeakMethod[Method]] = []
        self._looked_at = 0  # How many there were when those whose objects are gone went.

    def add(self, method: Method) -> None:
        if len(self._methods) >= 2 * self._looked_at:
            self._methods = [known for known in self._methods if known() is not None]
            self._looked_at = len(self._methods)
        self._methods.append(weakref.WeakMethod(method))

    def tell(self) -> None:
        for known in self._methods:
            if (method := known()) is not None:
                method()


at_rest = Told()  # It is quiet after much work: let go of what can be made again.
after_rest = Told()  # All that could go has gone: make anew what stays and dates from many moments.


def cached(answers_max: int) -> Callable[[Callable[P, Answer]], Callable[P, Answer]]:
    """functools.lru_cache, whose answers go at rest: thousands of small ones may each keep a MiB."""

    def decorate(function: Callable[P, Answer]) -> Callable[P, Answer]:
        kept: Any = functools.lru_cache(answers_max)(function)
        _caches.append(kept.cache_clear)
        return kept

    return decorate


def let_go() -> None:
    """On the loop."""
    for clear in _caches:
        clear()
    at_rest.tell()


def give_back() -> None:
    """Collect cycles and return free pages; with another C library than glibc, only the former."""
    import ctypes  # Not at the start: it takes longer to import than to use.

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
