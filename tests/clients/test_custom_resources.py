"""kubectl with a kind of the user's own: from its definition to its end."""

from __future__ import annotations

import json

from tests.server.custom.conftest import NAME, crontab, definition, version

WIDE = [
    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
]


def test_kubectl_knows_it_from_its_definition_on(served, space) -> None:
    def kubectl(*words: str, stdin: str | None = None) -> str:
        return served.admin("-n", space, *words, stdin=stdin)

    crd = definition(version(additionalPrinterColumns=WIDE, subresources={"status": {}}))
    kubectl("apply", "-f", "-", stdin=json.dumps(crd))
    kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=30s")
    assert NAME in kubectl("get", "crd")
    kubectl("apply", "-f", "-", stdin=json.dumps(crontab("mine", cronSpec="* * * * *")))
    lines = kubectl("get", "cr", "-o", "wide").splitlines()
    assert lines[0].split() == ["NAME", "SPEC", "REPLICAS"] and lines[1].split()[-1] == "1"
    kubectl("patch", "crontab", "mine", "--type=merge", "-p", '{"spec":{"replicas":3}}')
    assert kubectl("get", "crontabs", "mine", "-o", "jsonpath={.spec.replicas}") == "3"
    wrong = served.admin.run("-n", space, "patch", "crontab", "mine", "--type=merge", "-p", '{"spec":{"replicas":30}}')
    assert 'The CronTab "mine" is invalid: spec.replicas: Invalid value: 30' in wrong.stderr
    odd = served.admin.run("-n", space, "create", "-f", "-", stdin=json.dumps(crontab("odd", other=1)))
    assert 'unknown field "spec.other"' in odd.stderr
    assert "crontabs" in kubectl("api-resources", "--api-group=stable.example.com")
    kubectl("apply", "-f", "-", stdin=json.dumps(crontab("mine", cronSpec="1 * * * *")))
    assert "Spec:" in kubectl("describe", "crontab", "mine")
    kubectl("delete", "crd", NAME, "--timeout=30s")
    gone = served.admin.run("-n", space, "get", "crontabs")
    assert "petset has no crontabs in" in gone.stderr or "doesn't have a resource type" in gone.stderr
