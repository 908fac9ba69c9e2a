"""What a reconciler may ask for: frozen steps that the runner carries out in order, stopping at the first that fails.

A step that writes may carry the event to record when it was done and the one when it failed ("{error}" in its message
becomes the reason). Steps that check (`StillThere`, `Gone`) read past the cache, for decisions that must not rest on an
old picture. `RequeueAfter` and `Fail` say when to look again; otherwise only a change brings the key back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from petset.objects import meta
from petset.objects.meta import Object
from petset.objects.registry import Kind


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Record an event about an object; type is Normal or Warning."""

    about: Object
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Create:
    """Make it; where it has only a generateName the runner gives the name, which "{name}" in the events becomes."""

    object: Object
    on_success: EmitEvent | None = None
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace it, provided it is still at the resourceVersion it carries."""

    object: Object
    on_success: EmitEvent | None = None
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Replace its status (or another subresource), provided it is still at the resourceVersion it carries."""

    object: Object
    subresource: str = "status"
    pace: bool = False  # It says only how many there are of what: when that changes often it is not written each time.


def report(obj: Object, status: Object, counts: Sequence[str] = ()) -> list[Action]:
    """Write the status when it says something else; paced when nothing else has changed in it than these counts."""
    said = meta.part(obj, "status")
    if status == said:
        return []
    only_counts = all(status.get(key) == said.get(key) for key in {**status, **said} if key not in counts)
    return [UpdateStatus({**obj, "status": status}, pace=only_counts)]


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge (or json, or strategic) patch; `object` only names it."""

    object: Object
    patch: Object | Sequence[Any]
    kind: str = "merge"
    subresource: str = ""
    on_success: EmitEvent | None = None
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly this object: its uid is a precondition."""

    object: Object
    grace_seconds: int | None = None
    propagation: str = ""
    at_revision: bool = False  # Only if it is unchanged, too.
    on_success: EmitEvent | None = None
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class StillThere:
    """Go on only if the server still has this object, the same uid and not being deleted."""

    object: Object


@dataclass(frozen=True, slots=True)
class Gone:
    """Go on only if the server has no object of this name with this uid ("": with any)."""

    resource: Kind
    namespace: str
    name: str
    uid: str = ""


@dataclass(frozen=True, slots=True)
class DeleteAll:
    """Delete all of a kind in a namespace, of which nothing need be known."""

    resource: Kind
    namespace: str


@dataclass(frozen=True, slots=True)
class Empty:
    """Go on only if the server has none of these in a namespace."""

    resource: Kind
    namespace: str


@dataclass(frozen=True, slots=True)
class NoneOwned:
    """Go on only if the server has none of these that name the owner with this uid."""

    resource: Kind
    namespace: str
    uid: str


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a volume's directory, for so many bytes; where fewer are free, `on_little_room` says so, with {room}."""

    path: str
    on_failure: EmitEvent | None = None
    wanted_bytes: int = 0
    on_little_room: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """Remove a volume's directory with all that is in it."""

    path: str
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class Resize:
    """Let a volume's directory hold so many bytes; fails when its disk cannot."""

    path: str
    wanted_bytes: int
    on_failure: EmitEvent | None = None


@dataclass(frozen=True, slots=True)
class RequeueAfter:
    """Look at the key again after these seconds, whatever happens."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Stop; the key is looked at again after its back-off."""

    why: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Do not look again sooner than in so many seconds: what was written is large, and changes gather meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """Steps; when one fails, and not for an old picture alone, `otherwise` says so, "{error}" in its status the reason.

    It may stand in the status's message and in those of its conditions. They have failed then all the same.
    """

    steps: tuple[Action, ...]
    otherwise: UpdateStatus


@dataclass(frozen=True, slots=True)
class Together:
    """Branches that do not need each other: each in its order, all side by side. The first failure begins no more."""

    branches: tuple[tuple[Action, ...], ...]


def together(branches: Iterable[Sequence[Action]]) -> list[Action]:
    """The steps of branches, some of which may be empty, or are themselves nothing but branches."""
    some = tuple(tuple(each) for branch in branches if branch for each in _branches(branch))
    return [Together(some)] if len(some) > 1 else [action for branch in some for action in branch]


def _branches(branch: Sequence[Action]) -> Sequence[Sequence[Action]]:
    return branch[0].branches if len(branch) == 1 and isinstance(branch[0], Together) else (branch,)


def flat(steps: Iterable[Action]) -> Iterator[Action]:
    """One after another, as somebody with one hand would do them."""
    for step in steps:
        if isinstance(step, Together):
            for branch in step.branches:
                yield from flat(branch)
        elif isinstance(step, Attempt):
            yield from flat(step.steps)
        else:
            yield step


Action = (
    Create
    | Update
    | UpdateStatus
    | Patch
    | Delete
    | StillThere
    | Gone
    | DeleteAll
    | Empty
    | NoneOwned
    | MakeDirectory
    | RemoveDirectory
    | Resize
    | EmitEvent
    | RequeueAfter
    | Rest
    | Fail
    | Attempt
    | Together
)
