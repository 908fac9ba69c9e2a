"""`petset serve`: what its flags say of images, before anything is begun."""

from __future__ import annotations

import argparse

import pytest

from petset import __version__
from petset.cli import main, serve
from petset.client.reaching import lasting
from petset.controllers.pets import translation


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    serve.arguments(parser)
    return parser.parse_args(words)


def test_the_stand_ins_of_a_registry_and_what_the_user_says_before_them():
    own = "--image-map=gcr.io/google_containers/nginx-slim:0.8=mine/nginx:1"
    images = translation.images_of(serve.image_map(parsed("--image-registry=r.example/pets", own)))
    assert images.renamed("gcr.io/google_containers/nginx-slim:0.8") == "mine/nginx:1"
    assert images.renamed("gcr.io/google_containers/nginx-slim:0.9") == f"r.example/pets/nginx:{__version__}"
    assert images.renamed("debian:jessie") == f"r.example/pets/debian:{__version__}"
    assert serve.image_map(parsed()) == ()


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--image-map=a", "cannot map an image by 'a': it is not FROM=TO; name both"),
        ("--image-registry=http://r.example", "a name has no scheme such as http://"),
    ],
)
def test_what_is_no_name_is_said_in_one_line(capsys, flag, why):
    assert main.main(["serve", flag]) == 1
    said = capsys.readouterr().err
    assert said.startswith("petset: cannot ") and said.count("\n") == 1 and why in said


def test_a_cluster_that_is_not_said_is_told_in_one_line(capsys, monkeypatch, tmp_path):
    for name in (lasting.HOST, lasting.PORT):
        monkeypatch.delenv(name, raising=False)
    missing = tmp_path / "none"
    for flags, why in (
        (
            [],
            f"cannot reach the cluster that it runs in: {lasting.HOST} and {lasting.PORT} do not say where the API is;",
        ),
        (["--kubeconfig", str(missing)], f"cannot use the kubeconfig {missing}: No such file or directory: {missing};"),
    ):
        assert main.main(["serve", *flags]) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"petset: {why}")
        assert "Error" not in line and "Errno" not in line and ".py" not in line
