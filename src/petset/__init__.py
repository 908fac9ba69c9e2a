"""petset: stateful services from Kubernetes manifests, on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from petset.client.manifests import ManifestError as ManifestError
    from petset.objects.errors import ApiError as ApiError
    from petset.testing.clusters import Cluster as Cluster
    from petset.testing.failures import AlreadyExists as AlreadyExists
    from petset.testing.failures import ClusterError as ClusterError
    from petset.testing.failures import CommandFailed as CommandFailed
    from petset.testing.failures import Conflict as Conflict
    from petset.testing.failures import Forbidden as Forbidden
    from petset.testing.failures import Invalid as Invalid
    from petset.testing.failures import NotFound as NotFound
    from petset.testing.failures import WaitTimeout as WaitTimeout
    from petset.testing.virtual import Clock as Clock

__version__ = "0.1.0"
KUBERNETES_VERSION = ("1", "37")  # (major, minor): what clients judge compatibility by; lightkube-models describes it.

# The way in from Python (testing/): by where it stands, imported when it is asked for.
LATER = {
    "Cluster": "petset.testing.clusters",
    "Clock": "petset.testing.virtual",
    "ApiError": "petset.objects.errors",
    "ManifestError": "petset.client.manifests",
    **dict.fromkeys(
        (
            "AlreadyExists",
            "ClusterError",
            "CommandFailed",
            "Conflict",
            "Forbidden",
            "Invalid",
            "NotFound",
            "WaitTimeout",
        ),
        "petset.testing.failures",
    ),
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(LATER[name]), name)
