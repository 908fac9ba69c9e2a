"""Requests handed on to pods and to the pods behind services: what the pod is told, and what comes back."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from petset.server.pods import links, proxy
from petset.server.pods.proxy import Named, Target
from petset.wire import http
from tests.server.conftest import ADMIN, JANE, Server, pod, whole
from tests.server.pods.test_streams import PODS, Pipe

SERVICES = "/api/v1/namespaces/default/services"
WEBSOCKET = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-key": "k", "sec-websocket-version": "13"}


class Pod:
    """An HTTP server that remembers what it is asked, and answers by the path."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.left = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.asked.append((method, target, headers, body))
        path = target.partition("?")[0]
        if path == "/forever":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nfirst")
            await reader.read()
            self.left.set()
        elif path.startswith("/go"):
            writer.write(
                b"HTTP/1.1 302 Found\r\nlocation: /there?a=b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
        elif path.startswith("/page"):
            page = b"<A Href=/there?a>" + b" " * (proxy.PAGE_BYTES_MAX if path == "/page/long" else 0)
            packed = b"content-encoding: gzip\r\n" if path == "/page/packed" else b""
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n" + packed)
            writer.write(b"\r\n" + (gzip.compress(page) if packed else page))
        elif "upgrade" in headers:
            writer.write(b"HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello")
            while data := await reader.read(100):
                writer.write(data.upper())
        else:
            said = json.dumps([method, target]).encode()
            head = f"HTTP/1.1 201 Made\r\nx-own: yes\r\ncontent-length: {len(said)}\r\nconnection: close\r\n\r\n"
            writer.write(head.encode() + said)
        writer.close()


@pytest.fixture
def there() -> Pod:
    return Pod()


@pytest.fixture
def server(there, monkeypatch) -> Iterator[Server]:
    """With a pod that claims to be on this machine's loopback, which is allowed here."""
    monkeypatch.setattr(proxy, "_require_proxyable", lambda address: None)
    server = Server()
    listening = server.run(asyncio.start_server(there.serve, "127.0.0.1", 0))
    there.port = listening.sockets[0].getsockname()[1]
    ports = [{"containerPort": there.port}]
    server.create(pod("p", containers=[{"name": "c", "image": "i", "ports": ports}]))
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1"}}, kind="application/merge-patch+json")
    yield server
    listening.close()
    server.close()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("web-0", Named("http", "web-0", "")),
        ("web-0:80", Named("http", "web-0", "80")),
        ("https:web-0", Named("http", "https", "web-0")),
        ("https:web-0:", Named("https", "web-0", "")),
        (":web-0:http", Named("http", "web-0", "http")),
        ("ftp:web-0:80", None),
        ("a:b:c:d", None),
        ("", None),
    ],
)
def test_what_is_named(text, meant):
    assert proxy.named(text) == meant


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("/a/b?c=d#e", "/proxy/a/b?c=d#e"),
        ("http://10.0.0.9:8080/a/", "/proxy/a/"),
        ("http://petset:6443/a", "/proxy/a"),
        ("/proxy/a", "/proxy/a"),
        ("a/b", "a/b"),
        ("http://elsewhere/a", "http://elsewhere/a"),
        ("//elsewhere/a", "//elsewhere/a"),
        ("http://[", "http://["),
        ("", ""),
    ],
)
def test_a_location_on_the_pods_host_is_told_below_the_proxy(location, told):
    assert proxy._relocated(location, Target("http", "10.0.0.9", 8080), "petset:6443", "/proxy") == told


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_verb_is_handed_on(server, there, method):
    headers = (("host", "petset:6443"), ("authorization", "Bearer secret"), ("x-mine", "a"), ("te", "trailers"))
    target = f"{PODS}/p/proxy/a%2Fb/c?d=e%20f&d="
    body = b"" if method in ("GET", "DELETE", "OPTIONS") else b"not JSON"
    answer = server.send(http.Request(method, target, headers, body, http.Peer("10.1.1.1"), ADMIN))
    assert answer.code == 201 and answer.header("x-own") == "yes"
    assert json.loads(server.run(whole(answer))) == [method, "/a%2Fb/c?d=e%20f&d="]
    ((_, _, heard, sent),) = there.asked
    assert sent == body and heard["host"] == "petset:6443" and heard["x-mine"] == "a"
    assert heard["x-forwarded-for"] == "10.1.1.1" and heard["x-forwarded-uri"] == f"{PODS}/p/proxy"
    assert "authorization" not in heard and "te" not in heard


