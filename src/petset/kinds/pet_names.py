"""Who is who in a set: the names of its pets and of their claims; pure, for StatefulSet and PetSet alike.

A pet is `<set>-<ordinal>`, which its pod has as name and hostname, and its claims are `<template>-<set>-<ordinal>`. The
ordinals are `replicas` numbers in a row, from `spec.ordinals.start` on. All that a name says is read and written here.
Follows: "Pod Identity" and "Volume Claim Templates" in "StatefulSets" of the Kubernetes documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from petset.objects import meta
from petset.objects.meta import Object

_NAME = re.compile(r"(.+)-(0|[1-9][0-9]{0,9})")


def parsed(name: str) -> tuple[str, int]:
    """(set's name, ordinal) of a pet's name; ("", -1) for any other name.

    Of a claim's name the first is `<template>-<set>`.
    """
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", -1)


def parent(obj: Object) -> str:
    """The set's name, of a pod; `<template>-<set>` of a claim; "" where the name is no pet's."""
    return parsed(meta.name(obj))[0]


def ordinal(obj: Object) -> int:
    """Of a pod or a claim; -1 where the name is no pet's."""
    return parsed(meta.name(obj))[1]


# What a set says of them.


def first_ordinal(set_: Object) -> int:
    return meta.get(set_, "spec", "ordinals", "start", default=0)


def replicas_wanted(set_: Object) -> int:
    return meta.get(set_, "spec", "replicas", default=1)


def ordinals(set_: Object) -> range:
    """Of the pets that should be there."""
    return range(first_ordinal(set_), first_ordinal(set_) + replicas_wanted(set_))


def name(set_: Object, ordinal: int) -> str:
    return f"{meta.name(set_)}-{ordinal}"


def names(set_: Object) -> list[str]:
    """Of the pets that should be there."""
    return [name(set_, ordinal) for ordinal in ordinals(set_)]


def claim_templates(set_: Object) -> Sequence[Object]:
    return meta.parts(set_, "spec", "volumeClaimTemplates")


def claim_name(template: Object, pet: str) -> str:
    """Of the claim that a template makes for a pet; for a set's name, what all of its claims begin with."""
    return f"{meta.name(template)}-{pet}"


def claim_names(set_: Object, pet: str) -> list[str]:
    """Of all claims of a pet, in the order of their templates."""
    return [claim_name(template, pet) for template in claim_templates(set_)]


def template_of(set_: Object, claim: str) -> Object | None:
    """The template of a set that makes a claim of this name for one of its pets; None: it is no claim of the set's."""
    stem = parsed(claim)[0]
    return next((one for one in claim_templates(set_) if claim_name(one, meta.name(set_)) == stem), None)
