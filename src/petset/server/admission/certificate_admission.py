"""What a request for a certificate must pass: who asks is written into it, and who approves or signs may do so.

Approving needs the verb `approve` on the signer, signing and failing `sign`, and a bundle of what a signer is trusted
by `attest`: on the resource `signers`, by the signer's
whole name or by all of its domain ("example.com/*"). A request for a client certificate of this cluster never names the
group that may everything.
"""

from __future__ import annotations

from typing import Any

from petset.base import certificates, tasks, well_known
from petset.kinds import certificate_signing_request as requests
from petset.kinds import cluster_trust_bundle
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import APPROVAL
from petset.server.access import auth, rbac, users
from petset.server.admission.pod_admission import Context
from petset.server.writes import Write

PLURAL = requests.CERTIFICATESIGNINGREQUESTS.plural
_OF_THE_REQUESTER = ("username", "uid", "groups", "extra")
_TIMES = ("lastTransitionTime", "lastUpdateTime")


def requester(context: Context, obj: Object, old: Object | None) -> Object:
    """Who asks is who made it, whatever it says."""
    user = context.write.user
    own: dict[str, Any] = {
        "username": user.name,
        **({"uid": user.uid} if user.uid else {}),
        **({"groups": list(user.groups)} if user.groups else {}),
        **({"extra": {key: list(values) for key, values in user.extra}} if user.extra else {}),
    }
    spec = {key: value for key, value in meta.part(obj, "spec").items() if key not in _OF_THE_REQUESTER}
    return {**obj, "spec": {**spec, **own}}


def condition_times(context: Context, obj: Object, old: Object | None) -> Object:
    """Conditions have the times of their last change."""
    given = meta.parts(obj, "status", "conditions")
    if all(time in condition for condition in given for time in _TIMES):
        return obj
    now, timed = tasks.rfc3339(tasks.now()), list[Object]()
    for condition in given:
        before = meta.condition(old or {}, condition.get("type", "")) or {}
        is_same = before.get("status") == condition.get("status") and before.get("lastTransitionTime")
        since = before["lastTransitionTime"] if is_same else now
        timed.append({"lastUpdateTime": now, "lastTransitionTime": since, **condition})
    return meta.changed(obj, ("status", "conditions"), timed)


async def require(authorizer: auth.Authorizer, write: Write, obj: Object, old: Object | None) -> None:
    """That the user may do what this write does. Raises ApiError 403."""
    if old is None:
        await _require_fit(write, obj)
    elif write.subresource == APPROVAL:
        await _require_signer(authorizer, write, obj, "approve", "approve requests")
    elif write.subresource == "status" and _decides(obj, old):
        await _require_signer(authorizer, write, obj, "sign", "sign requests")


def _decides(obj: Object, old: Object) -> bool:
    new, before = meta.part(obj, "status"), meta.part(old, "status")
    return any((new.get(field) or None) != (before.get(field) or None) for field in ("certificate", "conditions"))


async def _require_fit(write: Write, obj: Object) -> None:
    if requests.signer(obj) != well_known.CLIENT_SIGNER:
        return
    try:
        asked = await write.work.in_turn(lambda: certificates.read_request(requests.request_pem(obj)))
    except ValueError:
        return  # Validation says what is wrong with it.
    if users.MASTERS in asked.organizations:
        why = f"use of {well_known.CLIENT_SIGNER} signer with {users.MASTERS} group is not allowed"
        raise errors.forbidden(PLURAL, meta.name(obj), why, requests.GROUP)


async def require_attested(authorizer: auth.Authorizer, write: Write, obj: Object, old: Object | None) -> None:
    """That the user may speak for the signer of a bundle whose content he writes. Raises ApiError 403."""
    if cluster_trust_bundle.signer(obj) and (old is None or obj.get("spec") != old.get("spec")):
        await _require_signer(authorizer, write, obj, "attest", "attest bundles")


async def _require_signer(authorizer: auth.Authorizer, write: Write, obj: Object, verb: str, does: str) -> None:
    signer = requests.signer(obj)
    await authorizer.catch_up(write.user)
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        if authorizer.allows(write.user, rbac.Attributes(verb, requests.GROUP, "signers", name=name)):
            return
    why = f'user not permitted to {does} with signerName "{signer}"'
    raise errors.forbidden(write.resource.plural, meta.name(obj), why, requests.GROUP)
