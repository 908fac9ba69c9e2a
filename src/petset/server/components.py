"""ComponentStatuses: the parts of the control plane, looked at when somebody asks (kinds/component_status.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from petset.kinds import component_status
from petset.kinds.component_status import COMPONENTSTATUSES
from petset.objects import encoding, errors
from petset.objects.meta import Object
from petset.server import answers, lists
from petset.server.routes import Call
from petset.store import store as stores
from petset.wire import http


class Components:
    def __init__(self, checks: Mapping[str, Callable[[], str]]):
        """`checks` say by name why a part is not well, "" when it is."""
        self._checks = checks

    async def answer(self, call: Call) -> http.Response:
        call.warnings.append(component_status.DEPRECATED)
        name = call.route.name
        if not name:
            wanted = lists.selection(call)
            return await answers.object_list(call, wanted.among([self._entry(one) for one in sorted(self._checks)]), {})
        if name not in self._checks:
            raise errors.not_found(COMPONENTSTATUSES.plural, name)
        return answers.entry(call, self._entry(name))

    def _entry(self, name: str) -> stores.Entry:
        obj: Object = component_status.of(name, self._checks[name]())
        return stores.Entry(COMPONENTSTATUSES.key("", name), 0, 0, encoding.dumps(obj), obj)
