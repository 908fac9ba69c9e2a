"""Adding our entry to a kubeconfig keeps everything that is not ours."""

from __future__ import annotations

import pytest

from petset.base import state
from petset.cli import kubeconfig as command
from petset.cli.failures import CommandError
from petset.client.reaching import kubeconfig
from petset.objects import documents

ACCESS = kubeconfig.Access("https://127.0.0.1:6443", b"ca", b"certificate", b"key")
THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "preferences": {"colors": True},
    "clusters": [
        {"name": "work", "cluster": {"server": "https://work"}},
        {"name": "petset", "cluster": {"server": "old"}},
    ],
    "users": [{"name": "me", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "me"}}],
    "current-context": "work",
}


@pytest.fixture
def instance(tmp_path):
    found = state.State(tmp_path / "state")
    state.write_private(found.kubeconfig, kubeconfig.render(ACCESS))
    return found


def test_what_is_rendered_is_read_back():
    assert kubeconfig.parse(kubeconfig.render(ACCESS)) == ACCESS


@pytest.mark.parametrize("state", ["/var/lib/petset", "/tmp/a b: #c", '/tmp/it\'s "so"\\', "/\u00e9\n\t", "/x:", ""])
@pytest.mark.parametrize("name", ["petset", "petset-other", "yes", "a: b"])
def test_it_is_the_yaml_of_a_kubeconfig_whatever_its_names_are(name, state):
    config = documents.load(kubeconfig.render(ACCESS, name, state))
    assert list(config) == ["apiVersion", "kind", "clusters", "users", "contexts", "current-context"]
    assert (config["apiVersion"], config["kind"], config["current-context"]) == ("v1", "Config", name)
    assert config["contexts"] == [{"name": name, "context": {"cluster": name, "user": name}}]
    assert kubeconfig.state_of(config["clusters"][0]) == state
    assert config["clusters"][0]["name"] == config["users"][0]["name"] == name


def test_an_entry_of_our_name_is_replaced_and_the_rest_kept(instance, tmp_path):
    target = tmp_path / "config"
    target.write_bytes(documents.dump(THEIRS))
    command.write(instance, str(target))
    merged = documents.load(target.read_bytes())
    assert merged["preferences"] == {"colors": True}
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "petset"]
    assert merged["clusters"][1]["cluster"]["server"] == ACCESS.server
    assert [entry["name"] for entry in merged["users"]] == ["me", "petset"]
    assert merged["current-context"] == "petset"
    assert target.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["- a list", "clusters: {}", "a: [", "\x00", "clusters: [1]"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(instance, tmp_path, text):
    target = tmp_path / "config"
    target.write_text(text)
    with pytest.raises(CommandError, match="cannot add to"):
        command.write(instance, str(target))
    assert target.read_text() == text


def test_a_link_stays_a_link(instance, tmp_path):
    real, link = tmp_path / "real", tmp_path / "config"
    real.write_bytes(documents.dump(THEIRS))
    link.symlink_to(real)
    command.write(instance, str(link))
    assert link.is_symlink() and documents.load(real.read_bytes())["current-context"] == "petset"
