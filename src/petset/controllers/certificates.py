"""Requests for certificates: approved where a node asks for itself, signed where approved, removed when they are old.

Of the signers the three of this cluster are here, with its authority: client certificates for anybody whom somebody has
approved, client and serving certificates of nodes. A node's request for a client certificate is approved when whoever
made it may create certificatesigningrequests/selfnodeclient (for itself) or /nodeclient; nothing else approves itself.
Pending requests are kept for a day, others for an hour after what was decided, certificates that expire sooner no
longer than they last. Reading a request takes a while, so what is decided by it is decided beside the loop: `fit` and
`kubelet_rights` say what, purely.
Follows: "Certificates and Certificate Signing Requests" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from petset.base import certificates, pki, tasks, well_known
from petset.base.certificates import CLIENT_AUTH, DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, SERVER_AUTH, Request
from petset.client.client import Client
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, Perform, own_key
from petset.kinds import certificate_signing_request as requests
from petset.kinds.certificate_signing_request import APPROVED, CERTIFICATESIGNINGREQUESTS, DENIED, FAILED
from petset.kinds.reviews import SUBJECTACCESSREVIEWS
from petset.objects import meta, tables
from petset.objects.meta import Object

PENDING_SECONDS_MAX, DECIDED_SECONDS_MAX = 24 * 3600, 3600
SIGNING_SECONDS_MAX = 365 * 24 * 3600  # Who asks for more, or for nothing, gets this.
NODE_PREFIX, NODES_GROUP = "system:node:", "system:nodes"
SIGNERS = (well_known.CLIENT_SIGNER, well_known.KUBELET_CLIENT_SIGNER, well_known.KUBELET_SERVING_SIGNER)


@dataclass(frozen=True, slots=True)
class ApproveKubelet:
    """Approve the request if it is a node's and who made it may have it."""

    object: Object


@dataclass(frozen=True, slots=True)
class Sign:
    """Issue the certificate, or say why not."""

    object: Object


def reconcile(signs: bool, key: str, view: View, now: float) -> list[Any]:
    """What is next for one request. `signs` says whether there is an authority to sign with."""
    csr = view.get(CERTIFICATESIGNINGREQUESTS, "", key)
    if csr is None or meta.is_deleting(csr):
        return []
    steps = list[Any]()
    if (left := seconds_left(csr, now)) is not None:
        if left <= 0:
            return [actions.Delete(csr)]
        steps.append(actions.RequeueAfter(left))
    if meta.condition(csr, FAILED) is not None or meta.get(csr, "status", "certificate"):
        return steps
    is_decided = meta.condition(csr, APPROVED) is not None or meta.condition(csr, DENIED) is not None
    if not is_decided and requests.signer(csr) == well_known.KUBELET_CLIENT_SIGNER:
        steps.append(ApproveKubelet(csr))
    if signs and requests.is_approved(csr) and requests.signer(csr) in SIGNERS:
        steps.append(Sign(csr))
    return steps


def seconds_left(csr: Object, now: float) -> float | None:
    """Until it is removed; None for one that is approved and waits for its signer."""
    if not meta.parts(csr, "status", "conditions"):
        return PENDING_SECONDS_MAX - _age(meta.get(csr, "metadata", "creationTimestamp"), now)
    most: float = DECIDED_SECONDS_MAX
    decided = meta.condition(csr, DENIED) or meta.condition(csr, FAILED)
    if decided is None and meta.get(csr, "status", "certificate"):
        decided = meta.condition(csr, APPROVED)
        most = min(most, meta.get(csr, "spec", "expirationSeconds") or most)
    return None if decided is None else most - _age(decided.get("lastUpdateTime"), now)


def _age(time: str | None, now: float) -> float:
    return now - (tables.seconds_of(time) or now)


# -- what a request may be


def fit(signer: str, request: Request, usages: Collection[str]) -> str:
    """Why this signer does not sign such a request; "" when it does."""
    if signer == well_known.CLIENT_SIGNER:
        for usage in usages:
            if usage not in (DIGITAL_SIGNATURE, KEY_ENCIPHERMENT, CLIENT_AUTH):
                return f"invalid usage for client certificate: {usage}"
        return "" if CLIENT_AUTH in usages else f"missing required usage for client certificate: {CLIENT_AUTH}"
    if signer == well_known.KUBELET_CLIENT_SIGNER:
        return _wrong_names(request, {"DNS": request.dns_names, "IP": request.ip_addresses}) or _wrong_node(
            request, usages, CLIENT_AUTH
        )
    if not request.dns_names and not request.ip_addresses:
        return "DNS or IP subjectAltName is required"
    return _wrong_names(request, {}) or _wrong_node(request, usages, SERVER_AUTH)