def test_a_pod_is_reached_at_the_port_that_is_named(server, there):
    assert server("GET", f"{PODS}/p:{there.port}/proxy/x").code == 201
    assert server("GET", f"{PODS}/http:p:{there.port}/proxy/x").code == 201
    assert server("GET", f"{PODS}/p:http/proxy/x").message.endswith("the port must be a number")
    refused = server("GET", f"{PODS}/p:1/proxy/x")
    assert refused.code == 503 and refused.message.startswith("error trying to reach service: ")
    assert server("GET", f"{PODS}/absent/proxy/x").code == 404
    assert server("GET", f"{PODS}/ftp:p:1/proxy/x").code == 400


def test_the_proxys_own_path_is_a_folder(server):
    answer = server("GET", f"{PODS}/p/proxy?a=b")
    assert (answer.code, answer.headers["location"]) == (301, f"{PODS}/p/proxy/?a=b")
    assert server("POST", f"{PODS}/p/proxy").body == b'["POST", "/"]'


def test_a_redirect_is_told_and_not_followed(server, there):
    answer = server("GET", f"{PODS}/p/proxy/go")
    assert (answer.code, answer.headers["location"]) == (302, f"{PODS}/p/proxy/there?a=b")
    assert len(there.asked) == 1


@pytest.mark.parametrize("path", ["/page", "/page/packed"])
def test_the_links_of_a_page_are_led_below_the_proxy(server, path):
    answer = server.send(http.Request("GET", f"{PODS}/p/proxy{path}", user=ADMIN))
    assert server.run(whole(answer)) == f'<A Href="{PODS}/p/proxy/there?a">'.encode()
    assert not answer.header("content-encoding")


def test_a_page_that_is_too_long_is_handed_on_as_it_is(server):
    answer = server.send(http.Request("GET", f"{PODS}/p/proxy/page/long", user=ADMIN))
    assert server.run(whole(answer)).startswith(b"<A Href=/there?a> ")


@pytest.mark.parametrize(
    ("page", "led"),
    [
        ('<a href="/x">/x</a>', '<a href="+/x">/x</a>'),
        ("<img alt='/x' src='/x'><hr>", "<img alt='/x' src=\"+/x\"><hr>"),
        ('<a href="/x?a=1&amp;b=2" title=">">', '<a href="+/x?a=1&amp;b=2" title=">">'),
        ('<p href="/x"><!-- <a href="/x"> -->', '<p href="/x"><!-- <a href="/x"> -->'),
        ("<form ACTION = /x>", '<form ACTION = "+/x">'),
        ("<script src='/x'>'<a href=/x>'</SCRIPT>", "<script src=\"+/x\">'<a href=/x>'</SCRIPT>"),
        ('<a href="x"><a href="/x', '<a href="x"><a href="/x'),
        ("<!-- <a href=/x>", "<!-- <a href=/x>"),
        ("1 < 2 <a href=/x/>", '1 < 2 <a href="+/x/">'),
    ],
)  # fmt: skip
def test_what_of_a_page_is_a_link(page, led):
    assert links.led(page, lambda address: f"+{address}" if address.startswith("/") else address) == led


