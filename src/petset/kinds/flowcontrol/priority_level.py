"""PriorityLevelConfiguration: how much of the server some requests have, and what becomes of more of them.

Of group flowcontrol.apiserver.k8s.io/v1. A level is Exempt, which only `exempt` is, or Limited to its share of seats;
requests beyond are rejected, or wait in queues among which flows are dealt by shuffle sharding: each flow has a hand
of so many of them, which takes that many bits of a hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from petset.kinds.flowcontrol.flow_schema import CATCH_ALL, EXEMPT, GROUP, conditions, fixed
from petset.objects import filling, meta, tables
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill, fill_empty
from petset.objects.meta import Object
from petset.objects.registry import STATUS, Kind
from petset.objects.validation import Errors, listed, one_of

SHARES_DEFAULT = 30
QUEUING_DEFAULTS: Mapping[str, int] = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
QUEUES_MAX = 10_000_000
HASH_BITS_MAX = 60
FIXED: Mapping[str, Object] = {  # Of `exempt` the shares and what it lends are the administrator's.
    EXEMPT: {"type": "Exempt"},
    CATCH_ALL: {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    },
}


def defaults(obj: Object) -> Object:
    def response(given: Object) -> Object:
        return at(given, "queuing", lambda queuing: fill_empty(queuing, QUEUING_DEFAULTS))

    def limited(given: Object) -> Object:
        given = fill(given, {"nominalConcurrencyShares": SHARES_DEFAULT, "lendablePercent": 0})
        return at(given, "limitResponse", response)

    def spec(given: Object) -> Object:
        if meta.name(obj) == EXEMPT:
            given = fill(given, {"exempt": {}})
        given = at(given, "exempt", lambda exempt: fill(exempt, {"nominalConcurrencyShares": 0, "lendablePercent": 0}))
        return at(given, "limited", limited)

    return at(obj, "spec", spec)


@listed
def validate(obj: Object) -> Errors:
    name, spec = meta.name(obj), meta.part(obj, "spec")
    type_, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if (name == EXEMPT) != (type_ == "Exempt"):
        yield FieldError.invalid("spec.type", type_, "type must be 'Exempt' if and only if name is 'exempt'")
    if type_ == "Exempt":
        if limited is not None:
            yield FieldError.forbidden("spec.limited", "must be nil if the type is not Limited")
        if exempt is None:
            yield FieldError.required("spec.exempt", "must not be empty when type is Exempt")
        else:
            yield from _shares(exempt, "spec.exempt")
    elif type_ == "Limited":
        if exempt is not None:
            yield FieldError.forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            yield FieldError.required("spec.limited", "must not be empty when type is Limited")
        else:
            yield from _limited(limited, "spec.limited")
    else:
        yield from one_of(type_, "spec.type", ("Exempt", "Limited"))
    yield from fixed(meta.without(obj, ("spec", "exempt")) if name == EXEMPT and exempt is not None else obj, FIXED)
    yield from conditions(obj)


def _limited(limited: Object, path: str) -> Errors:
    yield from _shares(limited, path)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        why = "if specified, must be a non-negative integer"
        yield FieldError.invalid(f"{path}.borrowingLimitPercent", borrowing, why)
    response, where = meta.part(limited, "limitResponse"), f"{path}.limitResponse"
    type_, queuing = response.get("type") or "", response.get("queuing")
    if type_ == "Reject" and queuing is not None:
        yield FieldError.forbidden(f"{where}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif type_ == "Queue" and queuing is None:
        yield FieldError.required(f"{where}.queuing", "must not be empty if limited.limitResponse.type is Limited")
    elif type_ == "Queue":
        yield from _queuing(meta.part(response, "queuing"), f"{where}.queuing")
    else:
        yield from one_of(type_, f"{where}.type", ("Queue", "Reject"))


def _shares(level: Object, path: str) -> Errors:
    shares, lendable = level.get("nominalConcurrencyShares", 0), level.get("lendablePercent", 0)
    if shares < 0:
        yield FieldError.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if not 0 <= lendable <= 100:
        yield FieldError.invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _queuing(queuing: Object, path: str) -> Errors:
    length, queues, hand = (queuing.get(field, 0) for field in ("queueLengthLimit", "queues", "handSize"))
    for field, value in (("queueLengthLimit", length), ("queues", queues), ("handSize", hand)):
        if value <= 0:
            yield FieldError.invalid(f"{path}.{field}", value, "must be positive")
    if queues > QUEUES_MAX:
        yield FieldError.invalid(f"{path}.queues", queues, f"must not be greater than {QUEUES_MAX}")
    if hand > queues:
        yield FieldError.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif hand > 0 and not _is_dealt(queues, hand):
        what = f"required entropy bits of deckSize {queues} and handSize {hand}"
        yield FieldError.invalid(f"{path}.handSize", hand, f"{what} should not be greater than {HASH_BITS_MAX}")


def _is_dealt(queues: int, hand: int) -> bool:
    """Whether a hash has bits enough for every hand; a few factors tell, however large the hand is."""
    bits = 0.0
    for dealt in range(hand):
        bits += math.log2(queues - dealt)
        if math.ceil(bits) > HASH_BITS_MAX:
            return False
    return True


def cells(obj: Object, now: float) -> list[Any]:
    spec = meta.part(obj, "spec")
    level = meta.part(spec, "limited") or meta.part(spec, "exempt")
    queuing = meta.part(spec, "limited", "limitResponse", "queuing")
    return [
        tables.name(obj),
        spec.get("type", ""),
        level.get("nominalConcurrencyShares", "<none>"),
        *(queuing.get(field, "<none>") for field in ("queues", "handSize", "queueLengthLimit")),
        tables.age(obj, now),
    ]


PRIORITYLEVELCONFIGURATIONS = Kind(
    GROUP,
    "v1",
    "prioritylevelconfigurations",
    "PriorityLevelConfiguration",
    False,
    subresources=STATUS,
    has_generation=True,
    default=defaults,
    prepare=filling.status_of_new({}),
    validate=validate,
    printer=tables.Printer(
        tables.columns("Name, Type, NominalConcurrencyShares, Queues, HandSize, QueueLengthLimit, Age"), cells
    ),
)

KINDS = (PRIORITYLEVELCONFIGURATIONS,)
