"""Ids of pods with users of their own: nobody on the machine has the same, and none is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from petset.base import networks, user_ids
from petset.base.user_ids import COUNT, REGION, IdsError, Range


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What all instances share, and the files of subordinate ids."""
    monkeypatch.setattr(networks, "RESERVATIONS", tmp_path / "run")
    return tmp_path


def files(machine: Path, of_users: str = "", of_groups: str | None = None) -> tuple[Path, Path]:
    found = machine / "subuid", machine / "subgid"
    found[0].write_text(of_users)
    found[1].write_text(of_users if of_groups is None else of_groups)
    return found


def sandbox(machine: Path, name: str) -> Path:
    (machine / name).mkdir()
    return machine / name


def test_ranges_of_all_pods_are_apart_and_belong_to_nobody(machine: Path) -> None:
    found = [
        user_ids.take(sandbox(machine, f"{instance}-{number}"), files(machine))
        for instance in "ab"
        for number in range(50)
    ]
    assert len(dict.fromkeys(found)) == 100
    assert all(first % COUNT == 0 and REGION.first <= first < REGION.first + REGION.count for first in found)


def test_one_that_asks_again_has_the_same(machine: Path) -> None:
    place = sandbox(machine, "a")
    first = user_ids.take(place, files(machine))
    assert user_ids.take(place, files(machine)) == first
    user_ids.give_back(first, sandbox(machine, "b"))  # Not its own to give.
    assert user_ids.holder(first) == str(place)


def test_what_is_given_back_or_left_by_the_dead_is_anybodys(machine: Path) -> None:
    own = files(machine, f"kubelet:{COUNT}:{COUNT}\n")
    place = sandbox(machine, "a")
    assert user_ids.take(place, own) == COUNT
    other = sandbox(machine, "b")
    with pytest.raises(IdsError, match=f"all 1 ranges of 65536 ids from {COUNT} on are in use; give kubelet in"):
        user_ids.take(other, own)
    user_ids.give_back(COUNT, place)
    assert user_ids.take(other, own) == COUNT
    other.rmdir()
    assert user_ids.take(place, own) == COUNT


def test_what_is_found_in_use_is_reserved_again(machine: Path) -> None:
    own, place = files(machine, f"kubelet:{COUNT}:{COUNT}\n"), sandbox(machine, "a")
    user_ids.hold(COUNT, place)
    with pytest.raises(IdsError):
        user_ids.take(sandbox(machine, "b"), own)
    user_ids.hold(COUNT, machine / "b")  # It is another's.
    assert user_ids.holder(COUNT) == str(place)


def test_what_others_have_is_left_to_them() -> None:
    region = Range(4 * COUNT, 4 * COUNT)
    theirs = [Range(5 * COUNT + 1, 1), Range(7 * COUNT - 1, 2), Range(0, 4 * COUNT)]
    assert list(user_ids.candidates(region, theirs, 3)) == [4 * COUNT]
    assert list(user_ids.candidates(region, [], 6)) == [6 * COUNT, 7 * COUNT, 4 * COUNT, 5 * COUNT]


def test_the_ids_of_other_users_are_not_taken(machine: Path) -> None:
    free = REGION.first + 7 * COUNT
    text = f"ada:{REGION.first}:{7 * COUNT}\n# no line\nbob:{free + COUNT}:{REGION.count}\n"
    assert user_ids.take(sandbox(machine, "a"), files(machine, "", text)) == free


@pytest.mark.parametrize(
    ("of_users", "of_groups", "said"),
    [
        ("kubelet:65536:65536", "", "give kubelet different ids"),
        ("kubelet:65536:65536\nkubelet:262144:65536", None, "gives kubelet 2 ranges"),
        ("kubelet:100000:65536", None, "gives kubelet 65536 ids from 100000 on; give kubelet in /etc/subuid"),
        ("kubelet:65536:100000", None, "gives kubelet 100000 ids"),
        ("kubelet:0:65536", None, "not from 0"),
        ("kubelet:65536:0", None, "gives kubelet 0 ids"),
    ],
)
def test_what_a_kubelet_would_not_start_with_is_told(of_users: str, of_groups: str | None, said: str) -> None:
    with pytest.raises(IdsError, match=said):
        user_ids.region_of(of_users, of_users if of_groups is None else of_groups)


def test_a_machine_says_which_ids_there_are() -> None:
    assert user_ids.region_of("", "ada:100000:65536\nkubelet\nkubelet:x:1\n") == REGION
    given = "ada:100000:65536\nkubelet:131072:655360\n"
    assert user_ids.region_of(given, given) == Range(131072, 655360)
