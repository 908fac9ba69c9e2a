"""Probes: when they are due (pure), how they are made, and what a run of results means (pure).

A probe follows a grid of periodSeconds that begins at the container's start plus initialDelaySeconds. A container that
has never passed is looked at right then and in between, after growing gaps (50 ms, 100 ms, ... up to the period), so
that a pet that is up in a second need not wait ten; a failure in between counts for nothing.
`begin`, `next_at` and `after` are the whole schedule; `Prober` makes one attempt.

Invariants: failures count only on the grid; once passed there are no extra looks; a probe never outlives its
timeoutSeconds. Commands are not expanded. Follows: the page "Configure Liveness, Readiness and Startup Probes".
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol
from urllib.parse import urljoin, urlsplit

import petset
from petset.base import pki
from petset.objects import meta
from petset.objects.meta import Object
from petset.wire import streaming

Kind = Literal["startup", "readiness", "liveness"]
EARLY_GAP_SECONDS_MIN = 0.05
PERIOD_SECONDS_DEFAULT, TIMEOUT_SECONDS_DEFAULT = 10, 1
SUCCESS_THRESHOLD_DEFAULT, FAILURE_THRESHOLD_DEFAULT = 1, 3
OUTPUT_BYTES_MAX = 10 * 1024
HEADER_BYTES_MAX = 64 * 1024
REDIRECTS_MAX = 10
USER_AGENT = f"kube-probe/{'.'.join(petset.KUBERNETES_VERSION)}"


# ---- the schedule


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one probe of one container stands."""

    kind: Kind
    next_on_grid: float
    next_early: float | None  # None: no look before the grid's next.
    gap: float
    passed: bool
    ever_passed: bool
    successes: int = 0
    failures: int = 0


def period_seconds(probe: Object) -> float:
    return float(probe.get("periodSeconds") or PERIOD_SECONDS_DEFAULT)


def timeout_seconds(probe: Object) -> float:
    return float(probe.get("timeoutSeconds") or TIMEOUT_SECONDS_DEFAULT)


def failure_threshold(probe: Object) -> int:
    return int(probe.get("failureThreshold") or FAILURE_THRESHOLD_DEFAULT)


def begin(kind: Kind, probe: Object, started_at: float, now: float, passed: bool = False) -> Progress:
    """The state before the first attempt; `passed` when it is known to have passed before (adopted containers)."""
    first = max(started_at + float(probe.get("initialDelaySeconds") or 0), now)
    if passed or kind == "liveness":
        return Progress(kind, first, None, EARLY_GAP_SECONDS_MIN, True, True)
    # failureThreshold times periodSeconds is the time to start up, so the first failure counts after one period.
    return Progress(kind, first + period_seconds(probe), first, EARLY_GAP_SECONDS_MIN, False, False)


def next_at(progress: Progress) -> float:
    if progress.next_early is None:
        return progress.next_on_grid
    return min(progress.next_on_grid, progress.next_early)


