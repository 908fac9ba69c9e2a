"""Whose an object is: owners take over orphans that they select, and let go of what they select no longer.

An object has one controller at most, named with its uid. An orphan is taken over only after the server has said that
the owner is still there under the uid the cache has. What is read here is indexed: an orphan finds those that may
select it, an owner the orphans that it may select, however many others there are.
Follows: "Garbage Collection" and the API's OwnerReference.
"""

from __future__ import annotations

from collections.abc import Iterable

from petset.client.views import View, orphan_marks, selecting_marks
from petset.controllers import actions
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.objects.registry import Kind

OWNERS = ("metadata", "ownerReferences")


def released(owner: Object, strangers: Iterable[Object]) -> list[actions.Action]:
    """Steps after which the owner controls none of these; anybody may take them then."""
    steps: list[actions.Action] = []
    for obj in strangers:
        others = [one for one in meta.parts(obj, *OWNERS) if one.get("uid") != meta.uid(owner)]
        steps.append(actions.Update(meta.changed(obj, OWNERS, others)))
    return steps


def adopted(owner: Object, orphans: Iterable[Object]) -> list[actions.Action]:
    """Steps after which the owner controls these, none of which is being deleted."""
    steps: list[actions.Action] = []
    for obj in orphans:
        owned = [*meta.parts(obj, *OWNERS), meta.owner_reference(owner)]
        steps.append(actions.Update(meta.changed(obj, OWNERS, owned)))
    # An owner that was deleted meanwhile (or made anew) must not adopt: the server is asked, not the cache.
    return [actions.StillThere(owner), *steps] if steps else []


def orphans(view: View, kind: Kind, owner: Object, selector: selectors.Selector) -> list[Object]:
    """What of a kind nobody controls and the owner selects."""
    found: dict[str, Object] = {}
    for mark in selecting_marks(owner):
        for obj in view.by_index(kind, "orphan", mark):
            if selector.matches(meta.labels(obj)) and not meta.is_deleting(obj):
                found[meta.key(obj)] = obj
    return list(found.values())


def claimed(
    view: View, kind: Kind, owner: Object, selector: selectors.Selector, strangers: Iterable[Object]
) -> list[actions.Action]:
    """Steps that let go of strangers and take over what of a kind nobody controls; [] where there is neither."""
    return [*released(owner, strangers), *adopted(owner, orphans(view, kind, owner, selector))]


def keys_of(kind: Kind, obj: Object, view: View) -> Iterable[str]:
    """The owner of the kind that controls the object; of an orphan, those that may select it."""
    if meta.controller_of(obj) is not None:
        yield from keys_of_controller(kind, obj, view)
        return
    for mark in orphan_marks(obj):
        for owner in view.by_index(kind, "selects", mark):
            yield meta.key(owner)


def keys_of_controller(kind: Kind, obj: Object, view: View) -> Iterable[str]:
    """The owner of the kind that controls the object."""
    controller = meta.controller_of(obj)
    if controller is not None and is_of(kind, controller):
        yield f"{meta.namespace(obj)}/{controller['name']}"


def is_of(kind: Kind, reference: Object) -> bool:
    """Whether a reference to an owner is one to an object of the kind."""
    return (reference.get("kind"), reference.get("apiVersion")) == (kind.kind, kind.api_version)
