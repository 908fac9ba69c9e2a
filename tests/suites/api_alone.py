"""`python -m tests.suites.api_alone DIRECTORY [--controllers]`: the API server without nodes, as others start one.

envtest switches the admission of service accounts off, since nobody there makes a namespace's account: so does this,
and so does kubectl's own script, whose controllers run (but no scheduler) and whose administrator has a token that
everybody knows. Otherwise it is the server of tests/clients/serve.py, which says what it writes into the directory.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from petset import cluster
from petset.server import bootstrap
from petset.server.access import auth, users
from petset.server.admission import admission, pod_admission
from petset.wire import http
from tests.clients import serve

TOKEN, ADMINISTRATOR = "admin-token", http.User("admin", (users.MASTERS,), "admin")

PLAN = bootstrap.Plan("10.0.0.1", "10.0.0.10", "127.0.0.1", 6443, "10.0.0.0/24")  # As kubectl's own script has it.

if __name__ == "__main__":
    admission.HOOKS = tuple(row for row in admission.HOOKS if row[2] is not pod_admission.service_account)
    token_user = auth.Authenticator.token_user
    auth.Authenticator.token_user = lambda self, token, audiences: (  # type: ignore[method-assign]
        ADMINISTRATOR if token == TOKEN else token_user(self, token, audiences)
    )

    async def idle(client: object) -> None:
        await asyncio.Event().wait()

    cluster.scheduler = lambda *given: cluster.Program("scheduler", cluster.SCHEDULER, idle, "kube-scheduler")
    uvloop.run(serve.serve(Path(sys.argv[1]), controllers="--controllers" in sys.argv, plan=PLAN))
