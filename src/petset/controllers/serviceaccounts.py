"""What every namespace has: the ServiceAccount `default`, and the cluster's CA in ConfigMap `kube-root-ca.crt`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from petset.base import well_known
from petset.client.views import View
from petset.controllers import actions
from petset.controllers.runner import Controller, own_key
from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.namespace import NAMESPACES
from petset.kinds.service_account import SERVICEACCOUNTS
from petset.objects import meta
from petset.objects.meta import Object

ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = "The certificate authority of this cluster's API, for verifying connections to it."


def reconcile(ca_pem: str, key: str, view: View, now: float) -> list[actions.Action]:
    """Make what is missing in one namespace, and mend its CA."""
    namespace = view.get(NAMESPACES, "", key)
    if namespace is None or meta.is_deleting(namespace):
        return []
    steps: list[actions.Action] = []
    if view.get(SERVICEACCOUNTS, key, ACCOUNT) is None:
        steps.append(actions.Create(_named("ServiceAccount", ACCOUNT, key)))
    there = view.get(CONFIGMAPS, key, ROOT_CA)
    data = {"ca.crt": ca_pem}
    if there is None:
        wanted = meta.changed(
            _named("ConfigMap", ROOT_CA, key),
            ("metadata", "annotations"),
            {well_known.DESCRIPTION_ANNOTATION: DESCRIPTION},
        )
        steps.append(actions.Create({**wanted, "data": data}))
    elif there.get("data") != data:
        steps.append(actions.Update({**there, "data": data}))
    return steps


def _named(kind: str, name: str, namespace: str) -> dict[str, Object | str]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def _namespace_if_named(name: str, obj: Object, view: View) -> Iterable[str]:
    return (meta.namespace(obj),) if meta.name(obj) == name else ()


def controllers(ca_pem: str) -> tuple[Controller, ...]:
    return (
        Controller(
            name="serviceaccounts",
            component="serviceaccount-controller",
            watches=(
                (NAMESPACES, own_key),
                (SERVICEACCOUNTS, partial(_namespace_if_named, ACCOUNT)),
                (CONFIGMAPS, partial(_namespace_if_named, ROOT_CA)),
            ),
            reconcile=partial(reconcile, ca_pem),
        ),
    )
