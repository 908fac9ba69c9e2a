"""/etc/hosts, /etc/resolv.conf, and which services must show a pod before it starts."""

from __future__ import annotations

from typing import Any

import pytest

from petset.node.network import names

PET = {
    "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "nginx", "x": "y"}},
    "spec": {"hostname": "web-0", "subdomain": "nginx"},
}
OLD = {
    "metadata": {
        "name": "rd-0",
        "namespace": "prod",
        "annotations": {"pod.beta.kubernetes.io/hostname": "rd-0", "pod.beta.kubernetes.io/subdomain": "redis"},
    },
    "spec": {},
}
HOST = "# of the host\nnameserver 192.0.2.1\nsearch example.com\noptions timeout:1 rotate\n"


def resolv(of_host: str = HOST, **spec: Any) -> str:
    return names.resolv_conf({**PET, "spec": spec}, "10.96.0.10", "cluster.local", of_host)


def test_identity():
    assert names.full_name(PET, "cluster.local") == "web-0.nginx.default.svc.cluster.local"
    assert names.full_name(OLD, "cluster.local") == "rd-0.redis.prod.svc.cluster.local"
    plain = {"metadata": {"name": "a" * 62 + ".b", "namespace": "default"}, "spec": {}}
    assert names.full_name(plain, "cluster.local") == "a" * 62


def test_the_full_name_as_host_name_and_another_one():
    whole = {**PET, "spec": {**PET["spec"], "setHostnameAsFQDN": True}}
    assert names.kernel_name(whole, "cluster.local") == names.full_name(PET, "cluster.local")
    assert names.kernel_name(PET, "cluster.local") == "web-0"
    with pytest.raises(names.NameTooLong, match="64 characters is the max, 65 characters requested"):
        names.kernel_name({**whole, "metadata": {**PET["metadata"], "namespace": "n" * 35}}, "cluster.local")
    other = {**PET, "spec": {**PET["spec"], "hostnameOverride": "db.example.com"}}
    assert names.hostname(other) == names.full_name(other, "cluster.local") == "db.example.com"
    assert "$(POD_IP)\tdb.example.com" in names.hosts(other, "cluster.local").splitlines()


def test_hosts():
    aliases = [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]
    lines = names.hosts({**PET, "spec": {**PET["spec"], "hostAliases": aliases}}, "cluster.local").splitlines()
    assert "$(POD_IP)\tweb-0.nginx.default.svc.cluster.local\tweb-0" in lines
    assert lines[0] == "# Kubernetes-managed hosts file."
    assert "127.0.0.1\tlocalhost" in lines and lines[-1] == "192.0.2.7\ta\tb"
    on_host = {**PET, "spec": {**PET["spec"], "hostNetwork": True, "hostAliases": aliases}}
    assert names.hosts(on_host, "cluster.local", "127.0.0.1 localhost vm\n").splitlines() == [
        "# Kubernetes-managed hosts file (host network).",
        "127.0.0.1 localhost vm",
        "192.0.2.7\ta\tb",
    ]
    assert "$(POD_IP)\tp" in names.hosts({"metadata": {"name": "p", "namespace": "d"}, "spec": {}}, "x").splitlines()


def test_resolv_conf():
    assert resolv() == (
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
    )
    assert resolv(dnsPolicy="Default") == "search example.com\nnameserver 192.0.2.1\noptions timeout:1 rotate\n"
    assert resolv(hostNetwork=True) == resolv(dnsPolicy="Default")
    assert resolv(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet") == resolv()
    config = {
        "nameservers": ["192.0.2.9"],
        "searches": ["a.b"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
    }
    assert resolv(dnsPolicy="None", dnsConfig=config) == "search a.b\nnameserver 192.0.2.9\noptions ndots:2 rotate\n"
    assert resolv(dnsConfig=config).splitlines()[1:] == [
        "nameserver 10.96.0.10",
        "nameserver 192.0.2.9",
        "options ndots:2 rotate",
    ]


def service(name: str, annotations: Any = None, **spec: Any) -> Any:
    metadata = {"name": name, "namespace": "default", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"clusterIP": "None", "selector": {"app": "nginx"}, **spec}}


def test_only_services_that_show_unready_pods_are_waited_for():
    tolerant = {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}
    services = [
        service("plain"),
        service("old", tolerant),
        service("new", publishNotReadyAddresses=True),
        service("ip", publishNotReadyAddresses=True, clusterIP="10.0.0.9"),
        service("other", publishNotReadyAddresses=True, selector={"app": "redis"}),
        service("none", publishNotReadyAddresses=True, selector=None),
    ]
    assert names.awaited_services(PET, services) == ["old", "new"]
    unready = {"addresses": ["10.0.0.3"], "conditions": {"ready": False}}
    slices = [{"endpoints": [unready]}, {"endpoints": [{"addresses": ["10.0.0.2"]}]}]
    assert names.has_address(slices, "10.0.0.2")
    assert not names.has_address(slices, "10.0.0.3") and not names.has_address([], "10.0.0.2")


def test_the_node_and_the_endpoints_controller_mean_the_same_services():
    """One rule for both: the node waits for what the controller will show, however the annotation is spelled."""
    service = {
        "metadata": {"name": "web", "annotations": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "T"}},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}},
    }
    assert names.awaited_services({"metadata": {"labels": {"app": "web"}}}, [service]) == ["web"]
