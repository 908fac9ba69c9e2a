"""Who waits, in turn: the first of each user's line, one user after another, however much any of them has brought.

A user who has more to come goes behind everybody else; one who has nothing waiting is not in the round and holds no
place. Taking one costs the same with any number of users and of what they wait with, and so does leaving the line.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")  # Hashable; each waits once.


class RoundRobin(Generic[T]):
    def __init__(self) -> None:
        self._lines: dict[str, dict[T, None]] = {}  # By user, in the order of their next turns.

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._lines)

    def waiting_of(self, user: str) -> int:
        """How many a user has in his line."""
        return len(self._lines.get(user, ()))

    def add(self, user: str, waiting: T) -> None:
        self._lines.setdefault(user, {})[waiting] = None

    def take(self) -> T:
        """The next one, out of the round."""
        user, line = next(iter(self._lines.items()))
        del self._lines[user]
        taken = next(iter(line))
        del line[taken]
        if line:
            self._lines[user] = line  # Behind everybody else.
        return taken

    def drop(self, user: str, waiting: T) -> bool:
        """Let one go that waits no longer; False when he does not wait."""
        line = self._lines.get(user, {})
        if waiting not in line:
            return False
        del line[waiting]
        if not line:
            del self._lines[user]
        return True
