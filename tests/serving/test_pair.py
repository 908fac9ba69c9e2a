"""What is to be done about the pair that replicas serve with: a step at a time, and nobody is left in the cold."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from petset.base import certificates, pki, tasks
from petset.serving import pair

DAY = pair.DAY_SECONDS
HOSTS = pair.hosts_of("petset", "petset-system")


class Clock:
    now = 1_800_000_000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    at = Clock()
    monkeypatch.setattr(tasks, "now", lambda: at.now)
    yield at


def secret(kept: pair.Kept) -> Any:
    return {"metadata": {"name": "petset-serving"}, "data": pair.data_of(kept)}


def written(step: pair.Step) -> pair.Kept:
    assert isinstance(step, pair.Write)
    found = pair.read(secret(step.kept))
    assert found == step.kept
    return step.kept


def served(kept: pair.Kept) -> certificates.Served:
    return certificates.read_served(kept.pair, kept.authorities)


def test_the_first_replica_makes_an_authority_and_a_pair_and_tells_of_it(clock: Clock) -> None:
    kept = written(pair.decided(None, b"", HOSTS, clock.now))
    assert sorted(served(kept).hosts) == sorted(HOSTS)
    assert pair.decided(kept, b"", HOSTS, clock.now) == pair.Tell(kept.bundle)
    assert pair.decided(kept, kept.bundle, HOSTS, clock.now) == pair.Wait(served(kept).not_after - pair.RENEW_SECONDS)
    assert pair.decided(kept, None, HOSTS, clock.now) == pair.decided(kept, kept.bundle, HOSTS, clock.now)


def test_a_certificate_of_a_curve_that_nobody_knows_is_of_no_use() -> None:
    kept = pair.begun(HOSTS)
    der = ssl.PEM_cert_to_DER_cert(kept.pair.certificate.decode())
    prime256v1 = bytes.fromhex("06082a8648ce3d030107")
    strange = ssl.DER_cert_to_PEM_cert(der.replace(prime256v1, prime256v1[:-1] + b"\x7f")).encode()
    assert pair.read(secret(dataclasses.replace(kept, pair=pki.Pair(strange, kept.pair.key)))) is None


def test_a_pair_is_renewed_before_its_end_and_when_its_names_change(clock: Clock) -> None:
    kept = written(pair.decided(None, None, HOSTS, clock.now))
    other = written(pair.decided(kept, kept.bundle, [*HOSTS, "more"], clock.now))
    assert other.authorities == kept.authorities and "more" in served(other).hosts
    clock.now += pair.PAIR_SECONDS - pair.RENEW_SECONDS + 1
    renewed = written(pair.decided(kept, kept.bundle, HOSTS, clock.now))
    assert renewed.authorities == kept.authorities
    assert served(renewed).not_after - clock.now == pytest.approx(pair.PAIR_SECONDS, abs=1)


def test_over_thirty_years_what_is_served_is_always_believed_and_has_not_ended(clock: Clock) -> None:
    """Each step is taken as it is decided, and whatever was believed or served at any moment fits."""
    kept: pair.Kept | None = None
    believed, steps, end = b"", 0, clock.now + 30 * 365 * DAY
    while clock.now < end:
        step = pair.decided(kept, believed, HOSTS, clock.now)
        steps += 1
        if isinstance(step, pair.Write):
            was, kept = kept, written(step)
            assert was is None or not step.is_new
        elif isinstance(step, pair.Tell):
            believed = step.bundle
        else:
            clock.now = max(step.until + 1, clock.now + 1)
        if kept is not None and believed:
            anchors, _ = certificates.trust_anchors(believed)
            found = certificates.read_served(kept.pair, list(anchors))
            assert found.signed_by >= 0 and found.not_after > clock.now
    assert 100 < steps < 1000
    assert kept is not None and len(kept.authorities) <= 2


@pytest.mark.parametrize("spoilt", ["tls.crt", "tls.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("by", [None, 7, "", "!", "bm9uc2Vuc2U=", "A" * 100_000])
def test_a_secret_that_is_spoilt_is_made_anew(spoilt: str, by: Any, clock: Clock) -> None:
    found = secret(pair.begun(HOSTS))
    found["data"][spoilt] = by
    assert pair.read(found) is None
    step = pair.decided(None, b"", HOSTS, clock.now)
    assert isinstance(step, pair.Write) and step.is_new


def test_halves_of_two_pairs_are_none(clock: Clock) -> None:
    one, other = secret(pair.begun(HOSTS)), secret(pair.begun(HOSTS))
    for part in ("tls.key", "ca.key"):
        assert pair.read({**one, "data": {**one["data"], part: other["data"][part]}}) is None


def test_tls_believes_it(clock: Clock, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # OpenSSL has the machine's clock.
    kept = pair.begun(HOSTS)
    issued = pki.Issued(tmp_path / "tls.crt", tmp_path / "tls.key")
    issued.certificate.write_bytes(kept.pair.certificate)
    issued.key.write_bytes(kept.pair.key)
    server, client = pki.server_context(issued), pki.client_context(kept.bundle.decode())
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname="petset.petset-system.svc")
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    assert here.getpeercert()["subject"] == ((("commonName", pair.SERVER),),)  # type: ignore[index]
