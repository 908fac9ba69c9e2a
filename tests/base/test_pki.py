"""The certificate authority: what it issues, when it issues anew, what it leaves on disk."""

from __future__ import annotations

import contextlib
import os
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petset.base import pki, tasks

HOSTS = ["localhost", "kubernetes.default.svc", "127.0.0.1", "::1"]


def decoded(path: Path) -> dict:
    return ssl._ssl._test_decode_cert(str(path))  # type: ignore[attr-defined]


def at(seconds: float):
    """As if it were that much later."""
    return tasks.environment(tasks.Environment(wall_clock=lambda: time.time() + seconds))


def test_a_server_certificate_names_what_was_asked_for(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)
    says = decoded(authority.server("server", HOSTS).certificate)
    assert says["subjectAltName"] == (
        ("DNS", "localhost"),
        ("DNS", "kubernetes.default.svc"),
        ("IP Address", "127.0.0.1"),
        ("IP Address", "0:0:0:0:0:0:0:1"),
    )
    assert says["issuer"] == decoded(authority.issued.certificate)["subject"]
    assert ssl.cert_time_to_seconds(says["notBefore"]) < time.time() - 60  # For peers whose clock is behind.


def test_a_client_certificate_names_user_and_groups(tmp_path: Path) -> None:
    issued = pki.authority(tmp_path).client("admin", "petset-admin", ["system:masters", "team"])
    assert decoded(issued.certificate)["subject"] == (
        (("organizationName", "system:masters"),),
        (("organizationName", "team"),),
        (("commonName", "petset-admin"),),
    )


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The server's end of a TLS connection to "localhost" between two contexts, without a socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
    )
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    ends[1].write(b"hello")  # TLS 1.3 verifies the client's certificate after the client is done.
    assert ends[0].read() == b"hello"
    return ends[0]


def test_openssl_finds_the_chain_and_the_purposes_sound_when_it_is_strict(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)
    issued, admin = authority.server("server", HOSTS), authority.client("admin", "petset-admin")

    def contexts(presented: pki.Issued, by_client: pki.Issued | None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = pki.server_context(presented, authority.certificate_pem)
        client = pki.client_context(authority.certificate_pem, by_client)
        for context in (server, client):
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        return server, client

    certificate = handshake(*contexts(issued, admin)).getpeercert()
    assert certificate is not None
    assert certificate["subject"] == ((("commonName", "petset-admin"),),)
    assert handshake(*contexts(issued, None)).getpeercert() is None
    for wrong in ((admin, None), (issued, issued)):
        with pytest.raises(ssl.SSLError):
            handshake(*contexts(*wrong))


def test_what_is_there_and_still_right_is_used_again(tmp_path: Path) -> None:
    first = pki.authority(tmp_path)
    issued = first.server("server", HOSTS)
    pem = issued.certificate_pem() + issued.key_pem()
    second = pki.authority(tmp_path)
    assert second.certificate_pem == first.certificate_pem
    again = second.server("server", HOSTS)
    assert again.certificate_pem() + again.key_pem() == pem


def test_it_is_issued_anew_when_it_would_say_something_else(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)
    seen = [authority.server("server", HOSTS).certificate_pem()]
    for hosts in (HOSTS[:2], HOSTS):
        seen.append(authority.server("server", hosts).certificate_pem())
    seen.append(authority.client("server", "user").certificate_pem())
    seen.append(authority.client("server", "user", ["group"]).certificate_pem())
    assert len(set(seen)) == 5


@pytest.mark.parametrize(("days", "renewed"), [(330, False), (340, True), (500, True)])
def test_it_is_issued_anew_before_it_ends(tmp_path: Path, days: int, renewed: bool) -> None:
    before = pki.authority(tmp_path).server("server", HOSTS).certificate_pem()
    with at(days * 86400):
        assert (pki.authority(tmp_path).server("server", HOSTS).certificate_pem() != before) == renewed


def test_a_new_authority_issues_everything_anew(tmp_path: Path) -> None:
    first = pki.authority(tmp_path)
    before = first.server("server", HOSTS).certificate_pem()
    with at(3640 * 86400):
        second = pki.authority(tmp_path)
    assert second.certificate_pem != first.certificate_pem
    assert second.server("server", HOSTS).certificate_pem() != before


@pytest.mark.parametrize("name", ["server.crt", "server.key", "server.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_what_is_damaged_or_half_written_is_made_anew(tmp_path: Path, name: str, damage: bytes | None) -> None:
    authority = pki.authority(tmp_path)
    before = authority.server("server", HOSTS).certificate_pem()
    if damage is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(damage)
    issued = authority.server("server", HOSTS)
    assert issued.certificate_pem() != before
    pki.server_context(issued)  # Key and certificate belong together.


def test_only_the_owner_may_read_any_of_it(tmp_path: Path) -> None:
    authority = pki.authority(tmp_path)
    authority.server("server", HOSTS)
    pki.SigningKey(tmp_path / "token.key").load()
    files = sorted(os.listdir(tmp_path))
    assert files == ["ca.crt", "ca.json", "ca.key", "server.crt", "server.json", "server.key", "token.key"]
    for name in files:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name


def test_a_signing_key_is_kept_and_knows_its_own(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "token.key"
    signature = pki.SigningKey(path).sign(b"text")
    again, other = pki.SigningKey(path), pki.SigningKey()
    assert len(signature) == 64 and again.is_signature(signature, b"text")
    assert again.identifier == pki.SigningKey(path).identifier != other.identifier
    assert not again.is_signature(signature, b"another text") and not other.is_signature(signature, b"text")
    for wrong in (b"", signature[:-1], signature + b"x", bytes(64), b"\xff" * 64, signature[32:] + signature[:32]):
        assert not again.is_signature(wrong, b"text"), wrong


def test_a_damaged_signing_key_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "token.key"
    signature = pki.SigningKey(path).sign(b"text")
    path.write_bytes(b"-----BEGIN")
    assert not pki.SigningKey(path).is_signature(signature, b"text")
    assert pki.SigningKey(path).identifier == pki.SigningKey(path).identifier


def test_a_restart_does_not_import_cryptography(tmp_path: Path) -> None:
    pki.authority(tmp_path).server("server", HOSTS)
    program = (
        "import sys, pathlib; from petset.base import pki; "
        f"pki.server_context(pki.authority(pathlib.Path({str(tmp_path)!r})).server('server', {HOSTS!r})); "
        "print('cryptography' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert said.stdout.strip() == "False", said.stderr


def test_a_foreign_key_is_told_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "key"
    own = pki.SigningKey(path)
    own.check()  # There is none yet.
    own.load()
    assert pki.P256_PEM in path.read_bytes()
    pki.SigningKey(path).check()
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    with pytest.raises(ValueError, match=f"cannot sign: {path} holds another kind of key than ECDSA P-256"):
        pki.SigningKey(path).check()


def test_a_child_that_makes_keys_has_ended_whatever_comes_in_between(tmp_path: Path) -> None:
    made = tmp_path / "made"

    def make() -> None:
        subprocess.run(["sleep", "0.2"], check=True)
        made.touch()

    with pytest.raises(OSError, match="full"):
        with pki.apart(make):
            raise OSError("the disk is full")
    assert made.exists()
