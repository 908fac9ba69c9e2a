"""petset: stateful services from Kubernetes manifests, on one machine."""

__version__ = "0.1.0"
KUBERNETES_VERSION = ("1", "37")  # (major, minor): what clients judge compatibility by; lightkube-models describes it.
