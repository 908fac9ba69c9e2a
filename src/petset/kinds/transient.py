"""What is asked of the API and never stored: the bodies of subresources, the options of connections to pods.

They have no place of their own, so that none of them is served; admission is told of them by these names.
"""

from __future__ import annotations

from petset.kinds.reviews import AUTHENTICATION_GROUP
from petset.objects.registry import Kind

BINDING = Kind("", "v1", "bindings", "Binding")
EVICTION = Kind("policy", "v1", "evictions", "Eviction")
TOKEN_REQUEST = Kind(AUTHENTICATION_GROUP, "v1", "tokenrequests", "TokenRequest")

EXEC = Kind("", "v1", "podexecoptions", "PodExecOptions")
ATTACH = Kind("", "v1", "podattachoptions", "PodAttachOptions")
PORT_FORWARD = Kind("", "v1", "podportforwardoptions", "PodPortForwardOptions")
POD_PROXY = Kind("", "v1", "podproxyoptions", "PodProxyOptions")
NODE_PROXY = Kind("", "v1", "nodeproxyoptions", "NodeProxyOptions", False)
SERVICE_PROXY = Kind("", "v1", "serviceproxyoptions", "ServiceProxyOptions")
