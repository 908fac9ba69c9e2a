"""Whether rules cover others: the question before anybody gives rights, however the rules are written."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petset.kinds.namespace import NAMESPACES
from petset.objects import meta
from petset.server import weight
from petset.server.access import coverage, rbac
from tests.server.access.test_access import RBAC, binding, role, rule, user
from tests.server.conftest import JANE
from tests.server.nasty import LARGER
from tests.server.test_cost import GROWTH_MAX, counted


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=3).map(tuple)


RULES = st.builds(
    rbac.Rule,
    some("get", "list", "*"),
    some("", "apps", "*"),
    some("pods", "pods/log", "*/log", "*"),
    some("a", "b", "", "*"),
    some("/a", "/a/b", "/a*", "/a/*", "*"),
)


@given(st.lists(RULES, max_size=4), RULES)
@settings(max_examples=500)
def test_who_holds_every_single_right_of_a_rule_holds_it(owned, wanted):
    """What the rule gives, right by right, each asked as upstream asks: does one owned rule have it?"""

    def has(values: tuple[str, ...], value: str) -> bool:
        return value in values or "*" in values

    def one(rule: rbac.Rule, verb: str, group: str, resource: str, name: str) -> bool:
        sub = resource.partition("/")[2]
        known = has(rule.resources, resource) or bool(sub and f"*/{sub}" in rule.resources)
        named = not rule.names or (bool(name) and name in rule.names)
        return has(rule.verbs, verb) and has(rule.groups, group) and known and named

    def path_of(rule: rbac.Rule, verb: str, path: str) -> bool:
        return has(rule.verbs, verb) and any(
            p in (path, "*") or (p.endswith("*") and path.startswith(p[:-1])) for p in rule.paths
        )

    rights = itertools.product(wanted.verbs, wanted.groups, wanted.resources, wanted.names or ("",))
    covered = all(any(one(rule, *right) for rule in owned) for right in rights) and all(
        any(path_of(rule, *right) for rule in owned) for right in itertools.product(wanted.verbs, wanted.paths)
    )
    assert coverage.covers(owned, [wanted]) is covered


@given(
    some("/a", "/a/b", "/a*", "/a/*", "/ab*", "/b*", "*", ""),
    st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/*", "b"]),
)
@settings(max_examples=300)
def test_a_path_is_allowed_by_itself_or_by_a_beginning(patterns, path):
    wanted = any(p in (path, "*") or (p.endswith("*") and path.startswith(p[:-1])) for p in patterns)
    assert rbac.Rule(("get",), paths=patterns).allows(rbac.Attributes("get", path=path)) is wanted


class Compared(str):
    """A text that counts how often it is held against another."""

    count = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return str.__eq__(self, other)

    def __lt__(self, other: str) -> bool:
        Compared.count += 1
        return str.__lt__(self, other)

    def startswith(self, *prefix: Any) -> bool:
        Compared.count += 1
        return str.startswith(self, *prefix)


MANY = [f"x{n}" for n in range(20_000)]
ASKED = {"verb": "get", "group": "apps", "resource": "pods", "name": "web-0"}


@pytest.mark.parametrize(
    ("field", "known", "asked"),
    [
        ("verbs", "get", {"verb": Compared("get")}),
        ("apiGroups", "apps", {"group": Compared("apps")}),
        ("resources", "pods", {"resource": Compared("pods")}),
        ("resourceNames", "web-0", {"name": Compared("web-0")}),
        ("nonResourceURLs", "/healthz", {"path": Compared("/healthz")}),
        ("nonResourceURLs", "/health*", {"path": Compared("/healthz")}),
    ],
)
def test_a_rule_of_many_values_is_not_searched_at_each_request(field, known, asked):
    """Who may make a role may fill it, and every request of whoever has it asks it."""
    right = {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["pods"], "resourceNames": ["web-0"]}
    for values, allowed in (([*MANY, known], True), ([f"{one}*" for one in MANY], False)):
        rule = rbac.rule_of({**right, field: values})
        Compared.count = 0
        assert rule.allows(rbac.Attributes(**{**ASKED, **asked})) is allowed
        assert Compared.count < 50


def test_a_rule_of_many_combinations_is_judged_without_walking_them():
    verbs, groups, kinds = (tuple(f"{word}{n}" for n in range(2000)) for word in ("v", "g", "r"))
    wanted = rbac.Rule(verbs, groups, kinds)
    assert coverage.covers([rbac.Rule(verbs, ("*",), kinds)], [wanted])
    halves = [rbac.Rule(verbs[:1000], groups, ("*",)), rbac.Rule(verbs[1000:], groups, ("*",))]
    assert coverage.covers(halves, [wanted])
    assert not coverage.covers([*halves[:1], rbac.Rule(verbs[1000:], groups[1:], ("*",))], [wanted])


def test_rules_that_combine_in_too_many_ways_are_refused():
    """Whom rules like these were given could make the server walk a product after all; the safe answer is no."""
    values = [tuple(f"{word}{n}" for n in range(120)) for word in "vgr"]
    rng = random.Random(1)
    owned = [rbac.Rule(*(tuple(rng.sample(v, 60)) for v in values)) for _ in range(200)]
    with pytest.raises(coverage.Unclear):
        coverage.covers(owned, [rbac.Rule(*values)] * 50)


def of(n: int, make: Callable[[int], rbac.Rule]) -> list[rbac.Rule]:
    return [make(i) for i in range(n)]


def mixed(n: int) -> list[rbac.Rule]:
    """Rules of which none has another's everything."""
    rng = random.Random(n)
    values = [tuple(f"{word}{i}" for i in range(n)) for word in "vgr"]
    return of(n, lambda i: rbac.Rule(*(tuple(rng.sample(v, 4)) for v in values)))


