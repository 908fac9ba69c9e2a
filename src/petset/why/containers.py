"""Why a container does not run or is not ready: its image, its configuration, its crashes, its probes.

`trouble` goes through CAUSES for one container in their order. A container that has restarted and runs is not held,
but how it ended last time is said; with it the last lines that it wrote.
Follows: "Pod Lifecycle", "Images" and "Configure Liveness, Readiness and Startup Probes" of the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from petset.kinds.config_map import CONFIGMAPS
from petset.kinds.pod_spec import pod_containers, sources
from petset.kinds.secret import SECRETS
from petset.objects import meta
from petset.objects.meta import Object
from petset.why import finding
from petset.why.finding import Finding
from petset.why.picture import Picture

SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    9: "SIGKILL",
    11: "SIGSEGV",
    15: "SIGTERM",
}
EXITS = {126: "its command cannot be executed", 127: "its command was not found"}
IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
# What a registry's answer means: (what stands in it, what mends it).
ANSWERS = (
    (
        r"unauthori[sz]ed|authentication required|denied|forbidden|\b401\b|\b403\b",
        "give the pod imagePullSecrets that the registry accepts, and see that the name is right",
    ),
    (
        r"not found|manifest unknown|name unknown|\b404\b",
        "correct the image's name or tag; the registry has none of that name",
    ),
    (r"no such host|resolve|lookup", "correct the registry's name, or the machine's name servers"),
    (r"refused|timed? ?out|timeout|unreachable|no route", "see whether the registry can be reached from the node"),
    (r"x509|certificate|\btls\b", "make the node trust the registry's certificate"),
    (
        r"toomanyrequests|rate limit|\b429\b",
        "wait, or log in to the registry with imagePullSecrets: it limits how much is pulled",
    ),
)
SOURCE_KINDS = {"ConfigMap": CONFIGMAPS, "Secret": SECRETS}
CONFIG_REASONS = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
    "PostStartHookError",
)


@dataclass(frozen=True, slots=True)
class Container:
    pod: Object
    spec: Object
    status: Object
    is_init: bool = False

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def waiting(self) -> Object:
        return meta.part(self.status, "state", "waiting")

    @property
    def ended(self) -> Object:
        """How it ended last."""
        return meta.part(self.status, "state", "terminated") or meta.part(self.status, "lastState", "terminated")

    @property
    def is_running(self) -> bool:
        return "running" in meta.part(self.status, "state")

    @property
    def is_sidecar(self) -> bool:
        return self.is_init and pod_containers.is_sidecar(self.spec)

    @property
    def is_settled(self) -> bool:
        """It is as it should be: ready, or an init container that has succeeded."""
        if self.is_init and not self.is_sidecar:
            return meta.part(self.status, "state", "terminated").get("exitCode") == 0
        return bool(self.status.get("started") if self.is_sidecar else self.status.get("ready"))

    @property
    def called(self) -> str:
        what = "Sidecar" if self.is_sidecar else "Init container" if self.is_init else "Container"
        return f"{what} {self.name}"

    def says(self, text: str, mend: str = "", because: tuple[Finding, ...] = ()) -> Finding:
        return Finding(self.called, text, "held", mend, because)

    def waits(self, text: str) -> Finding:
        return Finding(self.called, text, "waits")


def of(pod: Object) -> list[Container]:
    """Init containers first, as they start."""
    found: list[Container] = []
    for key, is_init in ((pod_containers.INIT, True), (pod_containers.REGULAR, False)):
        statuses = {one["name"]: one for one in meta.parts(pod, "status", key[:-1] + "Statuses") if one.get("name")}
        found += [
            Container(pod, spec, statuses.get(spec["name"], {}), is_init) for spec in meta.parts(pod, "spec", key)
        ]
    return found


def trouble(one: Container, picture: Picture) -> Finding | None:
    """What holds it; None when nothing does, or nothing is known."""
    if one.is_settled:
        return None
    for cause in CAUSES:
        if (found := cause(one, picture)) is not None:
            return found
    return None


def _image(one: Container, picture: Picture) -> Finding | None:
    reason = one.waiting.get("reason")
    if reason not in IMAGE_REASONS:
        return None
    image, said = one.spec.get("image", ""), finding.quoted(_answer(one, picture))
    if reason == "ErrImageNeverPull":
        says = f"its image {image} is not on the node, and imagePullPolicy is Never"
        return one.says(
            says, f"put the image there{_load(picture)}, or let it be pulled (imagePullPolicy: IfNotPresent)"
        )
    if reason == "InvalidImageName":
        return one.says(f"{image!r} is no name of an image", "correct the container's image")
    mend = next(
        (mend for pattern, mend in ANSWERS if re.search(pattern, said, re.I)), "correct the image, or its registry"
    )
    return one.says(f"its image {image} cannot be pulled: {said}", mend)


def _answer(one: Container, picture: Picture) -> str:
    """What the registry said: the back-off only says that there is one, the event before it has the answer."""
    of_pull = [
        event["message"] for event in _told(one, picture, "Failed") if "pull" in event.get("message", "").lower()
    ]
    precise = [text for text in of_pull if not re.fullmatch(r"Error: \w+", text.strip())]
    said = one.waiting.get("message") or ""
    return said if one.waiting.get("reason") == "ErrImagePull" and said else next(iter(precise), said)


def _told(one: Container, picture: Picture, reason: str) -> list[Object]:
    """The events of a reason that are about it, or about the pod as a whole; the newest first."""

    def is_about(event: Object) -> bool:
        field = meta.get(event, "involvedObject", "fieldPath", default="")
        return not field or f"{{{one.name}}}" in field

    return [event for event in picture.events(one.pod, reason) if is_about(event)]


def _load(picture: Picture) -> str:
    return " (`petset image load FILE`)" if picture.is_of_petset() else ""


def _configuration(one: Container, picture: Picture) -> Finding | None:
    reason = one.waiting.get("reason") or meta.part(one.status, "state", "terminated").get("reason")
    if reason not in CONFIG_REASONS:
        return None
    said = one.waiting.get("message") or one.ended.get("message") or _newest_failure(one, picture)
    missing = [reference for reference in sources.of_container(one.spec) if is_missing(reference, one.pod, picture)]
    if missing:
        names = finding.listed([f"{reference.kind} {reference.name}" for reference in missing])
        return one.says(f"it cannot start without {names}: {finding.quoted(said)}", f"create {names}")
    return one.says(
        f"it cannot start ({reason}): {finding.quoted(said)}",
        "correct the container's command, volumes or securityContext",
    )


def _newest_failure(one: Container, picture: Picture) -> str:
    told = picture.event(one.pod, "Failed", "FailedPostStartHook")
    return (told or {}).get("message") or ""


def is_missing(reference: sources.Reference, pod: Object, picture: Picture) -> bool:
    return not reference.optional and picture.is_missing(
        SOURCE_KINDS[reference.kind], reference.name, meta.namespace(pod)
    )


def _crashes(one: Container, picture: Picture) -> Finding | None:
    """It ends again and again, or has ended for good."""
    ended, waits = one.ended, one.waiting.get("reason")
    is_over = "terminated" in meta.part(one.status, "state")
    if not ended or not (is_over or waits == "CrashLoopBackOff"):
        return None
    count = one.status.get("restartCount", 0)
    again = f" and was restarted {finding.counted(count, 'time')}" if count else ""
    by_probe = next(iter(_told(one, picture, "Killing")), None)
    if by_probe and "liveness" in by_probe.get("message", "") and ended.get("exitCode"):
        probe = probe_text(meta.part(one.spec, "livenessProbe"))
        return _unhealthy(one, picture, f"it is killed{again}, since its liveness probe ({probe})")
    lines = picture.last_lines(one.pod, one.name, previous=not is_over)
    last = finding.written(lines) or ("; it wrote nothing" if lines is not None else "")
    message = f" ({finding.quoted(ended['message'])})" if ended.get("message") else ""
    return one.says(f"it ended {exit_text(ended)}{message}{again}{last}", _of_exit(ended, bool(lines)))


def exit_text(ended: Object) -> str:
    """with exit code 1 (…)"""
    code, reason = ended.get("exitCode", 0), ended.get("reason") or ""
    if reason == "OOMKilled":
        return f"with exit code {code}, since it took more memory than it may (OOMKilled)"
    signal = ended.get("signal") or (code - 128 if code > 128 else 0)
    meaning = EXITS.get(code) or (f"killed by {SIGNALS.get(signal, f'signal {signal}')}" if signal else "")
    return f"with exit code {code}" + (f" ({meaning})" if meaning else "")


def _of_exit(ended: Object, has_written: bool) -> str:
    code = ended.get("exitCode", 0)
    if ended.get("reason") == "OOMKilled":
        return "raise the container's resources.limits.memory, or let it use less"
    if code in EXITS:
        return "correct the container's command and args, or use an image that has that program"
    if code == 0:
        return "let its command stay in the foreground: a container of a pod that restarts must not end"
    if not has_written:
        return "let its command say what it lacks: it ends without a word"
    return "see the lines above, mend what they complain of, and roll the change out"


def _probe(one: Container, picture: Picture) -> Finding | None:
    """It runs, and is not ready or not started."""
    if not one.is_running:
        return None
    kind = "startup" if one.spec.get("startupProbe") and not one.status.get("started") else "readiness"
    if not one.spec.get(f"{kind}Probe"):
        return None
    return _unhealthy(one, picture, f"it runs, but its {kind} probe ({probe_text(one.spec[f'{kind}Probe'])})", kind)


def _unhealthy(one: Container, picture: Picture, says: str, kind: str = "liveness") -> Finding:
    told = _told(one, picture, "Unhealthy")
    newest = next((event for event in told if event.get("message", "").lower().startswith(kind)), None)
    if newest is None:
        return one.waits(f"{says} has not succeeded yet")
    output = finding.quoted(newest.get("message", "").partition(":")[2])
    times = newest.get("count") or meta.part(newest, "series").get("count") or 1
    said = f"{says} fails ({finding.counted(times, 'time')}); its last answer: {output}"
    return one.says(said, f"see what {one.name} lacks to answer, or correct its {kind}Probe")


def probe_text(probe: Object) -> str:
    if found := meta.part(probe, "httpGet"):
        return f"GET {(found.get('scheme') or 'HTTP').lower()}://:{found.get('port')}{found.get('path') or '/'}"
    if found := meta.part(probe, "tcpSocket"):
        return f"TCP port {found.get('port')}"
    if found := meta.part(probe, "grpc"):
        return f"gRPC port {found.get('port')}"
    return f"`{' '.join(meta.texts(probe, 'exec', 'command'))[:120]}`"


Cause = Callable[[Container, Picture], Finding | None]
CAUSES: tuple[Cause, ...] = (_image, _configuration, _crashes, _probe)
