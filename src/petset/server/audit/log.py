"""The audit log: a line of JSON for each stage of a request that the policy tells of (audit.k8s.io/v1 Event).

`Audit.begin` is told a request once it is known who asks and for what; its `Record` then of the answer, and of its end
when it streams. Lines are made and written by one thread, a batch at a time; whoever asks waits for nothing. Those
that wait are bounded, by number and by the bytes of their objects: what comes beyond that is lost, and the instance's
log says how many. Nothing is fsynced. The file is 0600; a full one is kept under a number beside a new one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import logging
import logging.handlers
import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any
from urllib.parse import unquote

from petset.base import tasks, telemetry, well_known
from petset.objects import documents, encoding, meta
from petset.server import endings, routes
from petset.server.access import auth, reviews
from petset.server.audit import policy
from petset.server.routes import Call
from petset.wire import http

log = logging.getLogger("petset.server")

WAITING_EVENTS_MAX = 10_000
WAITING_BYTES_MAX = 64 << 20  # Of the objects that they tell.
USER_AGENT_CHARACTERS_MAX = 1024
TARGET_CHARACTERS_MAX = 8192
HEADER = "audit-id"
NOBODY = http.User("")  # Whose credentials are refused.
NO_CREDENTIALS = "Authentication failed, no credentials provided"
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Settings:
    policy: policy.Policy
    path: str  # Of the file; STANDARD_OUTPUT for no file.
    size_bytes_max: int = 100 << 20  # Of the file.
    older_max: int = 5  # Files kept beside it.


@dataclass(frozen=True, slots=True)
class _Event:
    """One that waits for its line: what is known of it, and the bodies that it tells as they came."""

    fields: dict[str, Any]
    request: tuple[str, bytes] = ("", b"")  # (type, bytes)
    response: tuple[str, bytes] = ("", b"")
    objects: Any = None  # In the place of a response in bytes.
    omits_managed_fields: bool = False

    @property
    def size(self) -> int:
        return len(self.request[1]) + len(self.response[1])


class Audit:
    def __init__(self, settings: Settings, authorizer: auth.Authorizer):
        self.policy, self._settings, self.authorizer = settings.policy, settings, authorizer
        self._waiting: deque[_Event] = deque()
        self._bytes = self._lost = self._told = self._lost_ever = 0
        self._wake = asyncio.Event()

    def begin(self, call: Call, asking: http.User) -> Record | None:
        """A request, before it is known whether it is allowed; None when nothing is told of it.

        NOBODY asks where credentials are refused: of that is told once, as it is answered.
        """
        decision = self.policy.decide(asking, routes.attributes(call))
        if decision.level == policy.NONE:
            return None
        record = Record(self, decision, call, asking)
        if asking is not NOBODY:
            record.tell(policy.RECEIVED)
        return record

    def samples(self) -> Iterator[telemetry.Sample]:
        yield "apiserver_audit_event_total", (), self._told
        yield "apiserver_audit_error_total", ("log",), self._lost_ever

    def add(self, event: _Event) -> None:
        self._told += 1
        if len(self._waiting) >= WAITING_EVENTS_MAX or self._bytes + event.size > WAITING_BYTES_MAX:
            self._lost += 1
            self._lost_ever += 1
        else:
            self._waiting.append(event)
            self._bytes += event.size
        self._wake.set()

    async def keep(self) -> None:
        """Write what comes, until cancelled; what waits then is written first."""
        settings, thread = self._settings, tasks.Thread("petset-audit")
        size, older = settings.size_bytes_max, settings.older_max
        file: logging.Handler
        if settings.path == STANDARD_OUTPUT:
            file = logging.StreamHandler(sys.stdout)
        else:
            file = _File(settings.path, maxBytes=size, backupCount=older, encoding="utf-8", delay=True)
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch, lost = self._taken()
                await thread.call(_write, file, batch)
                if lost:
                    log.warning("%d events of the audit log are lost: they came faster than they are written", lost)
        finally:
            thread.close()  # What it has begun ends first.
            _write(file, self._taken()[0])
            file.close()

    def _taken(self) -> tuple[list[_Event], int]:
        batch, lost = list(self._waiting), self._lost
        self._waiting.clear()
        self._bytes = self._lost = 0
        return batch, lost


class _File(logging.handlers.RotatingFileHandler):
    """What turns the file over when it is full."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding=self.encoding)


