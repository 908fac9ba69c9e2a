"""Logs, exec, attach and port-forward: the API's side of what happens in a pod's containers.

The pod and the container are looked up and judged here, from the API's own objects, so that a wrong request has its
answer before any connection is upgraded; the rest is the node's, behind `streaming.NodeStreams`. A log is text, or
messages for who asks for WebSocket. Exec, attach and port-forward need WebSocket, or SPDY as older clients speak it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from petset.base import tasks, well_known
from petset.kinds import pod_phase, transient
from petset.kinds.pod import PODS
from petset.kinds.pod_spec import pod_containers
from petset.objects import errors, meta
from petset.objects.meta import Object
from petset.objects.registry import Kind
from petset.server import writes
from petset.server.admission.asking import Others
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import channels, http, streaming

LOG_HEADERS: http.Headers = (("content-type", "text/plain"),)


class Streams:
    def __init__(self, store: stores.Store, streams_of: streaming.StreamsOf, others: Others):
        self._store, self._streams_of, self._others = store, streams_of, others

    def _node(self, pod: Object) -> streaming.NodeStreams:
        """The streams of the node that the pod is bound to. Raises ApiError."""
        try:
            return self._streams_of(meta.get(pod, "spec", "nodeName", default=""))
        except streaming.StreamError as error:
            raise stream_failure(error) from None

    async def _admitted(self, call: Call, kind: Kind, options: Object) -> None:
        """Raises ApiError."""
        await self._others.connected(writes.of_connection(call, call.route.name), kind, options)

    def _pod(self, call: Call) -> Object:
        found = self._store.get(PODS.key(call.route.namespace, call.route.name))
        if found is None:
            raise errors.not_found("pods", call.route.name)
        return found.object

    async def log(self, call: Call) -> http.Response:
        pod = self._pod(call)
        container = chosen_container(pod, call.parameter("container"))
        options = log_options(call)
        check_has_log(pod, container, options.previous)
        node, uid = self._node(pod), meta.uid(pod)
        try:
            # What can go wrong goes wrong at the first step, before the answer begins.
            async for _ in node.logs(uid, container, replace(options, follow=False, tail_lines=0)):
                pass
        except streaming.StreamError as error:
            raise stream_failure(error) from None
        pieces = _bounded(node.logs(uid, container, options), options.limit_bytes)
        if call.request.header("upgrade").lower() != "websocket":
            return http.Response(200, LOG_HEADERS, pieces)
        from petset.server.pods import log_messages, websocket_channels

        return websocket_channels.accept(call, channels.LOGS, lambda messages: log_messages.serve(messages, pieces))

    async def exec(self, call: Call) -> http.Response:
        pod = self._pod(call)
        container = chosen_container(pod, call.parameter("container"))
        check_is_running(pod, container, "exec into")
        command = tuple(call.query.get("command", ()))
        if not command or not command[0]:
            raise errors.bad_request("you must specify at least 1 command for the container")
        options = exec_options(call, command)
        await self._others.connected(
            writes.of_connection(call, meta.name(pod)), transient.EXEC, _shown(options, container)
        )
        return self._upgraded(call, pod, lambda node: node.exec(meta.uid(pod), container, options), options)

    async def attach(self, call: Call) -> http.Response:
        pod = self._pod(call)
        container = chosen_container(pod, call.parameter("container"))
        check_is_running(pod, container, "attach to")
        options = exec_options(call, ())
        wanted = _container(pod, container)
        options = replace(options, tty=options.tty and bool(wanted.get("tty")))
        await self._others.connected(
            writes.of_connection(call, meta.name(pod)), transient.ATTACH, _shown(options, container)
        )
        return self._upgraded(call, pod, lambda node: node.attach(meta.uid(pod), container, options), options)

    async def portforward(self, call: Call) -> http.Response:
        pod = self._pod(call)
        if not meta.get(pod, "spec", "nodeName"):
            raise errors.bad_request(f"pod {meta.name(pod)} does not have a host assigned")
        ports = [int(text) for text in call.query.get("ports", ()) if text.isascii() and text.isdigit()]
        about: Object = {"ports": ports} if ports else {}
        await self._admitted(call, transient.PORT_FORWARD, about)
        node, uid = self._node(pod), meta.uid(pod)
        if not call.request.header("upgrade"):
            raise errors.bad_request("Upgrade request required: port-forward needs a WebSocket or SPDY connection")
        from petset.server.pods import portforward

        return portforward.accept(call, f"{meta.name(pod)}, uid {uid}", lambda port: node.connect(uid, port))

    def _upgraded(
        self,
        call: Call,
        pod: Object,
        start: Callable[[streaming.NodeStreams], Awaitable[streaming.Session]],
        options: streaming.ExecOptions,
    ) -> http.Response:
        upgrade = call.request.header("upgrade").lower()
        node = self._node(pod)
        if not upgrade:
            raise errors.bad_request("Upgrade request required: exec and attach need a WebSocket or SPDY connection")
        from petset.server.pods import remotecommand, spdy_streams, websocket_channels

        async def serve_spdy(connection: spdy_streams.Connection, protocol: str) -> None:
            streams = spdy_streams.Channels(connection, protocol)
            if await streams.open(options):
                await remotecommand.serve(streams, lambda: start(node), options)

        if upgrade != "websocket":
            return spdy_streams.accept(call, spdy_streams.SESSIONS, serve_spdy)

        async def serve(messages: websocket_channels.Messages) -> None:
            transport = websocket_channels.Channels(messages)
            await transport.send(remotecommand.first_channel(options), b"")
            await remotecommand.serve(transport, lambda: start(node), options)

        return websocket_channels.accept(call, channels.SESSIONS, serve)


def _shown(options: streaming.ExecOptions, container: str) -> Object:
    """As admission is told of them."""
    switches = {key: True for key in ("stdin", "stdout", "stderr", "tty") if getattr(options, key)}
    command = {"command": list(options.command)} if options.command else {}
    return {**switches, "container": container, **command}


async def _bounded(pieces: AsyncIterator[bytes], most: int | None) -> AsyncGenerator[bytes, None]:
    """The log up to limitBytes, then no more; a log that breaks off says so in its last line."""
    left = most
    try:
        async for piece in pieces:
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            yield piece
            if left is not None and left <= 0:
                return
    except streaming.StreamError as error:
        yield f"cannot go on with the log: {error.message}\n".encode()
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def stream_failure(error: streaming.StreamError) -> errors.ApiError:
    reasons = {400: "BadRequest", 404: "NotFound", 409: "Conflict", 503: "ServiceUnavailable"}
    return errors.ApiError(error.code, reasons.get(error.code, "InternalError"), error.message)


def _container(pod: Object, name: str) -> Object:
    nothing: Object = {}
    return next((one for one in pod_containers.every(meta.part(pod, "spec")) if one.get("name") == name), nothing)


def _names(pod: Object, field: str) -> Sequence[str]:
    return [container["name"] for container in meta.get(pod, "spec", field, default=())]


def chosen_container(pod: Object, wanted: str) -> str:
    """The container that is meant: the one named, annotated as default, or the only one. Raises ApiError 400."""
    if wanted:
        if not _container(pod, wanted):
            raise errors.bad_request(f"container {wanted[:100]} is not valid for pod {meta.name(pod)}")
        return wanted
    names, first = _names(pod, "containers"), _names(pod, "initContainers")
    annotated = meta.annotations(pod).get(well_known.DEFAULT_CONTAINER_ANNOTATION, "")
    if annotated in names:
        return annotated
    if len(names) == 1:
        return names[0]
    more = f" or one of the init containers: [{' '.join(first)}]" if first else ""
    raise errors.bad_request(
        f"a container name must be specified for pod {meta.name(pod)}, choose one of: [{' '.join(names)}]{more}"
    )


def _status(pod: Object, container: str) -> Object | None:
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in meta.get(pod, "status", field, default=()):
            if status.get("name") == container:
                return status
    return None


def check_is_running(pod: Object, container: str, doing: str) -> None:
    """Raises ApiError 400 for a pod that has not begun or has ended."""
    if pod_phase.has_ended(pod):
        phase = pod["status"]["phase"]
        raise errors.bad_request(f"cannot {doing} a container in a completed pod; current phase is {phase}")
    if not meta.get(pod, "spec", "nodeName"):
        raise errors.bad_request(f"pod {meta.name(pod)} does not have a host assigned")


def check_has_log(pod: Object, container: str, previous: bool) -> None:
    """Raises ApiError 400 for a container that has not begun."""
    name = meta.name(pod)
    if not meta.get(pod, "spec", "nodeName"):
        raise errors.bad_request(f"pod {name} does not have a host assigned")
    status = _status(pod, container) or {}
    ran_before = bool(meta.get(status, "lastState", "terminated")) or (status.get("restartCount") or 0) > 0
    waiting = meta.get(status, "state", "waiting")
    if previous and status and not ran_before:
        raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    if waiting is not None and not ran_before:
        reason = waiting.get("reason") or "ContainerCreating"
        message = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}
        raise errors.bad_request(
            f'container "{container}" in pod "{name}" is waiting to start: {message.get(reason, reason)}'
        )


def exec_options(call: Call, command: tuple[str, ...]) -> streaming.ExecOptions:
    """Raises ApiError 400."""
    tty = call.flag("tty")
    options = streaming.ExecOptions(
        command, stdin=call.flag("stdin"), stdout=call.flag("stdout"), stderr=call.flag("stderr") and not tty, tty=tty
    )
    if not (options.stdin or options.stdout or options.stderr):
        raise errors.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return options


def log_options(call: Call) -> streaming.LogOptions:
    """Raises ApiError 400 or 422."""
    seconds, time = call.number("sinceSeconds"), call.parameter("sinceTime")
    wrong: list[errors.FieldError] = []
    if seconds is not None and time:
        wrong.append(
            errors.FieldError.forbidden("sinceSeconds", "at most one of `sinceTime` or `sinceSeconds` may be given")
        )
    if seconds == 0:
        wrong.append(errors.FieldError.invalid("sinceSeconds", 0, "must be greater than 0"))
    if time:
        try:
            tasks.parse_rfc3339(time)
        except ValueError:
            wrong.append(errors.FieldError.invalid("sinceTime", time[:60], "must be an RFC 3339 time"))
    limit = call.number("limitBytes")
    if limit == 0:
        wrong.append(errors.FieldError.invalid("limitBytes", 0, "must be greater than 0"))
    if wrong:
        raise errors.invalid("PodLogOptions", "", wrong)
    return streaming.LogOptions(
        follow=call.flag("follow"),
        previous=call.flag("previous"),
        timestamps=call.flag("timestamps"),
        tail_lines=call.number("tailLines"),
        since_seconds=seconds,
        since_time=time or None,
        limit_bytes=limit,
    )
