"""Exec, attach, cp and port-forward by real clients: kubectl over WebSocket and over SPDY, and the Python client.

The pod is this machine (see serve.py): its commands run here, its ports are those of the loopback.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator

import pytest

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "x"},
    "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "here"},
}


@pytest.fixture
def there(served, space) -> str:
    """A namespace with a pod that runs, or so it says."""
    served.admin("create", "-f", "-", "-n", space, stdin=json.dumps(POD))
    running = json.dumps({"status": {"phase": "Running", "containerStatuses": []}})
    served.admin("patch", "pod", "x", "-n", space, "--subresource=status", "--type=merge", "-p", running)
    return space


@pytest.fixture(params=["websocket", "spdy"])
def kubectl(served, request):
    """kubectl of today, and as it was before 1.30."""
    switches = ("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS")
    for switch in switches:
        served.admin.environment[switch] = "true" if request.param == "websocket" else "false"
    yield served.admin
    for switch in switches:
        del served.admin.environment[switch]


def test_exec_tells_output_errors_and_the_exit_code(kubectl, there):
    done = kubectl.run("exec", "x", "-n", there, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "out\n")
    assert done.stderr == "err\ncommand terminated with exit code 7\n"


def test_exec_reads_its_input_to_the_end(kubectl, there):
    text = "a line\n" * 100_000
    assert kubectl("exec", "-i", "x", "-n", there, "--", "cat", stdin=text) == text


def test_attach(kubectl, there):
    assert "hello" in kubectl("attach", "-i", "x", "-n", there, stdin="hello\n")


def test_cp_there_and_back(kubectl, there, tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 4096)
    kubectl("cp", "-n", there, str(tmp_path / "a"), f"x:{tmp_path}/b")
    kubectl("cp", "-n", there, f"x:{tmp_path}/b", str(tmp_path / "c"))
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.fixture
def echo() -> Iterator[int]:
    """A port that sends back what it gets, to its end."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    accepting.join(10)


def said_back(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        sending = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sending.start()
        received = b""
        while piece := connection.recv(65536):
            received += piece
        sending.join(20)
        return received


def test_port_forward_by_kubectl(kubectl, there, echo):
    forwarding = kubectl.start("port-forward", "pod/x", f":{echo}", "-n", there, "--address=127.0.0.1")
    try:
        port = int(re.search(r":(\d+) -> ", forwarding.stdout.readline())[1])
        assert said_back(port, b"hello") == b"hello"
        large = bytes(range(256)) * 16_384
        assert said_back(port, large) == large
        answers: list[bytes] = []
        many = [
            threading.Thread(target=lambda text=b"%d" % number: answers.append(said_back(port, text)))
            for number in range(100)
        ]
        for one in many:
            one.start()
        for one in many:
            one.join(30)
        assert sorted(answers) == sorted(b"%d" % number for number in range(100))
    finally:
        forwarding.terminate()
        forwarding.communicate(timeout=20)


def test_port_forward_to_a_service_leads_to_a_pod_of_it(kubectl, there, echo):
    kubectl("label", "pod", "x", "app=echo", "-n", there)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"selector": {"app": "echo"}, "ports": [{"name": "plain", "port": 7, "targetPort": echo}]},
    }
    kubectl("create", "-f", "-", "-n", there, stdin=json.dumps(service))
    for port in ("7", "plain"):
        forwarding = kubectl.start("port-forward", "service/echo", f":{port}", "-n", there, "--address=127.0.0.1")
        try:
            own, target = re.search(r":(\d+) -> (\d+)", forwarding.stdout.readline()).groups()
            assert int(target) == echo and said_back(int(own), b"hello") == b"hello"
        finally:
            forwarding.terminate()
            forwarding.communicate(timeout=20)


def test_a_port_that_nobody_listens_on_is_told(kubectl, there):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        forwarding = kubectl.start("port-forward", "pod/x", f":{port}", "-n", there, "--address=127.0.0.1")
        try:
            own = int(re.search(r":(\d+) -> ", forwarding.stdout.readline())[1])
            assert said_back(own, b"") == b""
            said, _ = forwarding.communicate(timeout=20)
        finally:
            forwarding.kill()
        assert f"error forwarding port {port} to pod x, uid " in said
        assert "127.0.0.1: connection refused" in said and "lost connection to pod" in said


def test_port_forward_by_the_python_client(served, there, echo):
    kubernetes = pytest.importorskip("kubernetes")
    stream = pytest.importorskip("kubernetes.stream")
    client = kubernetes.config.new_client_from_config(str(served.directory / "kubeconfig"))
    core = kubernetes.client.CoreV1Api(client)
    forwarded = stream.portforward(core.connect_get_namespaced_pod_portforward, "x", there, ports=str(echo))
    connection = forwarded.socket(echo)
    connection.sendall(b"hello")
    connection.settimeout(20)
    assert connection.recv(100) == b"hello"
    connection.close()
    assert forwarded.error(echo) is None
