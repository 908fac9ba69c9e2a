"""Label and field selectors: parsed once, matched often.

A label selector comes as text (`app=web,tier in (a,b),!canary`), as a LabelSelector object (matchLabels and
matchExpressions) or as a plain map (a Service's); all become a `Selector` of requirements that must all hold. As
upstream, `!=` and `notin` also match objects without the key. A field selector names fields by path; which ones
exist the kind says, metadata.name and metadata.namespace for every kind; an unknown field is a 400 worded as
kubectl's users know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from petset.objects import errors, meta
from petset.objects.meta import Json, Object

SELECTOR_CHARACTERS_MAX = 16 * 1024
REQUIREMENTS_MAX = 100  # Each object of a list, and each change that a watch sees, is held against all of them.
VALUES_MAX = 1_000
_KEY = re.compile(
    r"^(?:(?=.{1,253}/)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"
)
_VALUE = re.compile(r"^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist, Gt, Lt
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case _:
                return self._compares(value or "")

    def _compares(self, value: str) -> bool:
        try:
            number, limit = int(value), int(self.values[0])
        except ValueError:
            return False
        return number > limit if self.operator == "Gt" else number < limit

    def __str__(self) -> str:
        match self.operator:
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"
            case "Gt" | "Lt":
                return f"{self.key}{'>' if self.operator == 'Gt' else '<'}{self.values[0]}"
            case _ if len(self.values) == 1:
                return f"{self.key}{'=' if self.operator == 'In' else '!='}{self.values[0]}"
            case _:
                return f"{self.key} {'in' if self.operator == 'In' else 'notin'} ({','.join(self.values)})"


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False  # A missing LabelSelector selects nothing.

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        if self.nothing:
            return False
        given = labels or {}
        return all(requirement.holds(given) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        """It matches every object."""
        return not self.requirements and not self.nothing

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def narrowest(self) -> tuple[str, ...]:
        """Of the requirements that only objects with certain labels meet, the one that fewest do: its `label_marks`.

        () when there is none, as for `!canary`.
        """
        marks = [_marks(requirement) for requirement in self.requirements]
        return min((some for some in marks if some), key=len, default=())


def _marks(requirement: Requirement) -> tuple[str, ...]:
    if requirement.operator == "In":
        return tuple(f"{requirement.key}={value}" for value in requirement.values)
    return (requirement.key,) if requirement.operator in ("Exists", "Gt", "Lt") else ()


def label_marks(obj: Object) -> list[str]:
    """`key=value` and `key` of every label."""
    labels = meta.labels(obj)
    return [f"{key}={value}" for key, value in labels.items()] + list(labels)


EVERYTHING = Selector()
NOTHING = Selector((), nothing=True)

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")


def parse_labels(text: str) -> Selector:
    """The selector of a labelSelector query parameter; raises ApiError 400."""
    if not text or text.isspace():
        return EVERYTHING
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise errors.bad_request(f"unable to parse requirement: longer than {SELECTOR_CHARACTERS_MAX} characters")
    return _Parser(text).selector()


class _Parser:
    def __init__(self, text: str):
        self.tokens = _TOKEN.findall(text.rstrip())
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def fail(self, found: str, expected: str) -> errors.ApiError:
        return errors.bad_request(f"unable to parse requirement: found '{found}', expected: {expected}")

    def selector(self) -> Selector:
        requirements = [self.requirement()]
        while self.peek() == ",":
            self.take()
            requirements.append(self.requirement())
            if len(requirements) > REQUIREMENTS_MAX:
                raise errors.bad_request(f"unable to parse requirement: more than {REQUIREMENTS_MAX} requirements")
        if self.peek():
            raise self.fail(self.peek(), "',' or 'end of string'")
        return Selector(tuple(requirements))

    def key(self) -> str:
        token = self.take()
        if not token or token in ("=", "==", "!=", "(", ")", ",", "<", ">", "!"):
            raise self.fail(token, "!, identifier, or 'end of string'")
        if not _KEY.match(token):
            raise errors.bad_request(
                f'unable to parse requirement: key: Invalid value: "{token}": a label key is an optional DNS prefix '
                "and '/', then at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends"
            )
        return token

    def value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        token = self.take()
        if token in ("=", "==", "!=", "(", ")", "<", ">", "!"):
            raise self.fail(token, "identifier")
        if not _VALUE.match(token):
            raise errors.bad_request(
                f'unable to parse requirement: values: Invalid value: "{token}": a label value is at most 63 letters, '
                "digits, '-', '_' or '.', with a letter or digit at both ends, or empty"
            )
        return token

    def values(self) -> tuple[str, ...]:
        if self.take() != "(":
            self.at -= 1
            raise self.fail(self.peek(), "'('")
        found: dict[str, None] = {}
        while True:
            found["" if self.peek() in (",", ")") else self.value()] = None
            if len(found) > VALUES_MAX:
                raise errors.bad_request(f"unable to parse requirement: more than {VALUES_MAX} values")
            token = self.take()
            if token == ")":
                return tuple(found)
            if token != ",":
                raise self.fail(token, "',' or ')'")

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self.key(), "DoesNotExist")
        key = self.key()
        operator = self.peek()
        if operator in ("", ","):
            return Requirement(key, "Exists")
        self.take()
        match operator:
            case "=" | "==":
                return Requirement(key, "In", (self.value(),))
            case "!=":
                return Requirement(key, "NotIn", (self.value(),))
            case "in" | "notin":
                return Requirement(key, "In" if operator == "in" else "NotIn", self.values())
            case ">" | "<":
                value = self.value()
                if not re.fullmatch(r"-?\d+", value):
                    raise errors.bad_request(
                        f'unable to parse requirement: values[0][{key}]: Invalid value: "{value}": '
                        "for 'Gt', 'Lt' operators, the value must be an integer"
                    )
                return Requirement(key, "Gt" if operator == ">" else "Lt", (value,))
            case _:
                raise self.fail(operator, "in, notin, =, ==, !=, gt, lt")


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """Every label as given (a Service's selector); an empty or missing map matches everything."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in (labels or {}).items()))


def from_object(selector: Object | None) -> Selector:
    """A LabelSelector's meaning: missing selects nothing, empty everything. It must be valid."""
    if selector is None:
        return NOTHING
    required = [Requirement(key, "In", (value,)) for key, value in meta.part(selector, "matchLabels").items()]
    required += [
        Requirement(term["key"], term["operator"], tuple(meta.texts(term, "values")))
        for term in meta.parts(selector, "matchExpressions")
    ]
    return Selector(tuple(required))


Field = Callable[[Object], str]


def _at(path: str) -> Field:
    """Reads a dotted path as text; missing is "", a bool is true or false."""
    steps = tuple(path.split("."))

    def read(obj: Object) -> str:
        value: Object | Json = obj
        for step in steps:
            if not isinstance(value, dict):
                return ""
            value = value.get(step)
        if value is None:
            return ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) else str(value)

    return read


