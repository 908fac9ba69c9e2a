"""Seats and queues of priority levels: who is let in, who waits, who is next, who is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petset.kinds.flowcontrol import every_cluster
from petset.objects.meta import Object
from petset.server.fairness import levels
from petset.server.fairness.levels import Levels, Limits, Terms
from tests.steps import counted


def level(
    shares: int, lends: int = 0, borrows: int | None = None, queues: int = 0, hand: int = 1, length: int = 50
) -> Object:
    queuing = {"queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": length}} if queues else {}
    limited: dict[str, Any] = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": lends,
        "limitResponse": {"type": "Queue" if queues else "Reject", **queuing},
    }
    if borrows is not None:
        limited["borrowingLimitPercent"] = borrows
    return {"metadata": {"uid": "u"}, "spec": {"type": "Limited", "limited": limited}}


def of(seats: int, **given: Object) -> Levels[str]:
    found = Levels[str](seats)
    nothing = level(0, borrows=0)
    for name, obj in ({"catch-all": nothing} | given).items():
        found.put(name, obj)
    return found


def take(found: Levels[str], name: str, count: int) -> int:
    """How many of so many get a seat."""
    return sum(found.take(found.named(name)) for _ in range(count))


def test_the_limits_of_a_new_cluster() -> None:
    terms = {
        name: levels.terms_of(obj) for (plural, name), obj in every_cluster.OBJECTS.items() if plural != "flowschemas"
    }
    found = {name: (one.nominal, one.lower) for name, one in levels.limits(terms, 600).items()}
    assert found == {
        "exempt": (0, 0),
        "catch-all": (13, 13),
        "system": (74, 50),
        "node-high": (98, 73),
        "leader-election": (25, 25),
        "workload-high": (98, 49),
        "workload-low": (245, 24),
        "global-default": (49, 24),
    }


@pytest.mark.parametrize(
    ("terms", "limits"),
    [
        (Terms(shares=50), Limits(50, 50, 100)),
        (Terms(shares=50, lendable_percent=100), Limits(50, 0, 100)),
        (Terms(shares=50, lendable_percent=33), Limits(50, 33, 100)),
        (Terms(shares=50, borrowing_percent=0), Limits(50, 50, 50)),
        (Terms(shares=50, borrowing_percent=50), Limits(50, 50, 75)),
        (Terms(shares=50, borrowing_percent=900), Limits(50, 50, 100)),
        (Terms(shares=0), Limits(0, 0, 100)),
    ],
)
def test_limits(terms: Terms, limits: Limits) -> None:
    assert levels.limits({"a": terms, "b": Terms(shares=100 - terms.shares)}, 100)["a"] == limits


def test_a_level_that_rejects() -> None:
    found = of(10, a=level(5), b=level(5))
    assert take(found, "a", 10) == 5
    assert found.wait(found.named("a"), "s", "jane", "w") is None
    assert found.leave(found.named("a")) == []
    assert take(found, "a", 10) == 1


def test_a_level_borrows_what_others_lend_and_never_what_they_keep() -> None:
    found = of(10, a=level(5), b=level(5, lends=60))
    assert take(found, "a", 20) == 8
    assert take(found, "b", 20) == 2  # What it kept for itself, at once.
    found.leave(found.named("a"))
    assert take(found, "b", 20) == 1


def test_a_level_borrows_no_more_than_it_may() -> None:
    found = of(10, a=level(4, borrows=50), b=level(6, lends=100))
    assert take(found, "a", 20) == 6


def test_everybody_of_an_exempt_level_has_a_seat() -> None:
    found = of(10, a=level(10))
    assert take(found, "a", 20) == 10
    assert take(found, "exempt", 1000) == 1000
    for _ in range(1000):
        assert found.leave(found.named("exempt")) == []
    assert take(found, "a", 1) == 0


def test_a_level_of_no_shares_carries_out_nothing() -> None:
    found = of(10, a=level(0, borrows=0, queues=1), b=level(10, lends=100))
    assert take(found, "a", 1) == 0
    assert found.wait(found.named("a"), "s", "jane", "w") == "0"
    found.put("a", level(0, queues=1))
    assert found.named("a").executing == 1, "it may borrow now"


def test_flows_wait_in_turn() -> None:
    found = of(1, a=level(1, queues=1000, hand=1))
    one = found.named("a")
    assert found.take(one)
    for who in ("j1", "j2", "j3", "b1", "e1", "b2"):
        found.wait(one, "s", who[0], who)
    assert not found.take(one), "who comes goes behind those that wait"
    called = list(itertools.chain.from_iterable(found.leave(one) for _ in range(6)))
    assert called == ["j1", "b1", "e1", "j2", "b2", "j3"]


def test_a_flow_that_fills_its_queues_leaves_room_for_others() -> None:
    found = of(1, a=level(1, queues=64, hand=6, length=10))
    one = found.named("a")
    found.take(one)
    many = [found.wait(one, "s", "elephant", f"e{at}") for at in range(100)]
    assert many.count(None) == 100 - 6 * 10
    assert found.wait(one, "s", "mouse", "m") is not None
    turns = [found.leave(one) for _ in range(7)]
    assert ["m"] in turns


def test_a_level_below_its_share_is_before_one_that_borrows() -> None:
    found = of(4, a=level(2, lends=100, queues=1), b=level(2, lends=100, queues=1))
    assert take(found, "a", 4) == 4
    found.wait(found.named("a"), "s", "", "a5")
    found.wait(found.named("b"), "s", "", "b1")
    found.wait(found.named("b"), "s", "", "b2")
    assert [found.leave(found.named("a")) for _ in range(3)] == [["b1"], ["b2"], ["a5"]]


def test_who_gives_up_holds_no_place() -> None:
    found = of(1, a=level(1, queues=1, length=1))
    one = found.named("a")
    found.take(one)
    queue = found.wait(one, "s", "", "first")
    assert queue is not None and found.wait(one, "s", "", "second") is None
    assert found.give_up(one, queue, "first") and not found.give_up(one, queue, "first")
    assert found.wait(one, "s", "", "third") == queue
    assert found.leave(one) == ["third"]
    assert not found.give_up(one, queue, "third")
    assert (one.waiting_count, one.executing) == (0, 1)


def test_a_level_that_is_gone_is_emptied() -> None:
    found = of(2, a=level(1, queues=1), b=level(1))
    one = found.named("a")
    found.take(one)
    found.wait(one, "s", "", "w")
    called = found.put("a", None)
    assert "a" not in found and not called
    assert take(found, "b", 5) == 2
    assert found.leave(one) == ["w"]
    assert found.put("a", level(1, queues=1)) == [] and found.named("a") is not one


def test_a_hand() -> None:
    assert list(levels.hand(0, 8, 3)) == [0, 1, 2]
    assert {tuple(levels.hand(number, 4, 2)) for number in range(12)} == set(itertools.permutations(range(4), 2))
    assert levels.flow_hash("a", "bc") != levels.flow_hash("ab", "c")


@given(st.integers(0, 2**64 - 1), st.integers(1, 500), st.data())
def test_a_hand_has_different_queues(number: int, queues: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(queues, 10)))
    dealt = levels.hand(number, queues, size)
    assert len(set(dealt)) == size and all(0 <= queue < queues for queue in dealt)


CONFIGS = st.builds(
    level,
    st.integers(0, 5),
    st.sampled_from((0, 33, 100)),
    st.sampled_from((None, 0, 50)),
    st.sampled_from((0, 1, 4)),
    st.just(1),
    st.integers(1, 3),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.sampled_from("abc"), st.sampled_from("xyz")),
        st.tuples(st.just("leave"), st.integers(0, 50)),
        st.tuples(st.just("give up"), st.integers(0, 50)),
        st.tuples(st.just("put"), st.sampled_from("abc"), CONFIGS),
        st.tuples(st.just("drop"), st.sampled_from("abc")),
    ),
    max_size=60,
)


@given(STEPS)
def test_laws(steps: list[Any]) -> None:
    """Seats are never more than there are, nobody is lost, and a level below what it keeps never waits."""
    found = of(7, a=level(2, lends=50, queues=4), b=level(3, queues=1), c=level(1))
    seated: dict[str, levels.Level[str]] = {}
    waiting: dict[str, tuple[levels.Level[str], str]] = {}
    fits = True  # Whether those that have a seat had it under the limits of now.

    def call(names: list[str]) -> None:
        for name in names:
            seated[name] = waiting.pop(name)[0]

    for at, step in enumerate(steps):
        match step:
            case ["come", name, flow] if name in found:
                one = found.named(name)
                if found.take(one):
                    seated[f"{at}"] = one
                elif (queue := found.wait(one, "s", flow, f"{at}")) is not None:
                    waiting[f"{at}"] = one, queue
            case ["leave", index] if seated:
                name = list(seated)[index % len(seated)]
                call(found.leave(seated.pop(name)))
            case ["give up", index] if waiting:
                name = list(waiting)[index % len(waiting)]
                one, queue = waiting.pop(name)
                assert found.give_up(one, queue, name)
            case ["put", name, config]:
                call(found.put(name, config))
                fits = False
            case ["drop", name]:
                call(found.put(name, None))
                fits = False
        if fits:
            assert len(seated) <= 7 + 2, "shares are rounded up"
        for one in found:
            assert one.executing == sum(level is one for level in seated.values())
            assert one.waiting_count == sum(level is one for level, _ in waiting.values())
            assert not (one.waiting_count and one.executing < one.own), one.name
    while seated:
        call(found.leave(seated.pop(next(iter(seated)))))
    stuck = [one for one, _ in waiting.values() if one.limits.nominal > 0 or one not in list(found)]
    assert not stuck, "when all have left, nobody that may have a seat waits"


def test_a_seat_takes_few_steps_however_many_levels_there_are() -> None:
    def steps(count: int) -> int:
        found = of(600, **{f"l{at}": level(1, lends=50, queues=8) for at in range(count)})
        one = found.named("l0")
        with counted() as counting:
            assert found.take(one)
            found.leave(one)
        return counting.count

    assert steps(200) == steps(2) <= 12
