"""The audit log's webhook: what is sent when, what is sent again, what is lost and counted."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from petset import cluster
from petset.cli.failures import CommandError
from petset.cli.given import auditing
from petset.net import listener
from petset.server.audit import log, webhook
from petset.store import memory
from petset.wire import http
from tests.cli.test_audit import given
from tests.server.audit.test_audit import asked, policy_of

EVERYTHING = policy_of({"level": "RequestResponse"}, omitStages=["RequestReceived"])


class Receiver:
    """Another server that is posted to; `codes` are its next answers, 200 after those."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.requests: list[http.Request] = []
        self.batches: list[list[Any]] = []
        self.came = asyncio.Event()
        self.held: asyncio.Event | None = None

    async def handle(self, request: http.Request) -> http.Response:
        code = self.codes.pop(0) if self.codes else 200
        self.requests.append(request)
        self.came.set()
        if self.held is not None:
            await self.held.wait()
        if code == 200:
            body = json.loads(request.body)
            assert (body["kind"], body["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
            self.batches.append(body["items"])
        return http.Response(code, (), b"")

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.came.clear()
            await asyncio.wait_for(self.came.wait(), 10)
            await asyncio.sleep(0)

    @property
    def events(self) -> list[Any]:
        return [event for batch in self.batches for event in batch]


Played = Callable[[Receiver, log.Audit, http.Handler], Awaitable[None]]


def play(played: Played, **settings: Any) -> Receiver:
    receiver = Receiver()

    async def main() -> None:
        async with listener.serve(receiver.handle) as serving:
            url = f"http://127.0.0.1:{serving.port}/audit"
            given = {"batch_seconds_max": 0.01, "backoff_first_seconds": 0.001, **settings}
            sent = webhook.Settings(url, headers=(("authorization", "Bearer t"),), **given)
            plane = cluster.ControlPlane(
                memory.MemoryStore(), cluster.Config(audit=log.Settings(EVERYTHING, "", webhook=sent))
            )
            await plane.begin()
            audit = plane.api.audit
            assert audit is not None
            keeping = asyncio.ensure_future(audit.keep())
            await asyncio.sleep(0)  # It begins.
            try:
                await asyncio.wait_for(played(receiver, audit, plane.handle), 20)
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                if receiver.held is not None:
                    receiver.held.set()

    asyncio.run(main())
    return receiver


def figures(audit: log.Audit) -> dict[str, float]:
    return {labels[0] if labels else "": float(value) for _, labels, value in audit.samples()}  # type: ignore[arg-type]


def test_events_are_sent_many_at_a_time() -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        receiver.held = asyncio.Event()
        body = {"metadata": {"name": "c"}, "data": {"k": "v"}}
        await handle(asked("POST", "/api/v1/namespaces/default/configmaps", body=body, content_type="application/json"))
        await receiver.until(lambda: len(receiver.requests) == 1)
        for _ in range(7):  # Meanwhile.
            assert (await handle(asked("GET", "/api/v1/namespaces/default/configmaps/c"))).code == 200
        receiver.held.set()
        await receiver.until(lambda: len(receiver.events) == 8)
        assert figures(audit) == {"": 8, "buffered": 0, "webhook": 0}

    receiver = play(played, batch_events_max=4)
    assert [len(batch) for batch in receiver.batches] == [1, 4, 3]
    first, request = receiver.events[0], receiver.requests[0]
    assert (request.method, request.target) == ("POST", "/audit")
    assert request.header("authorization") == "Bearer t" and request.header("content-type") == "application/json"
    assert (first["stage"], first["verb"], first["objectRef"]["resource"]) == (
        "ResponseComplete",
        "create",
        "configmaps",
    )
    assert first["requestObject"]["data"] == first["responseObject"]["data"] == {"k": "v"}


def test_a_full_batch_does_not_wait() -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        for _ in range(2):
            await handle(asked("GET", "/version"))
        await receiver.until(lambda: len(receiver.events) == 2)

    play(played, batch_events_max=2, batch_seconds_max=1000.0)


def test_what_is_not_taken_is_sent_again() -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        receiver.codes = [500, 429, 404]
        await handle(asked("GET", "/version"))
        await receiver.until(lambda: len(receiver.events) == 1)
        assert len(receiver.requests) == 4 and len({request.body for request in receiver.requests}) == 1
        assert figures(audit)["webhook"] == 0

    play(played)


def test_what_is_never_taken_is_lost_and_counted_and_the_next_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        receiver.codes = [500] * webhook.ATTEMPTS_MAX
        for _ in range(2):
            await handle(asked("GET", "/version"))
        await receiver.until(lambda: len(receiver.requests) == webhook.ATTEMPTS_MAX)
        await handle(asked("GET", "/api"))
        await receiver.until(lambda: len(receiver.events) == 1)
        assert receiver.events[0]["requestURI"] == "/api"
        assert figures(audit) == {"": 3, "buffered": 0, "webhook": 2}

    play(played, batch_events_max=2, batch_seconds_max=0.5)
    assert "2 events of the audit log are lost: the webhook answered 500" in caplog.text


def test_nobody_waits_for_a_webhook_that_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        receiver.held = asyncio.Event()
        await handle(asked("GET", "/version"))
        await receiver.until(lambda: len(receiver.requests) == 1)
        for _ in range(9):
            assert (await handle(asked("GET", "/version"))).code == 200
        assert figures(audit)["buffered"] == 6, "as many wait as may"
        receiver.held.set()
        await receiver.until(lambda: len(receiver.events) == 4)

    play(played, buffer_events_max=3)
    assert "6 events of the audit log are lost: they came faster than they are sent" in caplog.text


def test_what_waits_at_the_end_is_sent() -> None:
    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        for _ in range(3):
            await handle(asked("GET", "/version"))

    receiver = play(played, batch_seconds_max=1000.0)
    assert len(receiver.events) == 3


def test_what_cannot_be_sent_at_the_end_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "STOP_SECONDS_MAX", 0.05)

    async def played(receiver: Receiver, audit: log.Audit, handle: http.Handler) -> None:
        receiver.held = asyncio.Event()
        for _ in range(3):
            await handle(asked("GET", "/version"))

    with caplog.at_level(logging.WARNING):
        play(played, batch_seconds_max=1000.0)
    assert "3 events of the audit log are lost: they could not be sent within 0.05 seconds" in caplog.text


def test_how_often_it_is_sent() -> None:
    bucket = webhook.Bucket(10.0, 3)
    assert [round(bucket.wait_seconds(100.0), 6) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]
    assert [round(bucket.wait_seconds(101.0), 6) for _ in range(4)] == [0, 0, 0, 0.1]
    assert webhook.Bucket(0.0, 1).wait_seconds(0.0) == 0


# -- the flags ------------------------------------------------------------------------------------------------------

POLICY = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Metadata}]}"


