"""A thousand schedules of each kind break nothing; a seed is one run; and what is spoilt on purpose is found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from petset.controllers import actions
from petset.controllers.pets import family as families
from petset.controllers.pets import pets, petset, updating
from petset.kinds.persistent_volume_claim import PERSISTENTVOLUMECLAIMS
from petset.objects import meta
from petset.store import core, feed
from petset.store.store import Conflict
from tests.worlds.schedules import explore, sets, stores

COUNT = 1000
TRIED_MAX = 3000  # Schedules in which a planted fault must show itself.


def test_a_thousand_of_each_break_nothing():
    figures = explore.run(2 * COUNT, 0)
    assert figures.wrong[:1] == []
    assert figures.schedules == 2 * COUNT
    assert figures.different > 1.7 * COUNT  # Some sets have so little to do that two schedules are the same.


@pytest.mark.parametrize("name", list(explore.RUNNERS))
def test_a_seed_is_one_run(name: str):
    first, second = explore.RUNNERS[name](), explore.RUNNERS[name]()
    for seed in range(20):
        second.run(seed + 100)  # What ran before makes no difference.
        assert first.run(seed) == second.run(seed)


# -- planted faults -----------------------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def no_pet_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(families.Family, "is_healthy", lambda self, pod: True)


def surplus_goes_from_the_lowest(patch: pytest.MonkeyPatch) -> None:
    made = families.Family.__init__

    def reversed_(self: families.Family, *given: Any) -> None:
        made(self, *given)
        self.condemned.reverse()

    patch.setattr(families.Family, "__init__", reversed_)


def the_failed_are_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pets.Pet, "has_ended", False)


def claims_come_after_their_pods(patch: pytest.MonkeyPatch) -> None:
    made = petset.create_pet
    patch.setattr(petset, "create_pet", lambda family, i: made(family, i)[::-1])


def claims_go_with_their_pods(patch: pytest.MonkeyPatch) -> None:
    made = updating.remove_pet

    def removing(family: families.Family, pod: Any) -> actions.Action:
        claims = [claim for claim in family.view.list(CLAIMS) if meta.name(claim).endswith(meta.name(pod))]
        return actions.Delete(claims[0]) if claims else made(family, pod)

    patch.setattr(updating, "remove_pet", removing)


CLAIMS = PERSISTENTVOLUMECLAIMS


def orphans_are_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(petset.meta, "owner_reference", lambda *given, **more: {"uid": "nobody", "controller": True})


def the_status_is_never_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(petset, "report", lambda family: [])


@pytest.mark.parametrize(
    "plant",
    [
        no_pet_is_waited_for,
        surplus_goes_from_the_lowest,
        the_failed_are_left,
        claims_come_after_their_pods,
        claims_go_with_their_pods,
        orphans_are_left,
        the_status_is_never_told,
    ],
)
def test_a_fault_planted_in_the_controller_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    is_found_by(sets.Runner())


def refusals_precede_their_reason(patch: pytest.MonkeyPatch) -> None:
    def judge(self: core.Core, key: str, expected: int | None) -> Any:
        pending = self._pending.get(key)
        newest = self._index.get(key)
        if pending is not None:
            newest = None if pending.deleted else pending.entry
        if expected is not None and expected != (newest.revision if newest else 0):
            raise Conflict(key, expected, 0)
        return newest

    patch.setattr(core.Core, "_judge", judge)


def writes_are_seen_before_their_commit(patch: pytest.MonkeyPatch) -> None:
    flush = core.Core._flush

    def early(self: core.Core) -> None:
        for write in self._waiting:
            self._index.set(write.entry) if not write.deleted else None
        flush(self)

    patch.setattr(core.Core, "_flush", early)


def acknowledged_at_once(patch: pytest.MonkeyPatch, *, only_deletions: bool) -> None:
    accept = core.Core._accept

    def hasty(self: core.Core, entry: Any, previous: Any, deleted: bool) -> Any:
        done = accept(self, entry, previous, deleted)
        if only_deletions and not deleted:
            return done
        done.add_done_callback(lambda done: done.cancelled() or done.exception())
        answer = self.loop.create_future()  # type: ignore[attr-defined]
        answer.set_result(entry)
        return answer

    patch.setattr(core.Core, "_accept", hasty)


def answers_precede_the_commit(patch: pytest.MonkeyPatch) -> None:
    acknowledged_at_once(patch, only_deletions=False)


def writes_are_judged_by_what_is_committed(patch: pytest.MonkeyPatch) -> None:
    def judge(self: core.Core, key: str, expected: int | None) -> Any:
        newest = self._index.get(key)
        if expected is not None and expected != (newest.revision if newest else 0):
            raise Conflict(key, expected, 0)
        return newest

    patch.setattr(core.Core, "_judge", judge)


def a_failed_commit_spoils_only_its_own(patch: pytest.MonkeyPatch) -> None:
    """Writes that were judged against it go on, with the revisions they had."""
    committed = core.Core._committed

    def lenient(self: core.Core, commit: asyncio.Future[None]) -> None:
        if commit.cancelled() or commit.exception() is None or not self._waiting:
            committed(self, commit)
            return
        waiting, self._waiting = self._waiting, []
        committed(self, commit)
        self._waiting, self._accepted_revision = waiting, waiting[-1].entry.revision
        self._flush_soon(self.loop)  # type: ignore[attr-defined]

    patch.setattr(core.Core, "_committed", lenient)


def a_watch_forgets_the_past(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core.History, "after", lambda self, since, newest: ())


def a_full_watch_drops_events(patch: pytest.MonkeyPatch) -> None:
    def offer(self: feed.Watch, change: Any) -> bool:
        if len(self._changes) < 2:
            self._changes.append(change)
            self._held.take(change)
        return True

    patch.setattr(feed.Watch, "offer", offer)


def deletions_are_acknowledged_at_once(patch: pytest.MonkeyPatch) -> None:
    acknowledged_at_once(patch, only_deletions=True)


@pytest.mark.parametrize(
    "plant",
    [
        refusals_precede_their_reason,
        writes_are_seen_before_their_commit,
        answers_precede_the_commit,
        writes_are_judged_by_what_is_committed,
        a_failed_commit_spoils_only_its_own,
        a_watch_forgets_the_past,
        a_full_watch_drops_events,
        deletions_are_acknowledged_at_once,
    ],
)
def test_a_fault_planted_in_the_store_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch):
    plant(monkeypatch)
    is_found_by(stores.Runner())


def is_found_by(runner: explore.Runner) -> None:
    for seed in range(TRIED_MAX):
        try:
            runner.run(seed)
        except (AssertionError, KeyError):  # Or it trips over its own feet.
            return
    pytest.fail(f"{TRIED_MAX} schedules did not find it")
