"""By what an extension server knows who asks: the cluster's ConfigMap, and the certificates that it judges by it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from petset.base import pki
from petset.server.access import front_proxy
from petset.server.aggregated import trust as published
from petset.server.delegated import trust
from petset.wire import http
from tests.server.delegated.beside import der


@pytest.fixture(scope="module")
def authorities(tmp_path_factory) -> dict[str, pki.Authority]:
    made = {}
    for name in ("clients", "proxies", "strangers"):
        made[name] = pki.authority(tmp_path_factory.mktemp(name), "ca", name)
    return made


def config_map(data: dict[str, str]) -> dict:
    return {"metadata": {"name": trust.NAME, "namespace": trust.NAMESPACE}, "data": data}


def test_what_a_cluster_of_petset_publishes_is_read_as_it_is_meant(authorities) -> None:
    clients, proxies = (authorities[name].certificate_pem for name in ("clients", "proxies"))
    found = trust.read(config_map(published.data(clients, proxies)))
    assert (found.clients_pem, found.proxies_pem) == (clients, proxies)
    assert found.allowed == (front_proxy.ALLOWED,) and found.told == front_proxy.OWN


def test_a_cluster_that_knows_nobody_by_certificates_has_a_listener_ask_for_none(authorities) -> None:
    nobodys = trust.read(config_map({}))
    context = pki.server_context(authorities["clients"].server("serve", ["localhost"]), nobodys.authorities_pem)
    assert context.verify_mode == ssl.CERT_NONE and not context.get_ca_certs()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (None, "ConfigMap kube-system/extension-apiserver-authentication is missing"),
        ({"client-ca-file": "no pem"}, "client-ca-file of ConfigMap .* is no bundle of 1 to 100 authorities'"),
        ({"requestheader-allowed-names": "front-proxy"}, "requestheader-allowed-names .* is no list of texts in JSON"),
        ({"requestheader-group-headers": '{"a": 1}'}, "requestheader-group-headers .* is no list of texts"),
        ({"requestheader-username-headers": "[]"}, "names no requestheader-username-headers"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(authorities, changed, why) -> None:
    pems = (authorities[name].certificate_pem for name in ("clients", "proxies"))
    with pytest.raises(trust.CannotTrust, match=why):
        trust.read(None if changed is None else config_map({**published.data(*pems), **changed}))


def test_a_leaf_is_no_authority(authorities, tmp_path: Path) -> None:
    leaf = authorities["clients"].client("leaf", "jane").certificate_pem()
    with pytest.raises(trust.CannotTrust, match="client-ca-file"):
        trust.read(config_map({**published.data(leaf, authorities["proxies"].certificate_pem)}))


def test_who_has_signed_a_certificate_says_whose_it_is(authorities) -> None:
    clients, proxies, strangers = authorities["clients"], authorities["proxies"], authorities["strangers"]
    judge = trust.Certificates(trust.Trust(clients.certificate_pem, proxies.certificate_pem))
    user = judge.shown(der(clients.client("jane", "jane", ("developers", "testers"))))
    assert user.user == http.User("jane", ("developers", "testers")) and user.front_proxy is None
    proxy = judge.shown(der(proxies.client("proxy", "front-proxy-client")))
    assert (proxy.front_proxy, proxy.user) == ("front-proxy-client", None)
    nobody = judge.shown(der(strangers.client("jane", "jane", ("system:masters",))))
    assert (nobody.front_proxy, nobody.user) == (None, None)
    assert judge.shown(b"no certificate") == trust.Shown()
    assert user.not_after > 0


def test_one_that_both_have_signed_is_a_front_proxys(authorities) -> None:
    both = authorities["clients"]
    judge = trust.Certificates(trust.Trust(both.certificate_pem, both.certificate_pem))
    assert judge.shown(der(both.client("x", "x"))).front_proxy == "x"
