"""Nobody gives rights that they do not hold: what is asked before a role or a binding is written.

Who makes a role must hold all its rules or may `escalate` it; who binds one must hold its rules or may `bind` it; who
lets a ClusterRole collect others' rules must hold everything. It is asked once a write, after admission. Few rules are
judged at once, many beside the loop in the user's turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from petset.kinds.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.server.access import auth, coverage, rbac, users
from petset.server.writes import Write

_ROLES = (ROLES, CLUSTERROLES)
KINDS = (*_ROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS)
_EVERYTHING = rbac.Rule(("*",), ("*",), ("*",)), rbac.Rule(("*",), paths=("*",))

Wanted = Callable[[], Iterable[rbac.Rule]]


async def require(authorizer: auth.Authorizer, write: Write, obj: Object, old: Object | None) -> None:
    """Raises ApiError 403, or 404 when there is no such role to bind."""
    if users.MASTERS in write.user.groups:
        return
    await authorizer.catch_up(write.user)
    judge = _role if write.resource in _ROLES else _binding
    await judge(_Giving(authorizer, write, obj), old)


async def _role(giving: _Giving, old: Object | None) -> None:
    obj = giving.obj
    if old is not None and obj.get("rules") == old.get("rules"):
        return
    if not giving.may("escalate", giving.write.resource.plural, meta.name(obj)):
        await giving.require_held(lambda: map(rbac.rule_of, obj.get("rules") or ()))
    if obj.get("aggregationRule") and not await giving.holds(lambda: _EVERYTHING, everywhere=True):
        raise giving.refusal("must have cluster-admin privileges to use the aggregationRule")


async def _binding(giving: _Giving, old: Object | None) -> None:
    obj, reference = giving.obj, meta.part(giving.obj, "roleRef")
    if old is not None and (obj.get("subjects"), reference) == (old.get("subjects"), old.get("roleRef")):
        return
    plural, name = "roles" if reference.get("kind") == "Role" else "clusterroles", str(reference.get("name"))
    rules = giving.authorizer.rbac.role_rules(reference, meta.namespace(obj))
    if rules is None:
        raise errors.not_found(plural, name, rbac.GROUP)
    if not giving.may("bind", plural, name):
        await giving.require_held(lambda: rules)


class _Giving:
    """Who gives rights by writing an object."""

    def __init__(self, authorizer: auth.Authorizer, write: Write, obj: Object):
        self.authorizer, self.write, self.obj = authorizer, write, obj

    def may(self, verb: str, plural: str, name: str) -> bool:
        asked = rbac.Attributes(verb, rbac.GROUP, plural, namespace=meta.namespace(self.obj), name=name)
        return self.authorizer.allows(self.write.user, asked)

    async def require_held(self, wanted: Wanted) -> None:
        """Raises ApiError 403."""
        if not await self.holds(wanted):
            user = self.write.user
            raise self.refusal(
                f'user "{user.name}" (groups={list(user.groups)}) is attempting to grant RBAC permissions not '
                "currently held"
            )

    async def holds(self, wanted: Wanted, everywhere: bool = False) -> bool:
        """Whether the user has all the wanted rules. Raises ApiError 403 when that cannot be told."""
        user = self.write.user
        held = self.authorizer.rbac.rules(user, "" if everywhere else meta.namespace(self.obj))

        def judged(steps_max: int) -> bool:
            return coverage.covers(held, wanted(), steps_max)

        try:
            return judged(coverage.LOOP_STEPS_MAX)
        except coverage.Unclear:
            pass
        try:
            return await self.write.work.in_turn(judged, coverage.STEPS_MAX)
        except coverage.Unclear:
            why = (
                f'cannot tell whether user "{user.name}" holds these permissions: the rules combine in too many ways; '
                "write fewer values a rule, or hold one rule that has them all"
            )
            raise self.refusal(why) from None

    def refusal(self, why: str) -> errors.ApiError:
        return errors.forbidden(self.write.resource.plural, meta.name(self.obj), why, rbac.GROUP)
