"""The audit log: a line of JSON for each stage of a request that the policy tells of (audit.k8s.io/v1 Event).

`Audit.begin` is told a request once it is known who asks and for what; its `Record` then of the answer, and of its end
when it streams. Events go into a file, to a webhook (webhook.py), or both, and whoever asks waits for neither. Lines of
the file are made and written by one thread, a batch at a time; what comes faster is lost, and the instance's log says
how many. Nothing is fsynced. The file is 0600; a full one is kept under a number beside a new one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import logging.handlers
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any
from urllib.parse import unquote

from petset.base import tasks, telemetry, well_known
from petset.objects import meta
from petset.server import endings, routes
from petset.server.access import auth, reviews
from petset.server.audit import policy, webhook
from petset.server.audit.event import Event, Waiting, line
from petset.server.routes import Call
from petset.wire import http

log = logging.getLogger("petset.server")

USER_AGENT_CHARACTERS_MAX = 1024
TARGET_CHARACTERS_MAX = 8192
HEADER = "audit-id"
NOBODY = http.User("")  # Whose credentials are refused.
NO_CREDENTIALS = "Authentication failed, no credentials provided"
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Settings:
    policy: policy.Policy
    path: str  # Of the file; STANDARD_OUTPUT for no file, "": it is not written.
    size_bytes_max: int = 100 << 20  # Of the file.
    older_max: int = 5  # Files kept beside it.
    webhook: webhook.Settings | None = None  # To whom it is sent.


class Audit:
    def __init__(self, settings: Settings, authorizer: auth.Authorizer):
        self.policy, self._settings, self.authorizer = settings.policy, settings, authorizer
        self._told = 0
        self._for_file = Waiting() if settings.path else None
        self._webhook = webhook.Backend(settings.webhook) if settings.webhook is not None else None

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
        if self._for_file is not None:
            yield "apiserver_audit_error_total", ("log",), self._for_file.lost_ever
        if self._webhook is not None:
            yield "apiserver_audit_error_total", ("buffered",), self._webhook.waiting.lost_ever
            yield "apiserver_audit_error_total", ("webhook",), self._webhook.failed_ever

    def add(self, event: Event) -> None:
        self._told += 1
        if self._for_file is not None:
            self._for_file.add(event)
        if self._webhook is not None:
            self._webhook.waiting.add(event)

    async def keep(self) -> None:
        """Write and send what comes, until cancelled; what waits then is written and sent first."""
        async with asyncio.TaskGroup() as group:
            if self._webhook is not None:
                tasks.spawn(group, self._webhook.keep(), "the audit log's webhook")
            if self._for_file is not None:
                await self._keep_file(self._for_file)

    async def _keep_file(self, waiting: Waiting) -> None:
        settings, thread = self._settings, tasks.Thread("petset-audit")
        size, older = settings.size_bytes_max, settings.older_max
        file: logging.Handler
        if settings.path == STANDARD_OUTPUT:
            file = logging.StreamHandler(sys.stdout)
        else:
            file = _File(settings.path, maxBytes=size, backupCount=older, encoding="utf-8", delay=True)
        try:
            while True:
                await waiting.come()
                batch, lost = waiting.taken()
                await thread.call(_write, file, batch)
                if lost:
                    log.warning("%d events of the audit log are lost: they came faster than they are written", lost)
        finally:
            thread.close()  # What it has begun ends first.
            _write(file, waiting.taken()[0])
            file.close()


class _File(logging.handlers.RotatingFileHandler):
    """What turns the file over when it is full."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(os.fdopen(descriptor, "ab"), encoding=self.encoding)


def _write(file: logging.Handler, batch: list[Event]) -> None:
    """In the thread."""
    for event in batch:
        file.emit(logging.makeLogRecord({"msg": line(event).decode()}))


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
            self._audit.add(Event(fields))
            return
        status: dict[str, Any] = {"metadata": {}, "code": response.code}
        fields["responseStatus"] = status
        if self._call.user is NOBODY:
            status["message"] = _attempted(self._call.request)
            self._audit.add(Event(fields))
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
        self._audit.add(Event(fields, request, answered, objects, self._decision.omits_managed_fields))

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
