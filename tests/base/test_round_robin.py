"""Whoever brings much holds up others by one of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from petset.base.round_robin import RoundRobin


def drained(waiting: RoundRobin[str]) -> list[str]:
    taken: list[str] = []
    while waiting:
        taken.append(waiting.take())
    return taken


def test_one_of_each_in_turn_and_each_in_their_order():
    waiting = RoundRobin[str]()
    for name in ("j1", "j2", "j3", "b1", "e1", "b2"):
        waiting.add(name[0], name)
    assert drained(waiting) == ["j1", "b1", "e1", "j2", "b2", "j3"]


def test_who_comes_anew_goes_behind_everybody():
    waiting = RoundRobin[str]()
    waiting.add("j", "j1")
    waiting.add("b", "b1")
    assert waiting.take() == "j1"
    waiting.add("j", "j2")
    assert drained(waiting) == ["b1", "j2"]


@given(st.lists(st.sampled_from("abc")))
def test_nothing_is_lost_and_nobody_waits_for_two_of_another(users):
    waiting = RoundRobin[tuple[str, int]]()
    for at, user in enumerate(users):
        waiting.add(user, (user, at))
    taken = []
    while waiting:
        taken.append(waiting.take())
    for user in "abc":
        assert [one for one in taken if one[0] == user] == [(user, at) for at, one in enumerate(users) if one == user]
    for at, (user, _) in enumerate(taken[1:], 1):
        if taken[at - 1][0] == user:
            assert all(other == user for other, _ in taken[at:]), "twice in a row only when nobody else waits"
