"""`petset why`: what may be named, what is printed, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from petset.cli import main, why
from petset.cli.failures import CommandError
from tests.cli.test_start import running


@pytest.mark.parametrize(
    ("words", "kind", "name"),
    [
        (["web"], "", "web"),
        (["pod/web-0"], "Pod", "web-0"),
        (["pods", "web-0"], "Pod", "web-0"),
        (["sts/web"], "StatefulSet", "web"),
        (["petset", "web"], "PetSet", "web"),
        (["pvc/www"], "PersistentVolumeClaim", "www"),
        (["deployments.apps", "api"], "Deployment", "api"),
        (["Job/load"], "Job", "load"),
        (["ns/old"], "Namespace", "old"),
    ],
)
def test_what_may_be_named(words: list[str], kind: str, name: str) -> None:
    word, called = why.parsed(words)
    found = why.known_kind(word)
    assert (found.kind if found else "", called) == (kind, name)


@pytest.mark.parametrize("words", [["pod", "a", "b"], ["pod/"], ["pod/a/b"]])
def test_what_may_not(words: list[str]) -> None:
    with pytest.raises(CommandError, match="cannot tell why"):
        why.parsed(words)


def test_an_instance_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def asked(*words: str) -> tuple[int, str]:
        code = main.main(["--state", str(tmp_path / "state"), "why", *words])
        out, err = capsys.readouterr()
        return code, out + err

    assert asked("web") == (
        1,
        f"petset: cannot reach a cluster: there is no instance in {tmp_path}/state; start one with `petset up -d`\n",
    )
    with running(tmp_path / "state"):
        code, said = asked("service/kubernetes")
        assert (code, said) == (
            0,
            "Service default/kubernetes is well: it has no selector, and 1 endpoint made by hand.\n",
        )
        code, said = asked("kubernetes", "-o", "json")
        assert code == 0 and json.loads(said)["state"] == "well"
        code, said = asked("web")
        assert code == 1 and said.startswith("petset: cannot tell why: nothing called web is in namespace default;")
        code, said = asked("ship/a")
        assert code == 1 and said.startswith("petset: cannot tell why: ship is no kind that the cluster has;")
        code, said = asked("pod/web", "-n", "nowhere")
        assert (code, said) == (3, "Pod nowhere/web is not there, and neither is its namespace nowhere.\n")
        kubeconfig = str(tmp_path / "state" / "kubeconfig")
        code, said = asked("--kubeconfig", kubeconfig, "--context", "no-such", "web")
        assert code == 1 and "cannot use the kubeconfig: it has no context 'no-such'" in said
        code, said = asked("--kubeconfig", kubeconfig, "default", "-n", "x")
        assert code == 1
        assert asked("--kubeconfig", kubeconfig, "ns/default")[0] == 0