def flag(path: str) -> Field:
    """A dotted path that is true or false; missing is false."""
    read = _at(path)
    return lambda obj: read(obj) or "false"


def fields(*paths: str) -> dict[str, Field]:
    """Fields by their dotted paths, as text."""
    return {path: _at(path) for path in paths}


def counts(*paths: str) -> dict[str, Field]:
    """Dotted paths of numbers; a missing one is 0."""

    def zero(path: str) -> Field:
        read = _at(path)
        return lambda obj: read(obj) or "0"

    return {path: zero(path) for path in paths}


_EVERY_KIND: Mapping[str, Field] = {
    "metadata.name": _at("metadata.name"),
    "metadata.namespace": _at("metadata.namespace"),
}


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms (read, equal?, value) that must all hold; `name` and `namespace` are set where a term fixes them."""

    terms: tuple[tuple[Field, bool, str], ...] = ()
    name: str = ""
    namespace: str = ""

    def matches(self, obj: Object) -> bool:
        return all((read(obj) == value) is equal for read, equal, value in self.terms)

    @property
    def empty(self) -> bool:
        return not self.terms

    def fixed_name(self) -> tuple[FieldMarks, str] | None:
        """The name that an object must have, which is the same in every version."""
        return (FieldMarks(_EVERY_KIND["metadata.name"]), self.name) if self.name else None

    def fixed(self) -> tuple[FieldMarks, str] | None:
        """A field that must have one value, and that value; a name where one is fixed."""
        terms = [(FieldMarks(read), value) for read, equal, value in self.terms if equal]
        named = [term for term in terms if term[1] == self.name]
        return (named or terms or [None])[0]


@dataclass(frozen=True, slots=True)
class FieldMarks:
    """A field's value, read as `label_marks` are; equal for the same field."""

    read: Field

    def __call__(self, obj: Object) -> tuple[str]:
        return (self.read(obj),)


ANY_FIELDS = FieldSelector()


def parse_fields(own: Mapping[str, Field], text: str, is_core: bool) -> FieldSelector:
    """The selector of a fieldSelector query parameter, for a kind with these fields; raises ApiError 400."""
    if not text:
        return ANY_FIELDS
    if len(text) > SELECTOR_CHARACTERS_MAX:
        raise errors.bad_request(f"invalid selector: longer than {SELECTOR_CHARACTERS_MAX} characters")
    terms: list[tuple[Field, bool, str]] = []
    fixed = {"metadata.name": "", "metadata.namespace": ""}
    split = _split_fields(text)
    if len(split) > REQUIREMENTS_MAX:
        raise errors.bad_request(f"invalid selector: more than {REQUIREMENTS_MAX} terms")
    for path, equal, value in split:
        read = own.get(path) or _EVERY_KIND.get(path)
        if read is None:
            raise _unknown_field(path, bool(own) or is_core)
        terms.append((read, equal, value))
        if equal and path in fixed:
            fixed[path] = value
    return FieldSelector(tuple(terms), fixed["metadata.name"], fixed["metadata.namespace"])


def _unknown_field(path: str, is_told_shortly: bool) -> errors.ApiError:
    # kubectl itself puts "Unable to find ... that match ..." before it.
    if is_told_shortly:
        return errors.bad_request(f"field label not supported: {path}")
    return errors.bad_request(f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _split_fields(text: str) -> Sequence[tuple[str, bool, str]]:
    """(path, equal?, value) of each term; commas, equals signs and backslashes in values are escaped by a backslash."""
    found: list[tuple[str, bool, str]] = []
    for term in re.findall(r"(?:[^,\\]|\\.|\\$)+", text):
        match = re.match(r"^([^=!\\]+)(!=|==|=)((?:[^\\=]|\\[\\,=])*)\Z", term)
        if match is None:
            raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        found.append((path.strip(), operator != "!=", re.sub(r"\\(.)", r"\1", value)))
    return found