def config(user: str = "{token: t}", **cluster: Any) -> str:
    made = json.dumps({"server": "https://10.1.2.3:8443/events", "insecure-skip-tls-verify": True, **cluster})
    return f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: a, user: u}}}}]
clusters: [{{name: other, cluster: {{server: "https://other"}}}}, {{name: a, cluster: {made}}}]
users: [{{name: u, user: {user}}}]
"""


def settings(directory: Path, text: str, *flags: str) -> webhook.Settings:
    (directory / "policy").write_text(POLICY)
    (directory / "config").write_text(text)
    named = (f"--audit-policy-file={directory}/policy", f"--audit-webhook-config-file={directory}/config")
    found = auditing.settings(given(*named, *flags))
    assert found is not None and found.path == "" and found.webhook is not None
    return found.webhook


def test_what_the_flags_say(tmp_path: Path) -> None:
    found = settings(tmp_path, config())
    assert (found.url, found.headers) == ("https://10.1.2.3:8443/events", (("authorization", "Bearer t"),))
    assert (found.buffer_events_max, found.batch_events_max, found.batch_seconds_max) == (10_000, 400, 30.0)
    assert (found.batches_a_second, found.burst_batches, found.backoff_first_seconds) == (10.0, 15, 10.0)
    flags = ("buffer-size=7", "max-size=5", "max-wait=1m30s", "throttle-qps=0.5", "throttle-burst=2")
    found = settings(
        tmp_path,
        config(**{"tls-server-name": "audit.example.com"}),
        *(f"--audit-webhook-batch-{flag}" for flag in flags),
        "--audit-webhook-initial-backoff=500ms",
        "--audit-webhook-mode=batch",
    )
    assert (found.url, found.address) == ("https://audit.example.com:8443/events", ("10.1.2.3", 8443))
    assert (found.buffer_events_max, found.batch_events_max, found.batch_seconds_max) == (7, 5, 90.0)
    assert (found.batches_a_second, found.burst_batches, found.backoff_first_seconds) == (0.5, 2, 0.5)
    assert settings(tmp_path, config(), "--audit-webhook-batch-throttle-enable=false").batches_a_second == 0
    (tmp_path / "token").write_text("from a file\n")
    for user, header in (
        ("{username: jane, password: p}", (("authorization", "Basic amFuZTpw"),)),
        ("{tokenFile: token}", (("authorization", "Bearer from a file"),)),
        ("{}", ()),
    ):
        assert settings(tmp_path, config(user)).headers == header


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "it is no kubeconfig"),
        ("a: [", "config"),
        ("{kind: Config, current-context: x}", "it has no context 'x'"),
        ("{kind: Config}", "it has no current-context"),
        (config().replace("cluster: a, user: u", "cluster: b, user: u"), "it has no cluster 'b'"),
        (config().replace("user: u", "user: v"), "it has no user 'v'"),
        (config("{exec: {command: x}}"), "it has exec in its user"),
        (config("{client-certificate-data: eA==}"), "one of a certificate and a key"),
        (config("{client-certificate-data: eA==, client-key-data: eA==}"), "a certificate or a key in it is none"),
        (config("{client-certificate-data: '*', client-key-data: eA==}"), "config"),
        (config("{client-certificate: absent, client-key: absent}"), "absent: No such file"),
        (config(server="ftp://x"), "is no http or https address"),
        (config(server=""), "its cluster has no server"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_said_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(CommandError) as wrong:
        settings(tmp_path, text)
    assert says in str(wrong.value) and "\n" not in str(wrong.value)


@pytest.mark.parametrize("flag", ["mode=blocking", "initial-backoff=soon", "batch-max-size=0", "batch-throttle-qps=0"])
def test_flags_that_mean_nothing(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        given(f"--audit-webhook-{flag}")
    assert f"--audit-webhook-{flag.partition('=')[0]}" in capsys.readouterr().err
