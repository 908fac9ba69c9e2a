"""A container's variables and command line."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from petset.kinds.pod_spec import containers
from petset.kinds.pod_spec.sources import SourceKind
from petset.node import environment
from petset.node.environment import ConfigError, Facts, Source
from petset.node.pods import launch
from petset.node.runtime import Image

POD = {
    "metadata": {
        "name": "rd-0",
        "namespace": "default",
        "uid": "u",
        "labels": {"app": "redis", "b": 'say "hi"\n'},
        "annotations": {"example.com/a": "1"},
    },
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "default",
        "containers": [{"name": "other", "resources": {"limits": {"cpu": "2"}}}],
    },
}
IMAGE = Image("i", "d", "/r", ("/entry",), ("run",), ("PATH=/bin", "LANG=C"), "/srv")


def source(kind: SourceKind, name: str, data: dict[str, str]) -> dict[tuple[SourceKind, str], Source]:
    return {(kind, name): environment.source(kind, {"metadata": {"name": name}, "data": data})}


SOURCES = {
    **source("ConfigMap", "settings", {"level": "3", "mode": "fast"}),
    **source("Secret", "keys", {"token": base64.b64encode(b"hush").decode()}),
}
SERVICE = {
    "metadata": {"name": "my-web", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http-alt", "port": 80}, {"port": 53, "protocol": "UDP"}]},
}
FACTS = Facts(POD, "10.0.0.2", "10.0.0.1", {"cpu": "4", "memory": "8Gi"}, (), SOURCES)


def of(entries: list[Any], facts: Facts = FACTS, **container: Any) -> dict[str, str]:
    return environment.variables({"name": "c", "env": entries, **container}, facts)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$(NO)", "$(NO)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $ $( $(A", "$A $ $( $(A"),
        ("$(A)$$", "1$"),
        ("$(hostname)", "$(hostname)"),
    ],
)
def test_expansion(text: str, expanded: str):
    assert environment.expand(text, {"A": "1", "B": "2"}) == expanded


def test_later_variables_see_earlier_ones():
    entries = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "C", "value": "$(B)"},
        {"name": "A"},
    ]
    assert of(entries) == {"A": "", "B": "1$(C)", "C": "1$(C)"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "rd-0"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "redis"),
        ("metadata.annotations['example.com/a']", "1"),
        ("metadata.labels['none']", ""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.0.0.2"),
        ("status.podIPs", "10.0.0.2"),
        ("status.hostIP", "10.0.0.1"),
        ("metadata.labels", 'app="redis"\nb="say \\"hi\\"\\n"'),
    ],
)
def test_fields(path: str, value: str):
    assert of([{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]) == {"X": value}


@pytest.mark.parametrize(
    ("ref", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),
        ({"resource": "limits.cpu", "containerName": "other"}, "2"),
        ({"resource": "requests.cpu"}, "1"),
    ],
)
def test_resources(ref: Any, value: str):
    resources = {"limits": {"cpu": "500m"}, "requests": {"memory": "64Mi"}}
    assert of([{"name": "X", "valueFrom": {"resourceFieldRef": ref}}], resources=resources) == {"X": value}


def test_config_maps_and_secrets():
    entries = [
        {"name": "L", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "O", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "none", "optional": True}}},
        {"name": "P", "valueFrom": {"configMapKeyRef": {"name": "nosuch", "key": "x", "optional": True}}},
    ]
    all_of = [{"prefix": "S_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "no", "optional": True}}]
    container = {"name": "c", "env": entries, "envFrom": all_of}
    assert environment.variables(container, FACTS) == {"S_level": "3", "S_mode": "fast", "L": "3", "T": "hush"}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"configMapKeyRef": {"name": "nosuch", "key": "x"}}, 'configmap "nosuch" not found'),
        ({"secretKeyRef": {"name": "keys", "key": "x"}}, "couldn't find key x in Secret default/keys"),
        ({"fieldRef": {"fieldPath": "spec.volumes"}}, "cannot read the field spec.volumes"),
    ],
)
def test_what_is_missing_is_named(entry: Any, why: str):
    with pytest.raises(ConfigError, match=why.replace("(", r"\(")):
        of([{"name": "X", "valueFrom": entry}])


def test_services():
    api = environment.kubernetes_service("10.96.0.1", 443)
    headless = {**SERVICE, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}
    elsewhere = {**SERVICE, "metadata": {"name": "x", "namespace": "other"}}
    found = environment.service_variables(POD, [api, SERVICE, headless, elsewhere])
    assert found == {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": "tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
        "KUBERNETES_PORT_443_TCP_PORT": "443",
        "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
        "MY_WEB_SERVICE_HOST": "10.96.0.7",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP_ALT": "80",
        "MY_WEB_PORT": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.7:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.7",
        "MY_WEB_PORT_53_UDP": "udp://10.96.0.7:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.96.0.7",
    }
    without = {**POD, "spec": {**POD["spec"], "enableServiceLinks": False}}
    assert "MY_WEB_PORT" not in environment.service_variables(without, [api, SERVICE])


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ("/entry", "run")),
        ({"args": ["$(A)"]}, ("/entry", "1")),
        ({"command": ["sh", "-c", "echo $(A) $(hostname)"]}, ("sh", "-c", "echo 1 $(hostname)")),
        ({"command": ["sh"], "args": ["-x"]}, ("sh", "-x")),
    ],
)
def test_command_lines(container: Any, argv: tuple[str, ...]):
    assert environment.command({"name": "c", **container}, IMAGE, {"A": "1"}) == argv


def test_the_whole_configuration():
    container = {"name": "c", "env": [{"name": "LANG", "value": "de"}], "terminationMessagePath": "/tmp/end"}
    config = launch.container_config(POD, container, 2, IMAGE, FACTS, {})
    assert dict(config.env) == {"LANG": "de"}  # The image's, and the name of its host, the runtime puts below.
    assert (config.attempt, config.working_dir, config.termination_message_path) == (2, "/srv", "/tmp/end")
    with pytest.raises(ConfigError, match="neither it nor its image says what to run"):
        launch.container_config(POD, container, 0, Image("i", "d", "/r"), FACTS, {})


# -- Size

DOUBLING = [{"name": "A0", "value": "x" * 64}] + [
    {"name": f"A{n + 1}", "value": f"$(A{n})$(A{n})"} for n in range(1000)
]
MANY = {"name": "M", "value": "$(A0)" * 100_000}


def refused_by_the_api(**container: Any) -> list[str]:
    given = {"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File", **container}
    return [error.field for error in containers.container(given, "spec.containers[0]", (), False, False)]


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"env": DOUBLING}, "spec.containers[0].env"),
        ({"env": [DOUBLING[0], MANY]}, "spec.containers[0].env"),
        ({"env": DOUBLING[:1], "args": ["$(A0)" * 20_000]}, "spec.containers[0].args"),
        ({"env": DOUBLING[:10], "command": ["$(A9)"] * 100}, "spec.containers[0].command"),
    ],
)
def test_what_becomes_too_large_is_refused_by_the_api_and_by_the_node(container: Any, field: str):
    """The same container on both sides of the seam."""
    assert refused_by_the_api(**container) == [field]
    with pytest.raises(ConfigError, match=r"1048576 bytes"):
        environment.command({"name": "c", "command": ["run"], **container}, IMAGE, of([], **container))


def test_what_the_api_cannot_know_is_refused_by_the_node():
    facts = Facts(POD, sources=source("ConfigMap", "big", {"a": "é" * 300_000}))
    entries = [{"name": "A0", "valueFrom": {"configMapKeyRef": {"name": "big", "key": "a"}}}, *DOUBLING[1:3]]
    assert refused_by_the_api(env=entries) == []
    with pytest.raises(ConfigError, match=r"larger than 1048576 bytes"):
        of(entries, facts)
    with pytest.raises(ConfigError, match=r"at the variable p1a"):
        of([], facts, envFrom=[{"prefix": f"p{n}", "configMapRef": {"name": "big"}} for n in range(5)])


def test_a_variable_that_is_replaced_counts_once():
    entries = [{"name": "A", "value": "x" * 600_000}] * 3 + [{"name": "B", "value": "$(A)"[:1]}]
    assert refused_by_the_api(env=entries) == []
    assert len(of(entries)["A"]) == 600_000


def test_one_entry_of_a_source_is_read_alone():
    """A thousand variables from one large ConfigMap decode a thousand entries, not a million."""
    data = {f"k{n}": base64.b64encode(b"v%d" % n).decode() for n in range(1000)}
    data["broken"] = "%"  # Whoever does not ask for it does not see it.
    facts = Facts(POD, sources=source("Secret", "many", data))
    entries = [{"name": f"V{n}", "valueFrom": {"secretKeyRef": {"name": "many", "key": f"k{n}"}}} for n in range(1000)]
    assert of(entries, facts)["V999"] == "v999"