def _wrong_names(request: Request, more: Mapping[str, Collection[str]]) -> str:
    for kind, named in {**more, "Email": request.email_addresses, "URI": request.uris}.items():
        if named:
            return f"{kind} subjectAltNames are not allowed"
    return ""


def _wrong_node(request: Request, usages: Collection[str], purpose: str) -> str:
    if request.organizations != (NODES_GROUP,):
        return f"subject organization is not {NODES_GROUP}"
    if not request.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    wanted = sorted((DIGITAL_SIGNATURE, purpose))
    if sorted(usages) not in (wanted, sorted((*wanted, KEY_ENCIPHERMENT))):
        return f"usages did not match {DIGITAL_SIGNATURE}, {KEY_ENCIPHERMENT}, {purpose}"
    return ""


def kubelet_rights(csr: Object, request: Request) -> list[str]:
    """The subresources of which one must be allowed to who made it, so that it is approved by itself."""
    if fit(well_known.KUBELET_CLIENT_SIGNER, request, meta.texts(csr, "spec", "usages")):
        return []
    is_own = meta.get(csr, "spec", "username") == request.common_name
    return ["selfnodeclient", "nodeclient"] if is_own else ["nodeclient"]


def lifetime(csr: Object) -> float:
    """Seconds that the certificate is to last."""
    asked = meta.get(csr, "spec", "expirationSeconds") or SIGNING_SECONDS_MAX
    return min(max(asked, requests.EXPIRATION_SECONDS_MIN), SIGNING_SECONDS_MAX)


def with_condition(csr: Object, kind: str, reason: str, message: str) -> Object:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    return meta.changed(csr, ("status", "conditions"), [*meta.parts(csr, "status", "conditions"), condition])


# -- acting


def performing(client: Client, authority: pki.Authority | None) -> Mapping[type, Perform]:
    """How the two actions here are done."""

    async def approve(action: ApproveKubelet) -> None:
        csr = action.object
        request = await tasks.in_thread(certificates.read_request, requests.request_pem(csr))
        for right in kubelet_rights(csr, request):
            review = await client.create(_may_create(csr, right))
            if meta.get(review, "status", "allowed"):
                why = f"Auto approving kubelet client certificate: {csr['spec']['username']} may create {right}."
                await client.update(with_condition(csr, APPROVED, "AutoApproved", why), "approval")
                return

    async def sign(action: Sign) -> None:
        assert authority is not None
        await client.update(await tasks.in_thread(_signed, authority, action.object), "status")

    return {ApproveKubelet: approve, Sign: sign}


def _signed(authority: pki.Authority, csr: Object) -> Object:
    """With its certificate, or with the condition that says why it has none."""
    pem, usages = requests.request_pem(csr), meta.texts(csr, "spec", "usages")
    try:
        wrong = fit(requests.signer(csr), certificates.read_request(pem), usages)
        certificate = "" if wrong else certificates.issue(authority, pem, usages, lifetime(csr))
    except ValueError as error:
        wrong, certificate = str(error), ""
    if wrong:
        return with_condition(csr, FAILED, "SignerValidationFailure", wrong)
    return meta.changed(csr, ("status", "certificate"), requests.encoded(certificate))


def _may_create(csr: Object, subresource: str) -> Object:
    spec = meta.part(csr, "spec")
    asked = {"group": requests.GROUP, "resource": CERTIFICATESIGNINGREQUESTS.plural, "verb": "create"}
    return {
        "apiVersion": SUBJECTACCESSREVIEWS.api_version,
        "kind": SUBJECTACCESSREVIEWS.kind,
        "metadata": {},
        "spec": {
            "user": spec.get("username", ""),
            **{key: spec[key] for key in ("uid", "groups", "extra") if key in spec},
            "resourceAttributes": {**asked, "subresource": subresource},
        },
    }


def controllers(signs: bool) -> tuple[Controller, ...]:
    return (
        Controller(
            name="certificates",
            component="certificate-controller",
            watches=((CERTIFICATESIGNINGREQUESTS, own_key),),
            reconcile=partial(reconcile, signs),
        ),
    )