@pytest.mark.parametrize(
    "page", ['<a "' * 99_999, "<a href='" * 99_999, "<!-- " * 99_999, "<script>" * 99_999, "<a " + "a" * 400_000 + ">"]
)
def test_a_page_is_looked_at_once(page):
    """However much of it begins and does not end; at the square of its length this would take minutes."""
    links.led(page, str)


def test_a_body_comes_as_it_is_sent_and_its_reader_may_leave(server, there):
    answer = server.send(http.Request("GET", f"{PODS}/p/proxy/forever", user=ADMIN))
    assert server.run(anext(answer.body)) == b"first"
    server.run(answer.body.aclose())
    server.run(there.left.wait())


def test_an_upgrade_is_copied_both_ways(server):
    answer = server.send(http.Request("GET", f"{PODS}/p/proxy/ws", tuple(WEBSOCKET.items()), user=ADMIN))
    assert answer.code == 101 and answer.header("upgrade") == "websocket"

    async def converse() -> None:
        pipe = Pipe()
        serving = asyncio.ensure_future(answer.upgraded(pipe))
        assert await pipe.outgoing.get() == b"hello"
        pipe.incoming.put_nowait(b"shout")
        assert await pipe.outgoing.get() == b"SHOUT"
        pipe.incoming.put_nowait(b"")
        await serving

    server.run(converse())


def test_who_may_not_is_refused(server, there):
    for method, verb in (("GET", "get"), ("POST", "create"), ("PUT", "update"), ("DELETE", "delete")):
        answer = server(method, f"{PODS}/p/proxy/x", user=JANE)
        assert answer.code == 403 and f'cannot {verb} resource "pods/proxy"' in answer.message
    assert not there.asked


def service(server: Server, there: Pod, *addresses: dict) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": there.port}]
    server.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {"clusterIP": "None", "ports": ports},
        }
    )
    # There are no Endpoints, and the pod's own address is beyond the 1,000 that they would have.
    full = 1000
    for number, first in enumerate(range(0, len(addresses), full)):
        obj = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"s-{number}", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "endpoints": list(addresses[first : first + full]),
            "ports": [{"name": "web", "port": there.port}],
        }
        server.create(obj)


def endpoint(address: str, pod: str = "", **parts: Any) -> dict:
    reference = {"targetRef": {"kind": "Pod", "name": pod, "namespace": "default"}} if pod else {}
    return {"addresses": [address], **reference, **parts}


@pytest.mark.parametrize("name", ["s:web", "s:80", "http:s:web"])
def test_a_service_is_one_of_its_pods(server, there, name):
    others = [endpoint(f"10.1.{n // 250}.{n % 250 + 1}", "p", conditions={"ready": False}) for n in range(1500)]
    service(server, there, *others, endpoint("127.0.0.1", "p"))
    assert server("GET", f"{SERVICES}/{name}/proxy/x").body == b'["GET", "/x"]'


def test_services_that_lead_nowhere(server, there):
    service(server, there, endpoint("127.0.0.1"), endpoint("10.9.9.9", "p"))
    for name, why in (
        ("s:web", "no endpoints available"),
        ("s", "no endpoints available"),
        ("s:81", "no service port 81"),
    ):
        answer = server("GET", f"{SERVICES}/{name}/proxy/x")
        assert answer.code == 503 and why in answer.message
    assert not there.asked, "an address that is no pod's own is nobody's"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "fe80::1", "224.0.0.1"])
def test_addresses_that_no_pod_has_are_not_dialled(address):
    server = Server()
    server.create(pod("p"))
    server.ok("PATCH", f"{PODS}/p/status", {"status": {"podIP": address}}, kind="application/merge-patch+json")
    answer = server("GET", f"{PODS}/p:80/proxy/x")
    assert (answer.code, answer.message) == (400, "address not allowed")
    server.close()


def test_a_pod_without_an_address_is_not_there_yet():
    server = Server()
    server.create(pod("p"))
    assert server("GET", f"{PODS}/p/proxy/x").code == 503
    server.close()
