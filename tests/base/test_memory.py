"""What is told at rest, and caches that go then."""

from __future__ import annotations

import gc

from petset.base import memory


def test_answers_that_are_kept_go_at_rest():
    asked: list[int] = []

    @memory.cached(10)
    def double(number: int) -> int:
        asked.append(number)
        return 2 * number

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    memory.let_go()
    assert double(1) == 2
    assert asked == [1, 2, 1]


def test_a_method_is_told_as_long_as_its_object_lives():
    told: list[str] = []

    class Keeper:
        def __init__(self, name: str):
            self.name = name

        def rest(self) -> None:
            told.append(self.name)

    both = memory.Told()
    keepers = [Keeper("a"), Keeper("b")]
    for keeper in keepers:
        both.add(keeper.rest)
    del keeper
    both.tell()
    keepers.pop()
    gc.collect()
    both.tell()
    assert told == ["a", "b", "a"]
