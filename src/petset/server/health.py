"""/healthz, /livez and /readyz: whether the server is well, lives, and is to be sent requests.

Each is some of the same checks. What only another attempt can mend (a full disk) is no reason to restart the server,
so /livez does not ask for it; that the server is about to stop is told by /readyz alone, and first of all, so that
whoever balances requests sends no more. Each check has a path of its own below; ?verbose names all, ?exclude leaves one
out. Follows: "Kubernetes API health endpoints".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from petset.base import telemetry
from petset.server.routes import Call
from petset.wire import http

Check = Callable[[], str]  # "" or why it fails.

PROBES = ("healthz", "livez", "readyz")
HOOK = "poststarthook/"  # The names of what was to be done when the server began.
SHUTDOWN = "shutdown"


class Health:
    def __init__(self, checks: Mapping[str, Check]):
        self._checks: Mapping[str, Check] = {"ping": lambda: "", **checks}

    def of(self, probe: str) -> list[str]:
        """The checks that a probe asks for."""
        match probe:
            case "readyz":
                return list(self._checks)
            case "livez":
                return [name for name in self._checks if name == "ping" or name.startswith(HOOK)]
            case _:
                return [name for name in self._checks if name != SHUTDOWN]

    def samples(self) -> Iterator[telemetry.Sample]:
        """Each check's outcome now, by probe."""
        outcomes = {name: float(not check()) for name, check in self._checks.items()}
        for probe in PROBES:
            for name in self.of(probe):
                yield "kubernetes_healthcheck", (name, probe), outcomes[name]

    def answer(self, call: Call) -> http.Response | None:
        """None where there is no such check."""
        _, probe, *steps = call.route.path.split("/")
        named = "/".join(steps)
        if named and named not in self._checks:
            return None
        asked = [named] if named else self.of(probe)
        left_out = dict.fromkeys(call.query.get("exclude", ()))
        results = {name: self._checks[name]() for name in asked if name not in left_out}
        healthy = not any(results.values())
        if healthy and "verbose" not in call.query:
            return _text("ok")
        lines = [_line(name, results.get(name)) for name in asked]
        if unknown := [name for name in left_out if name not in asked]:
            shown = ", ".join(f'"{name[:100]}"' for name in unknown[:10])
            lines.append(f"warn: some health checks cannot be excluded: no matches for {shown}")
        return _text(
            "\n".join([*lines, f"{probe} check {'passed' if healthy else 'failed'}", ""]), 200 if healthy else 500
        )


def _line(name: str, why: str | None) -> str:
    if why is None:
        return f"[+]{name} excluded: ok"
    return f"[-]{name} failed: {why}" if why else f"[+]{name} ok"


def _text(text: str, code: int = 200) -> http.Response:
    headers = (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff"))
    return http.Response(code, headers, text.encode())
