"""Who waits, in turn: the first of each user's line, one user after another, however much any of them has brought.

A user who has more to come goes behind everybody else; one who has nothing waiting is not in the round and holds no
place. Taking one costs the same with any number of users and of what they wait with.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class RoundRobin(Generic[T]):
    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}  # By user, in the order of their next turns.

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._lines)

    def add(self, user: str, waiting: T) -> None:
        self._lines.setdefault(user, deque()).append(waiting)

    def take(self) -> T:
        """The next one, out of the round."""
        user, line = next(iter(self._lines.items()))
        del self._lines[user]
        taken = line.popleft()
        if line:
            self._lines[user] = line  # Behind everybody else.
        return taken
