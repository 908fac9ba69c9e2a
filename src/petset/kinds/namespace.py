"""The namespaces every cluster has: made at its start, never deleted."""

DEFAULT, NODE_LEASES, PUBLIC, SYSTEM = "default", "kube-node-lease", "kube-public", "kube-system"
OF_EVERY_CLUSTER = (DEFAULT, NODE_LEASES, PUBLIC, SYSTEM)
