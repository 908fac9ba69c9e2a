"""What may be given as manifests, and what is said of what is none."""

from __future__ import annotations

import pytest

from petset.client.manifests import ManifestError
from petset.testing import manifests

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
TEXT = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def test_text_file_directory_object_and_lists_are_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text(TEXT)
    (tmp_path / "notes.txt").write_text("not: read")
    listed = {"apiVersion": "v1", "kind": "List", "items": [POD]}
    for given in (
        TEXT,
        f"---\n{TEXT}---\n",
        tmp_path,
        tmp_path / "a.yaml",
        str(tmp_path),
        POD,
        [POD],
        listed,
        [[TEXT]],
    ):
        found = manifests.read(given)
        assert found == [POD] and found[0] is not POD


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere.yaml", "cannot read nowhere.yaml: No such file"),
        ("a: [", "cannot read the text"),
        ("just: this", "lacks apiVersion or kind"),
        ("- 1\n- 2", "is no object"),
        ({"apiVersion": "v1", "kind": "Pod"}, "a Pod in it has no metadata.name"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": []}, "a Pod in it has no metadata.name"),
    ],
)
def test_what_is_no_manifest_is_told(given, said):
    with pytest.raises(ManifestError, match=said):
        manifests.read(given)


def test_an_empty_directory_is_told(tmp_path):
    with pytest.raises(ManifestError, match=r"there is no \.yaml"):
        manifests.read(tmp_path)
