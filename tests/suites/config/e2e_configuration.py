"""A pytest plugin: `<client>.e2e_test.base`, which the source archives of the Python clients leave out, for their tests
of the dynamic client. Its `get_e2e_configuration()` is a client configuration out of KUBECONFIG."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from types import ModuleType

CLIENTS = ("kubernetes", "kubernetes.aio", "kubernetes_asyncio")


def provide(client: str) -> None:
    def get_e2e_configuration():
        found = importlib.import_module(f"{client}.client").Configuration()
        loading = importlib.import_module(f"{client}.config").load_kube_config(client_configuration=found)
        if inspect.iscoroutine(loading):
            asyncio.run(loading)
        return found

    package, base = ModuleType(f"{client}.e2e_test"), ModuleType(f"{client}.e2e_test.base")
    package.base, base.get_e2e_configuration = base, get_e2e_configuration
    sys.modules |= {module.__name__: module for module in (package, base)}


for name in CLIENTS:
    provide(name)
