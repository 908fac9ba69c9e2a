"""`python -m tests.suites.api_alone DIRECTORY`: the API server without nodes and controllers, as envtest starts one.

envtest switches the admission of service accounts off, since nobody there makes a namespace's account: so does this.
Otherwise it is the server of tests/clients/serve.py, which says what it writes into the directory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvloop

from petset.server.admission import admission, pod_admission
from tests.clients import serve

if __name__ == "__main__":
    admission.HOOKS = tuple(row for row in admission.HOOKS if row[2] is not pod_admission.service_account)
    uvloop.run(serve.serve(Path(sys.argv[1]), controllers=False))