def after(progress: Progress, probe: Object, ok: bool, began: float, ended: float) -> tuple[Progress, bool]:
    """The state after an attempt, and whether it was one of the grid (its failure counts and is told)."""
    period = period_seconds(probe)
    on_grid = began >= progress.next_on_grid
    grid = progress.next_on_grid
    if on_grid:
        grid += period * (int((ended - grid) // period) + 1)  # Times that passed meanwhile are left out.
    successes = progress.successes + 1 if ok else 0
    failures = 0 if ok else progress.failures + on_grid
    passed = progress.passed
    if ok and successes >= int(probe.get("successThreshold") or SUCCESS_THRESHOLD_DEFAULT):
        passed = True
    if failures >= failure_threshold(probe):
        passed = False
    early, gap = None, progress.gap
    if not ok and not progress.ever_passed and not passed:
        early = progress.next_early
        if early is None or early <= began:
            early, gap = max(began + gap, ended), min(gap * 2, period)
    return (
        replace(
            progress,
            next_on_grid=grid,
            next_early=early,
            gap=gap,
            passed=passed,
            ever_passed=progress.ever_passed or passed,
            successes=successes,
            failures=failures,
        ),
        on_grid,
    )


# ---- one attempt


@dataclass(frozen=True, slots=True)
class Outcome:
    ok: bool
    message: str = ""


class Attempts(Protocol):
    """Makes attempts; the simulation brings its own."""

    async def probe(self, pod: Object, container: Object, probe: Object, ip: str) -> Outcome: ...

    async def hook(self, pod: Object, container: Object, handler: Object, ip: str) -> Outcome: ...


class Prober:
    """Makes attempts against real containers: commands through the runtime, the rest over the network."""

    def __init__(self, streams: streaming.NodeStreams):
        self._streams = streams

    async def probe(self, pod: Object, container: Object, probe: Object, ip: str) -> Outcome:
        seconds = timeout_seconds(probe)
        try:
            async with asyncio.timeout(seconds):
                return await self._attempt(pod, container, probe, ip)
        except TimeoutError:
            return Outcome(False, f"no answer within {seconds:g}s")

    async def hook(self, pod: Object, container: Object, handler: Object, ip: str) -> Outcome:
        """A lifecycle handler, to its end: whoever calls bounds the time."""
        if handler.get("sleep") is not None:
            await asyncio.sleep(float(handler["sleep"].get("seconds") or 0))
            return Outcome(True)
        return await self._attempt(pod, container, handler, ip)

    async def _attempt(self, pod: Object, container: Object, action: Object, ip: str) -> Outcome:
        try:
            if action.get("exec") is not None:
                command = tuple(action["exec"].get("command") or ())
                return await run_command(self._streams, meta.uid(pod), container["name"], command)
            if action.get("httpGet") is not None:
                return await _http_get(container, action["httpGet"], ip)
            if action.get("tcpSocket") is not None:
                source = action["tcpSocket"]
                return await _connect(source.get("host") or ip, port_number(container, source.get("port")))
            if action.get("grpc") is not None:
                return await _check_health(action["grpc"], ip)
        except ValueError as error:
            return Outcome(False, str(error))
        return Outcome(False, "cannot probe: it names no exec, httpGet, tcpSocket or grpc")


async def run_command(streams: streaming.NodeStreams, pod_uid: str, container: str, command: Sequence[str]) -> Outcome:
    """A command in a container: ok when it exits with 0; the message is the start of what it printed."""
    try:
        session = await streams.exec(pod_uid, container, streaming.ExecOptions(tuple(command)))
    except streaming.StreamError as error:
        return Outcome(False, error.message)
    output = bytearray()
    try:
        async for _, data in session.output():
            output += data[: OUTPUT_BYTES_MAX - len(output)]
        code = await session.exit_code()
    except streaming.StreamError as error:
        return Outcome(False, error.message)
    finally:
        await session.close()
    text = output.decode(errors="replace")
    return Outcome(code == 0, text if text or code == 0 else f"command exited with {code}")


def port_number(container: Object, port: object) -> int:
    """A probe's port: a number, or the name of one of the container's ports. Raises ValueError."""
    if isinstance(port, int):
        number = port
    elif isinstance(port, str) and port.isdigit():
        number = int(port)
    else:
        named = [one["containerPort"] for one in container.get("ports") or () if one.get("name") == port]
        if not named:
            raise ValueError(f"couldn't find port: {port!r} in the container's ports")
        number = named[0]
    if not 0 < number < 65536:
        raise ValueError(f"invalid port number: {number}")
    return number


async def _connect(host: str, port: int) -> Outcome:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome(False, f"dial tcp {host}:{port}: {_why(error)}")
    writer.close()
    return Outcome(True)


def _why(error: OSError) -> str:
    return "connect: connection refused" if isinstance(error, ConnectionRefusedError) else str(error.strerror or error)


# ---- gRPC


async def _check_health(source: Object, ip: str) -> Outcome:
    """The answer of a server's health service about one of its services, or, without a name, about the server."""
    from petset.wire import grpc_health

    authority = f"{_bracketed(ip)}:{source['port']}"
    check = grpc_health.Check(authority, source.get("service") or "", USER_AGENT)
    try:
        reader, writer = await asyncio.open_connection(ip, source["port"])
        try:
            answer = None
            while answer is None:
                writer.write(check.outgoing())
                answer = check.feed(await reader.read(grpc_health.RECEIVED_BYTES_MAX))
        finally:
            writer.close()
    except OSError as error:
        return Outcome(False, f'error: failed to connect service at "{authority}": {_why(error)}')
    except ValueError as error:
        return Outcome(False, f"error: health rpc probe failed: {error}")
    if answer.code == grpc_health.UNIMPLEMENTED:
        why = "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"
        return Outcome(False, f"{why}: {answer.message}")
    if answer.code != grpc_health.OK:
        return Outcome(False, f"error: health rpc probe failed: code {answer.code}: {answer.message}")
    if answer.service_status != grpc_health.SERVING:
        return Outcome(False, f'service unhealthy (responded with "{answer.service_status}")')
    return Outcome(True, "service healthy")


# ---- HTTP


async def _http_get(container: Object, source: Object, ip: str) -> Outcome:
    scheme = (source.get("scheme") or "HTTP").lower()
    host, port = source.get("host") or ip, port_number(container, source.get("port"))
    path = source.get("path") or "/"
    url = f"{scheme}://{_bracketed(host)}:{port}{path if path.startswith('/') else '/' + path}"
    headers = [(one["name"], one.get("value") or "") for one in source.get("httpHeaders") or ()]
    for _ in range(REDIRECTS_MAX):
        try:
            code, location, body = await _request(url, headers)
        except OSError as error:
            return Outcome(False, f'Get "{url}": dial tcp {_bracketed(host)}:{port}: {_why(error)}')
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            return Outcome(False, f'Get "{url}": {error}')
        if code in (301, 302, 303, 307, 308) and location:
            target = urljoin(url, location)
            if urlsplit(target).hostname != urlsplit(url).hostname:
                return Outcome(True, f"it redirects to another host, which is not followed: {target}")
            url = target
            continue
        if 200 <= code < 400:
            return Outcome(True, body)
        return Outcome(False, f"HTTP probe failed with statuscode: {code}")
    return Outcome(False, f'Get "{url}": stopped after {REDIRECTS_MAX} redirects')


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _request(url: str, headers: Sequence[tuple[str, str]]) -> tuple[int, str, str]:
    """(status, location, start of the body) of one GET."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    # A probe asks for life, not for identity.
    context = pki.unverified_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, port, ssl=context, server_hostname="" if context else None, limit=HEADER_BYTES_MAX
    )
    try:
        given = {name.lower(): value for name, value in headers}
        lines = [f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        lines.append(f"Host: {given.get('host') or parts.netloc}")
        lines += [f"{name}: {value}" for name, value in headers if name.lower() not in ("host", "connection")]
        for name, value in (("User-Agent", USER_AGENT), ("Accept", "*/*")):
            if name.lower() not in given:
                lines.append(f"{name}: {value}")
        lines += ["Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        words = head[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            raise ValueError(f"malformed HTTP response {head[0][:80]!r}")
        location = next((line.partition(":")[2].strip() for line in head if line.lower().startswith("location:")), "")
        body = await reader.read(OUTPUT_BYTES_MAX)
        return int(words[1]), location, body.decode(errors="replace")
    finally:
        writer.close()