# What is held, and what is wanted, by a number of rules.
MANY_RULES: dict[str, Callable[[int], tuple[list[rbac.Rule], list[rbac.Rule]]]] = {
    "the same": lambda n: (mixed(n), mixed(n)),
    "others": lambda n: (mixed(n), mixed(n + 1)),
    "a group each": lambda n: (
        of(n, lambda i: rbac.Rule(("get",), (f"g{i}",), ("*",))),
        of(n, lambda i: rbac.Rule(("get",), (f"g{i}", f"g{n - 1 - i}"), ("pods", f"r{i}"))),
    ),
    "a name each": lambda n: (
        of(n, lambda i: rbac.Rule(("get",), ("",), ("pods",), (f"n{i}",))),
        [rbac.Rule(("get",), ("",), ("pods",), tuple(f"n{i}" for i in range(n)))],
    ),
    "paths": lambda n: (
        of(n, lambda i: rbac.Rule(("get",), paths=(f"/a{i}/*",))),
        of(n, lambda i: rbac.Rule(("get",), paths=(f"/a{i}/b", f"/a{i}/*"))),
    ),
}


@pytest.mark.parametrize("rules", MANY_RULES.values(), ids=MANY_RULES)
def test_rules_are_held_against_held_ones_by_look_up(rules):
    def cost(n: int) -> int:
        held, wanted = rules(n)
        with counted() as steps:
            coverage.covers(held, wanted)
        return steps.count

    small = 200
    assert cost(small * LARGER) <= cost(small) * GROWTH_MAX


def test_rights_that_take_long_to_judge_are_judged_beside_the_loop(server, monkeypatch):
    """A short way in the loop, then all of it in the thread; the answers are the same."""
    asked: list[tuple[int, bool]] = []
    real = coverage.covers

    def noting(held: Any, wanted: Any, steps_max: int) -> bool:
        asked.append((steps_max, threading.current_thread() is threading.main_thread()))
        return real(held, wanted, steps_max)

    rights = [rule("get", "pods", ""), rule("get", "services", "")]
    server.create(role("held", rule("create", "roles", rbac.GROUP), *rights))
    server.create(binding("b", "held", user(JANE.name)))
    monkeypatch.setattr(coverage, "covers", noting)

    def code(name: str, *rules: Any) -> int:
        return server("POST", f"{RBAC}/namespaces/default/roles", role(name, *rules), user=JANE).code

    assert code("few", *rights) == 201
    assert asked == [(coverage.LOOP_STEPS_MAX, True)]
    monkeypatch.setattr(coverage, "LOOP_STEPS_MAX", 3)
    for name, rules, answer in (("many", rights, 201), ("more", [*rights, rule("get", "secrets", "")], 403)):
        asked.clear()
        assert code(name, *rules) == answer
        assert asked == [(3, True), (coverage.STEPS_MAX, False)]
    monkeypatch.setattr(coverage, "STEPS_MAX", 3)
    answer = server("POST", f"{RBAC}/namespaces/default/roles", role("most", *rights), user=JANE)
    assert answer.code == 403 and "combine in too many ways" in answer.message


def test_what_changes_while_rights_are_judged_counts(server, monkeypatch):
    """The namespace begins to end in between: nothing is created in it any more."""
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ending"}}, namespace="")
    server.create({**role("held", rule("create", "roles", rbac.GROUP), rule("get", "pods", ""))}, "ending")
    server.create(binding("b", "held", user(JANE.name)), "ending")
    monkeypatch.setattr(coverage, "LOOP_STEPS_MAX", 1)
    real = weight.Work.in_turn

    async def in_turn(self: weight.Work, work: Any, *args: Any) -> Any:
        entry = server.store.get(NAMESPACES.key("", "ending"))
        gone = meta.changed(entry.object, ("metadata", "deletionTimestamp"), "2016-08-03T00:00:00Z")
        await server.store.put(entry.key, gone, entry.revision)
        return await real(self, work, *args)

    monkeypatch.setattr(weight.Work, "in_turn", in_turn)
    answer = server("POST", f"{RBAC}/namespaces/ending/roles", role("x", rule("get", "pods", "")), user=JANE)
    assert answer.code == 403 and "being terminated" in answer.message


def test_a_huge_role_is_answered_at_once(server):
    server.create(role("roles", rule("create", "roles", rbac.GROUP)))
    server.create(binding("b", "roles", user(JANE.name)))
    many = {field: [f"x{n}" for n in range(2000)] for field in ("verbs", "apiGroups", "resources")}
    answer = server("POST", f"{RBAC}/namespaces/default/roles", {**role("huge"), "rules": [many]}, user=JANE)
    assert answer.code == 403 and "not currently held" in answer.message


def test_a_role_bound_many_times_gives_its_rules_once(server):
    """Who may bind a role may bind it a thousand times: what it gives, and costs, stays the same."""
    server.create(role("reader", rule("get", "pods")))
    for n in range(5):
        server.create(binding(f"b{n}", "reader", user(JANE.name)))
    known = server.api.authorizer.rbac
    assert len(known.rules(JANE, "default")) == 1


def test_a_right_taken_away_is_gone_whoever_looks_first(server):
    server.create(role("reader", rule("get", "pods")))
    server.create(binding("b", "reader", user(JANE.name)))
    known = server.api.authorizer.rbac
    assert known.rules(JANE, "default")
    assert server("DELETE", f"{RBAC}/namespaces/default/rolebindings/b").code == 200
    assert known.role_rules({"kind": "Role", "name": "reader"}, "default")
    assert not known.rules(JANE, "default")
