"""Which cluster is asked: the instance's, or the one that kubeconfigs name together, by token, files or a program."""

from __future__ import annotations

import argparse
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from petset.cli.asking import clusters
from petset.cli.failures import CommandError
from petset.client.reaching import kubeconfig
from petset.objects import documents


def entry(name: str, what: str, **of: Any) -> dict[str, Any]:
    return {"name": name, what: of}


def written(path: Path, **config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(documents.dump({"apiVersion": "v1", "kind": "Config", **config}))
    return path


def target(config: dict[str, Any]) -> kubeconfig.Target:
    return kubeconfig.target_of(documents.dump(clusters._with_credentials(config)), clusters._read)


def test_several_files_are_read_as_one_and_the_first_that_says_something_wins(tmp_path: Path) -> None:
    one = written(
        tmp_path / "one" / "config",
        clusters=[entry("a", "cluster", server="https://a:1")],
        users=[entry("me", "user", tokenFile="token")],
    )
    (tmp_path / "one" / "token").write_text("secret\n")
    two = written(
        tmp_path / "two",
        **{"current-context": "a"},
        clusters=[entry("a", "cluster", server="https://other:1")],
        contexts=[entry("a", "context", cluster="a", user="me", namespace="pets")],
    )
    merged = clusters._merged([one, tmp_path / "not-there", two])
    found = target(merged)
    assert (found.server, found.authorization) == ("https://a:1", "Bearer secret"), "its files are found beside it"
    assert clusters._namespace(merged, "a") == "pets"


def test_a_user_may_be_got_by_running_a_program(tmp_path: Path) -> None:
    program = tmp_path / "login"
    answer = {"kind": "ExecCredential", "status": {"token": "fresh"}}
    program.write_text(
        f'#!/bin/sh\ntest -n "$KUBERNETES_EXEC_INFO" && test "$WHO" = me && echo \'{json.dumps(answer)}\'\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    how = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}
    config = {
        "kind": "Config",
        "current-context": "c",
        "clusters": [entry("c", "cluster", server="https://a:1")],
        "users": [entry("u", "user", exec={**how, "env": [{"name": "WHO", "value": "me"}]})],
        "contexts": [entry("c", "context", cluster="c", user="u")],
    }
    assert target(config).authorization == "Bearer fresh"
    program.write_text("#!/bin/sh\necho it is closed >&2\nexit 3\n")
    with pytest.raises(ValueError, match="gave no credentials: it is closed"):
        target(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no kubeconfig at"),
        ("- 1", "it is no kubeconfig"),
        ("{", "cannot read"),
    ],
)
def test_what_is_wrong_with_a_kubeconfig_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CommandError) as refused:
        clusters._merged(clusters._files(str(path)))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_arguments_are_kubectls() -> None:
    parser = argparse.ArgumentParser()
    clusters.arguments(parser)
    args = parser.parse_args(["-n", "pets", "--kubeconfig", "f", "--context", "c"])
    assert (args.namespace, args.kubeconfig, args.context) == ("pets", "f", "c")
