"""Which sysctls and profiles a pod may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from petset.node.pods import sysctls
from petset.node.pods.admission import Ledger


def pod(*names: str, **spec: Any) -> dict[str, Any]:
    context = {"sysctls": [{"name": name, "value": "1"} for name in names]}
    return {"metadata": {"uid": "a"}, "spec": {"securityContext": context, "containers": [], **spec}}


@pytest.mark.parametrize(
    ("given", "allowed", "said"),
    [
        (pod(), (), ""),
        (pod("net.ipv4.tcp_syncookies", "kernel/shm_rmid_forced"), (), ""),
        (pod("net.core.somaxconn"), (), 'forbidden sysctl: "net.core.somaxconn" not allowlisted'),
        (pod("net.core.somaxconn"), ("net.core.*",), ""),
        (pod("kernel.msgmax"), ("net.core.*", "kernel.msgmax"), ""),
        (pod("kernel.hostname"), ("net.core.*",), 'forbidden sysctl: "kernel.hostname" not allowlisted'),
        (
            pod("net.ipv4.tcp_syncookies", hostNetwork=True),
            (),
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
        (
            pod("kernel.shm_rmid_forced", hostIPC=True),
            (),
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
        ),
    ],
)
def test_only_safe_or_allowed_sysctls_of_the_pods_own(given: Any, allowed: tuple[str, ...], said: str):
    found = sysctls.refused(given, allowed)
    assert (found.message if found else "") == said
    refusal = Ledger({}, allowed).admit(given)
    if said:
        assert refusal is not None and refusal.reason == "SysctlForbidden"


@pytest.mark.parametrize("kind", ["RuntimeDefault", "Localhost", "Unconfined"])
def test_a_pod_that_counts_on_apparmor_is_refused(kind: str):
    profile = {"appArmorProfile": {"type": kind}}
    for given in (
        {"metadata": {"uid": "a"}, "spec": {"securityContext": profile}},
        {"metadata": {"uid": "b"}, "spec": {"containers": [{"name": "c", "securityContext": profile}]}},
    ):
        refusal = Ledger({"pods": "9"}).admit(given)
        assert (refusal.reason if refusal else "") == ("" if kind == "Unconfined" else "AppArmor")