class Record:
    """A request on its way, as the audit log tells of it."""

    def __init__(self, audit: Audit, decision: policy.Decision, call: Call, asking: http.User):
        self._audit, self._decision, self._call = audit, decision, call
        request = call.request
        self.identifier = tasks.new_uid()
        self._fields: dict[str, Any] = {
            "kind": "Event",
            "apiVersion": f"{well_known.AUDIT_GROUP}/v1",
            "level": decision.level,
            "auditID": self.identifier,
            "stage": "",
            "requestURI": request.target[:TARGET_CHARACTERS_MAX],
            "verb": call.verb,
            "user": reviews.user_info(asking) if asking is not NOBODY else {},
            **({"impersonatedUser": reviews.user_info(call.user)} if call.user is not asking else {}),
            "sourceIPs": [request.peer.address or "127.0.0.1"],
            "userAgent": request.header("user-agent")[:USER_AGENT_CHARACTERS_MAX],
            **({"objectRef": reference} if (reference := _reference(call)) else {}),
            "requestReceivedTimestamp": tasks.rfc3339_micro(tasks.now()),
        }

    def tell(self, stage: str, response: http.Response | None = None) -> None:
        if stage in self._decision.omitted:
            return
        fields = {**self._fields, "stage": stage, "stageTimestamp": tasks.rfc3339_micro(tasks.now())}
        if response is None:
            self._audit.add(_Event(fields))
            return
        status: dict[str, Any] = {"metadata": {}, "code": response.code}
        fields["responseStatus"] = status
        if self._call.user is NOBODY:
            status["message"] = _attempted(self._call.request)
            self._audit.add(_Event(fields))
            return
        if annotations := self._annotations(response):
            fields["annotations"] = annotations
        request, answered, objects = ("", b""), ("", b""), None
        if self._decision.level in (policy.REQUEST, policy.REQUEST_RESPONSE) and self._call.route.resource is not None:
            asked = self._call.request
            request = asked.header("content-type"), asked.body
            if self._decision.level == policy.REQUEST_RESPONSE and stage != policy.STARTED:
                body = response.body if isinstance(response.body, bytes) else b""
                answered = response.header("content-encoding") or response.header("content-type"), body
                objects = response.objects if meta.is_struct(response.objects) else None
        self._audit.add(_Event(fields, request, answered, objects, self._decision.omits_managed_fields))

    def _annotations(self, response: http.Response) -> dict[str, str]:
        asked = routes.attributes(self._call)
        allowed = auth.is_master(self._call.user) or self._audit.authorizer.allows(self._call.user, asked)
        reason = self._audit.authorizer.reason(self._call.user, asked) if allowed else ""
        decision = {well_known.AUDIT_DECISION: "allow" if allowed else "forbid", well_known.AUDIT_REASON: reason}
        return {**decision, **self._call.audit_annotations}

    def answered(self, response: http.Response) -> http.Response:
        """Tell of the answer, which from now on has its id; one that streams is told of again at its end."""
        response = dataclasses.replace(response, headers=(*response.headers, (HEADER, self.identifier)))
        if self._call.user is NOBODY:
            self.tell(policy.STARTED, response)  # As upstream: the one stage of what is refused so.
            return response
        if endings.streams(response):
            self.tell(policy.STARTED, response)
            return endings.followed(response, lambda: lambda: self.tell(policy.COMPLETE, response))
        self.tell(policy.PANIC if response.code == 500 else policy.COMPLETE, response)
        return response


def _attempted(request: http.Request) -> str:
    """By what a client whose credentials are refused has said who he is."""
    scheme, _, rest = request.header("authorization").strip().partition(" ")
    tried = [name for name in ("basic", "bearer") if scheme.lower() == name and rest.strip()]
    if request.peer.front_proxy is not None:
        tried.append("x509")
    return f"Authentication failed, attempted: {', '.join(tried)}" if tried else NO_CREDENTIALS


def _reference(call: Call) -> dict[str, str]:
    route, kind = call.route, call.route.resource
    if kind is None:
        return {}
    named = {
        "resource": kind.plural,
        "namespace": route.namespace,
        "name": unquote(route.name),
        "apiGroup": kind.group,
        "apiVersion": kind.version,
        "subresource": route.subresource,
    }
    return {key: value for key, value in named.items() if value}


# -- In the thread


def _write(file: logging.Handler, batch: list[_Event]) -> None:
    for event in batch:
        file.emit(logging.makeLogRecord({"msg": _line(event)}))


def _line(event: _Event) -> str:
    fields = event.fields
    for name, (kind, data), tree in (
        ("requestObject", event.request, None),
        ("responseObject", event.response, event.objects),
    ):
        found = tree if tree is not None else _read(kind, data)
        if found is not None:
            fields = {**fields, name: _shown(found, event.omits_managed_fields)}
    return encoding.dumps(fields).decode()


def _read(kind: str, data: bytes) -> Any:
    """What a body says; None for one that says nothing that can be told."""
    try:
        if kind == "gzip":
            data = gzip.decompress(data)
        if not data:
            return None
        return documents.load(data) if "yaml" in kind else encoding.loads_answer(data)
    except (ValueError, OSError):
        return None


def _shown(obj: Any, omits_managed_fields: bool) -> Any:
    if not omits_managed_fields or not meta.is_struct(obj):
        return obj
    if items := meta.parts(obj, "items"):
        return {**obj, "items": [_shown(item, True) for item in items]}
    return meta.without(obj, ("metadata", "managedFields"))
