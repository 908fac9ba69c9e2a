"""Why nobody answers at a Service: its selector matches no pod, or none that is ready.

Follows: "Service" of the Kubernetes documentation, and "Debug Services".
"""

from __future__ import annotations

from petset.base import well_known
from petset.kinds import endpoint_slice
from petset.kinds.endpoint_slice import ENDPOINTSLICES
from petset.kinds.pod import PODS
from petset.objects import meta, selectors
from petset.objects.meta import Object
from petset.why import deleted, finding, workloads
from petset.why.finding import Finding
from petset.why.picture import Picture

LABELS_TOLD_MAX = 3


@deleted.first
def service(obj: Object, picture: Picture) -> Finding:
    spec = meta.part(obj, "spec")
    if spec.get("type") == "ExternalName":
        return finding.of(
            obj, f"is another name of {spec.get('externalName')}, which is outside of the cluster", "well"
        )
    ready, there = _endpoints(obj, picture)
    if not spec.get("selector"):
        return _without_selector(obj, ready)
    chosen = selectors.from_map(meta.part(spec, "selector"))
    mine = [pod for pod in picture.seen(PODS, meta.namespace(obj), labels=str(chosen)) if not meta.is_deleting(pod)]
    if not mine:
        return _matches_nobody(obj, chosen, picture)
    if wrong := _ports_of_nobody(obj, mine):
        return finding.of(
            obj,
            f"its targetPort {finding.listed(wrong)} is no port of its pods",
            mend="name a port that the pods' containers have",
        )
    troubles = workloads.troubles(sorted(mine, key=meta.by_age), picture)
    if not ready:
        says = f"has no endpoints: none of its pods is ready ({len(mine)} with the labels {chosen})"
        return finding.of(obj, says, finding.state_of(troubles), because=troubles)
    if spec.get("type") == "LoadBalancer" and not meta.parts(obj, "status", "loadBalancer", "ingress"):
        says = f"has {finding.counted(ready, 'endpoint')}, but no address of a load balancer yet"
        return finding.of(obj, says, mend="see whether a load balancer's controller runs here, or use the NodePort")
    return finding.of(obj, f"is well: {ready} of {max(there, ready)} endpoints are ready", "well")


def _endpoints(obj: Object, picture: Picture) -> tuple[int, int]:
    """How many are ready, and how many there are."""
    slices = picture.list(
        ENDPOINTSLICES, meta.namespace(obj), labels=f"{well_known.SERVICE_NAME_LABEL}={meta.name(obj)}"
    )
    all_of = {tuple(meta.texts(one, "addresses")): one for slice_ in slices for one in meta.parts(slice_, "endpoints")}
    return sum(map(endpoint_slice.is_ready, all_of.values())), len(all_of)


def _without_selector(obj: Object, ready: int) -> Finding:
    if ready:
        return finding.of(
            obj, f"is well: it has no selector, and {finding.counted(ready, 'endpoint')} made by hand", "well"
        )
    says = "has no endpoints: it has no selector, so somebody must write its EndpointSlices"
    return finding.of(obj, says, mend="give it a selector, or create an EndpointSlice for it")


def _matches_nobody(obj: Object, chosen: selectors.Selector, picture: Picture) -> Finding:
    """Which part of the selector it is that no pod has, and what the pods have instead."""
    everybody = picture.list(PODS, meta.namespace(obj))
    lonely = [str(one) for one in chosen.requirements if not any(one.holds(meta.labels(pod)) for pod in everybody)]
    which = f"no pod has {finding.listed(lonely)}" if lonely else "no pod has all of it"
    keys = [one.key for one in chosen.requirements]
    near = [f"{key}={meta.labels(pod)[key]}" for pod in everybody for key in keys if key in meta.labels(pod)]
    instead = [text for text in dict.fromkeys(near) if text not in lonely][:LABELS_TOLD_MAX]
    there = f"; there are pods with {finding.listed(instead)}" if instead else ""
    if not everybody:
        there = f"; there is no pod in namespace {meta.namespace(obj)}"
    says = f"has no endpoints: its selector {chosen} matches no pod ({which}{there})"
    return finding.of(obj, says, mend="correct spec.selector of the Service, or the labels of the pods' template")


def _ports_of_nobody(obj: Object, mine: list[Object]) -> list[str]:
    """Its named target ports that no container of its pods has."""
    named = [port["targetPort"] for port in meta.parts(obj, "spec", "ports") if isinstance(port.get("targetPort"), str)]
    has = {
        str(port.get("name"))
        for pod in mine
        for container in meta.parts(pod, "spec", "containers")
        for port in meta.parts(container, "ports")
    }
    return [name for name in named if name not in has]
