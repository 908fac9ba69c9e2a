"""What a failed test shows of the cluster it used: sets and pets, other objects, warnings and events, and logs.

Of a namespace all that is in it; of a cluster the namespaces that are not its own. What matters comes first: what is
not ready, then warnings, then the rest. Every part has a limit of lines and the whole one of characters. What cannot be
asked any more is said and fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from petset.kinds.namespace import OF_EVERY_CLUSTER
from petset.objects import errors, meta
from petset.testing import shown
from petset.testing.failures import ClusterError
from petset.testing.verbs import Verbs

SECTION_CHARACTERS_MAX = 12_000
EVENT_LINES_MAX = 25
LOG_LINES_MAX = 20
LOGS_MAX = 4
ROWS_MAX = 20
NAMESPACES_MAX = 3
SIMULATED_LOG = "this container is simulated"
KINDS = ("deployments.apps", "daemonsets.apps", "jobs.batch", "pods", "persistentvolumeclaims", "services")


def sections(used: Sequence[Verbs]) -> list[tuple[str, str]]:
    """(heading, text) of what a test used; of a namespace rather than of the cluster that it is in."""
    own = [one for one in used if one.namespace != "default"] or list(used)
    found: list[tuple[str, str]] = []
    for one in own:
        try:
            spaces = [one.namespace] if one.namespace != "default" else _of_tests(one)
            found += [(f"petset: namespace {space}", _text(one, space)) for space in spaces[:NAMESPACES_MAX]]
        except (ClusterError, errors.ApiError, OSError) as error:
            found.append(("petset", f"cannot show what was there: {error}"))
    return found


def _of_tests(verbs: Verbs) -> list[str]:
    """Namespaces with anything in them that a test has made, `default` among them."""
    made = [name for name in verbs.list("namespaces").names if name not in OF_EVERY_CLUSTER or name == "default"]
    pods = {pod["metadata"]["namespace"]: None for pod in verbs.list("pods", all_namespaces=True)}
    return [name for name in made if name != "default" or name in pods or len(made) == 1]


def _text(verbs: Verbs, space: str) -> str:
    parts = [part for make in (_sets, _objects, _events, _logs) if (part := make(verbs, space))]
    text = "\n\n".join(parts) or "there is nothing in it"
    if len(text) > SECTION_CHARACTERS_MAX:
        text = text[:SECTION_CHARACTERS_MAX].rpartition("\n")[0] + f"\n... and {len(text)} characters in all"
    return text


def _sets(verbs: Verbs, space: str) -> str:
    sets = verbs.sets(namespace=space)
    return repr(sets) if len(sets) else ""


def _objects(verbs: Verbs, space: str) -> str:
    tables: list[str] = []
    for kind in KINDS:
        if found := verbs.list(kind, namespace=space):
            found.sort(key=_not_ready_first)
            tables.append(f"{kind}:\n{found.table(ROWS_MAX).text()}")
    return "\n\n".join(tables)


def _not_ready_first(obj: dict[str, Any]) -> bool:
    from petset.testing import ready

    return ready.is_ready(obj)


def _events(verbs: Verbs, space: str) -> str:
    events = verbs.events(namespace=space)
    warnings = [event for event in events if event.get("type") == "Warning"]
    others = [event for event in events if event.get("type") != "Warning"]
    rest = max(EVENT_LINES_MAX - len(warnings), EVENT_LINES_MAX // 3)
    chosen = sorted([*warnings[-EVENT_LINES_MAX:], *others[-rest:]], key=shown.event_time)
    more = len(events) - len(chosen)
    lines = [f"{shown.event_time(event)} {shown.event_line(event)}" for event in chosen]
    return "\n".join(["events:", *([f"... {more} others"] if more > 0 else []), *lines]) if lines else ""


def _logs(verbs: Verbs, space: str) -> str:
    told: list[str] = []
    pods = sorted(verbs.list("pods", namespace=space), key=_not_ready_first)
    for pod in pods[:LOGS_MAX]:
        for status in meta.parts(pod, "status", "containerStatuses"):
            is_fine = status.get("ready") and not status.get("restartCount")
            if is_fine and len(pods) > 1:
                continue
            for previous in (True, False) if status.get("restartCount") else (False,):
                name = str(status.get("name"))
                text = _quietly(lambda pod=pod, name=name, previous=previous: verbs.logs(
                    pod, name, namespace=space, tail=LOG_LINES_MAX, previous=previous
                ))  # fmt: skip
                if text.strip() and text.strip() != SIMULATED_LOG:
                    before = " before it was restarted" if previous else ""
                    told.append(f"log of {meta.name(pod)}, container {name}{before}:\n{text.rstrip()}")
    return "\n\n".join(told)


def _quietly(ask: Callable[[], str]) -> str:
    """What it says; nothing when it cannot be asked."""
    try:
        return ask()
    except (errors.ApiError, OSError):
        return ""
