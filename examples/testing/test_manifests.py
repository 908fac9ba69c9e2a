"""Plain manifests: they are applied as they are, and what comes of them is looked at."""

from pathlib import Path

import pytest

import petset

MANIFESTS = Path(__file__).parent / "manifests"


@pytest.fixture
def web(namespace):
    namespace.apply(MANIFESTS)
    namespace.wait_for("statefulset/web")
    return namespace


def test_the_pets_come_up_in_order_each_with_a_volume_of_its_own(web):
    assert web.list("pods").names == ["web-0", "web-1", "web-2"]
    created = [pod["metadata"]["creationTimestamp"] for pod in web.list("pods")]
    assert created == sorted(created)
    assert web.list("pvc").names == ["data-web-0", "data-web-1", "data-web-2"]


def test_a_pet_that_is_deleted_comes_back_with_its_name_and_its_volume(web):
    before = web.get("pod/web-1")
    volume = web.get("pvc/data-web-1")["spec"]["volumeName"]
    web.delete("pod/web-1")
    web.wait_for("pod/web-1", lambda pod: pod["metadata"]["uid"] != before["metadata"]["uid"])
    web.wait_for("pod/web-1")
    assert web.get("pvc/data-web-1")["spec"]["volumeName"] == volume


def test_fewer_pets_leave_from_the_highest_down_and_their_claims_stay(web):
    web.scale("statefulset/web", 1)
    web.wait_for("pod/web-1", "delete")
    assert web.list("pods").names == ["web-0"] and len(web.list("pvc")) == 3


def test_a_set_without_its_selector_is_refused(namespace):
    [_, broken] = petset_manifests()
    del broken["spec"]["selector"]
    with pytest.raises(petset.Invalid, match=r"spec\.selector"):
        namespace.create(broken)


def petset_manifests():
    from petset.testing import manifests

    return manifests.read(MANIFESTS)


@pytest.mark.petset_real
def test_it_serves(web):
    web.exec("web-0", "echo hello > /usr/share/nginx/html/index.html")
    with web.port_forward("pod/web-0", "http") as forwarded:
        import urllib.request

        assert urllib.request.urlopen(forwarded.url, timeout=10).read() == b"hello\n"
