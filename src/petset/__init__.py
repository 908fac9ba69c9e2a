"""petset: stateful services from Kubernetes manifests, on one machine."""

__version__ = "0.1.0"
