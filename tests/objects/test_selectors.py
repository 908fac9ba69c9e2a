import pytest

from petset.kinds.event import EVENTS
from petset.kinds.pod import PODS
from petset.kinds.stateful_set import STATEFULSETS
from petset.objects import errors, selectors

WEB = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier = front", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("missing=x", False),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("app in (db, web)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("missing notin (db)", True),
        ("app notin (db,web)", False),
        ("empty in (,x)", False),
        ("n>4", True),
        ("n<5", False),
        ("app>4", False),
        ("app=web,tier!=back,!missing,n in (4,5)", True),
        ("example.com/app!=x", True),
    ],
)
def test_label_selectors(text, matches):
    assert selectors.parse_labels(text).matches(WEB) is matches


def test_an_empty_value_is_a_value():
    assert selectors.parse_labels("app=").matches({"app": ""})
    assert not selectors.parse_labels("app=").matches({})
    assert selectors.parse_labels("app in (,x)").matches({"app": ""})


@pytest.mark.parametrize(
    "text",
    ["=", "a=b=c", "a in", "a in b", "a in (b", "a in (b c)", "a,,b", ",a", "a,", "!", "!!a", "a b", "-a=b", "a=-b",
     "/a=b", "A_.=b", "a>b", "a/b/c=d", "a=(", "x" * 64, "a=" + "x" * 64, "a" * 20_000],
)  # fmt: skip
def test_a_malformed_label_selector_is_a_bad_request(text):
    with pytest.raises(errors.ApiError) as caught:
        selectors.parse_labels(text)
    assert caught.value.code == 400
    assert "unable to parse requirement" in caught.value.message


def test_selector_objects():
    assert not selectors.from_object(None).matches(WEB)
    assert selectors.from_object({}).matches(WEB)
    chosen = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}],
    }
    assert selectors.from_object(chosen).matches(WEB)
    assert not selectors.from_object(chosen).matches({**WEB, "tier": "x"})
    assert selectors.from_map(None).empty
    assert selectors.from_map({"app": "web"}).matches(WEB)


def test_a_selector_is_written_as_it_is_read():
    for text in ("app=web", "app!=web", "a in (b,c)", "a notin (b,c)", "a", "!a", "a>3", "a<3", "a=b,c"):
        assert str(selectors.parse_labels(text)) == text


POD = {
    "metadata": {"name": "web-0", "namespace": "default"},
    "spec": {"nodeName": "n1", "restartPolicy": "Always"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=web-0", True),
        ("metadata.name==web-0,metadata.namespace=default", True),
        ("metadata.name!=web-0", False),
        ("spec.nodeName=n1,status.phase=Running", True),
        ("spec.nodeName=", False),
        ("spec.nodeName!=", True),
        ("status.phase!=Running", False),
        ("status.podIP=", True),
        ("spec.hostNetwork=false", True),
    ],
)
def test_field_selectors_of_pods(text, matches):
    assert PODS.field_selector(text).matches(POD) is matches


def test_a_fixed_name_is_told_for_the_quick_way():
    found = PODS.field_selector("metadata.name=web-0,metadata.namespace=default,status.phase!=x")
    assert (found.name, found.namespace) == ("web-0", "default")
    assert PODS.field_selector("metadata.name!=web-0").name == ""


def test_values_may_be_escaped():
    chosen = EVENTS.field_selector(r"reason=a\,b\=c\\d")
    assert chosen.matches({"metadata": {}, "reason": r"a,b=c\d"})


def test_events_are_chosen_by_what_they_are_about():
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "web-0", "uid": "1"},
        "type": "Normal",
    }
    for text in ("involvedObject.kind=Pod", "involvedObject.uid=1,type=Normal", "source="):
        assert EVENTS.field_selector(text).matches(event)
    assert EVENTS.field_selector("source=kubelet").matches({**event, "source": {"component": "kubelet"}})
    assert EVENTS.field_selector("source=x").matches({**event, "reportingComponent": "x"})


@pytest.mark.parametrize(
    ("resource", "text", "message"),
    [
        (PODS, "spec.foo=bar", "field label not supported: spec.foo"),
        (
            STATEFULSETS,
            "spec.replicas=1",
            '"spec.replicas" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
        (PODS, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        (PODS, "=x", "invalid selector: '=x'; can't understand '=x'"),
        (
            PODS,
            "metadata.name=a=b",
            "invalid selector: 'metadata.name=a=b'; can't understand 'metadata.name=a=b'",
        ),
    ],
)
def test_an_unknown_or_malformed_field_is_a_bad_request(resource, text, message):
    with pytest.raises(errors.ApiError) as caught:
        resource.field_selector(text)
    assert (caught.value.code, caught.value.message) == (400, message)
