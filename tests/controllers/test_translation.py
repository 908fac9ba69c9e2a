"""The words of 2016 in those of today: pods, claims, Services and names of images, as a real cluster is given them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from petset.client.views import Snapshot
from petset.controllers import actions, replica
from petset.controllers.pets import family, petset
from petset.controllers.pets.translation import Images, Translation, images_of, published
from petset.kinds.pod_spec import init_annotations
from petset.objects import meta
from petset.objects.meta import Object
from tests.controllers import sets

ALPHA_INIT = "pod.alpha.kubernetes.io/init-containers"
BETA_INIT = "pod.beta.kubernetes.io/init-containers"
INITIALIZED = "pod.alpha.kubernetes.io/initialized"
ALPHA_CLASS = "volume.alpha.kubernetes.io/storage-class"
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
TOLERATES = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
INIT = '[{"name": "install", "image": "gcr.io/install:0.1", "command": ["/install.sh"]}]'


def pod(annotations: dict[str, str], **spec: Any) -> Object:
    given = {"containers": [{"name": "c", "image": "gcr.io/google_containers/nginx-slim:0.8"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "annotations": annotations}, "spec": given}


def test_init_containers_become_a_field_and_their_annotation_goes():
    made = Translation().pod(pod({ALPHA_INIT: INIT, INITIALIZED: "true"}))
    assert made["spec"]["initContainers"] == [
        {"name": "install", "image": "gcr.io/install:0.1", "command": ["/install.sh"]}
    ]
    assert made["metadata"]["annotations"] == {INITIALIZED: "true"}


def test_the_field_counts_before_the_annotation_and_beta_before_alpha():
    field = [{"name": "own", "image": "i"}]
    assert Translation().pod(pod({ALPHA_INIT: INIT}, initContainers=field))["spec"]["initContainers"] == field
    beta = '[{"name": "beta", "image": "i"}]'
    made = Translation().pod(pod({ALPHA_INIT: INIT, BETA_INIT: beta}))
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["beta"]
    assert "annotations" not in made["metadata"]


def test_what_needs_no_translation_is_left_as_it_is():
    plain = pod({INITIALIZED: "false", "mine": "too"})
    assert Translation(Images({"other": "thing"})).pod(plain) is plain


@pytest.mark.parametrize("text", ["no JSON", '{"name": "no list"}', '[{"image": "no name"}]', '[{"name": 1}]'])
def test_an_annotation_that_is_none_is_refused_with_its_place(text):
    with pytest.raises(init_annotations.Unreadable, match=r"metadata.annotations\[pod.alpha|spec.initContainers"):
        Translation().pod(pod({ALPHA_INIT: text}))


def claim(annotations: dict[str, str], **spec: Any) -> Object:
    return {"metadata": {"name": "data", "annotations": annotations}, "spec": spec}


def test_any_class_is_the_default_one_and_a_class_by_annotation_a_field():
    assert Translation().claim(claim({ALPHA_CLASS: "anything"})) == {"metadata": {"name": "data"}, "spec": {}}
    named = Translation().claim(claim({BETA_CLASS: "fast", ALPHA_CLASS: "x", "mine": "y"}, storageClassName="slow"))
    assert named == {"metadata": {"name": "data", "annotations": {"mine": "y"}}, "spec": {"storageClassName": "fast"}}
    none = Translation().claim(claim({BETA_CLASS: ""}))
    assert none["spec"] == {"storageClassName": ""}, "an empty name is a name"


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("redis:3", "mirror/redis-3"),  # As it is written.
        ("redis:4", "redis:4"),
        ("gcr.io/google_containers/nginx-slim:0.8", "mirror/nginx:0.8"),  # The tag stays.
        ("gcr.io/google_containers/nginx-slim", "mirror/nginx"),
        ("gcr.io/google_containers/nginx-slim@sha256:ab", "mirror/nginx@sha256:ab"),
        ("gcr.io/google_containers/other:1", "here:5000/gcr/other:1"),  # The longest beginning.
        ("gcr.io/else/other:1", "here:5000/all/else/other:1"),
        ("localhost:5000/a", "mirror/a"),  # A port is no tag.
        ("localhost:5000/a:1", "mirror/a:1"),
        ("", ""),
    ],
)
def test_names_of_images(image, name):
    images = images_of(
        [
            "redis:3=mirror/redis-3",
            "gcr.io/google_containers/nginx-slim=mirror/nginx",
            "gcr.io/google_containers/=here:5000/gcr/",
            "gcr.io/=here:5000/all/",
            "localhost:5000/a=mirror/a",
        ]
    )
    assert images.renamed(image) == name


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("debian:jessie", "here/debian:1"),
        ("debian:jessie-slim", "here/debian:1"),
        ("gcr.io/google_containers/nginx-slim:0.8", "here/nginx:1"),
        ("gcr.io/google_containers/nginx-slim", "here/nginx:1"),  # Its tag is latest.
        ("gcr.io/google_containers/nginx-slim-2", "gcr.io/google_containers/nginx-slim-2"),
        ("gcr.io/google_containers/redis-install-3.2.0:e2e", "mine/redis:own"),  # A name counts before a pattern.
        ("gcr.io/google_containers/redis-install-3.2.0:other", "here/redis-install:1"),
    ],
)
def test_patterns_of_names(image, name):
    images = images_of(
        [
            "debian:jessie*=here/debian:1",
            "gcr.io/google_containers/nginx-slim:*=here/nginx:1",
            "gcr.io/google_containers/redis-install*=here/redis-install:1",
            "gcr.io/google_containers/redis-install-3.2.0:e2e=mine/redis:own",
        ]
    )
    assert images.renamed(image) == name


@pytest.mark.parametrize("text", ["", "a", "=b", "a=", "a/=b", "a=b/", "a*=b*"])
def test_a_map_of_images_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="cannot map an image by"):
        replica.settings(image_map=[text])


def service(annotations: dict[str, str], **spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "resourceVersion": "7", "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": "None", **spec}}


def test_a_service_that_tolerates_unready_endpoints_publishes_them():
    made = published(service({TOLERATES: "true"}))
    assert made == service({TOLERATES: "true"}, publishNotReadyAddresses=True)
    assert published(service({TOLERATES: "false"})) is None and published(service({})) is None
    assert published(service({TOLERATES: "true"}, publishNotReadyAddresses=True)) is None


# -- By the controller


def of_2016(annotations: dict[str, str]) -> Object:
    set_ = sets.set_of("PetSet", replicas=1)
    set_ = meta.changed(set_, ("spec", "template", "metadata", "annotations"), annotations)
    set_ = meta.changed(set_, ("spec", "serviceName"), "web")
    template = {"metadata": {"name": "data", "annotations": {ALPHA_CLASS: "any"}}, "spec": {}}
    set_ = meta.changed(set_, ("spec", "volumeClaimTemplates"), [template])
    return meta.changed(set_, ("metadata", "generation"), 1)


def steps_of(set_: Object, *others: Object) -> list[actions.Action]:
    kind = replace(family.PETSET, translation=Translation(Images({"gcr.io/": "here/"})))
    return list(actions.flat(petset.reconcile(kind, meta.key(set_), Snapshot([set_, *others]), sets.NOW)))


def test_each_translation_is_told_on_the_set_when_its_spec_is_new_and_not_again():
    set_ = of_2016({ALPHA_INIT: INIT})
    said = [step.message for step in steps_of(set_) if isinstance(step, actions.EmitEvent)]
    assert said == [
        "pod.alpha.kubernetes.io/init-containers became spec.initContainers",
        "image gcr.io/install:0.1 became here/install:0.1",
        'volume.alpha.kubernetes.io/storage-class of the claim template "data" became the default storage class',
    ]
    seen = meta.changed(set_, ("status",), {"observedGeneration": 1})
    assert not [step for step in steps_of(seen) if isinstance(step, actions.EmitEvent)]


def test_pods_and_claims_are_made_translated_and_the_service_after_them():
    set_ = of_2016({ALPHA_INIT: INIT})
    steps = steps_of(set_, service({TOLERATES: "true"}))
    made = {step.object["kind"]: step.object for step in steps if isinstance(step, actions.Create)}
    assert made["Pod"]["spec"]["initContainers"][0]["image"] == "here/install:0.1"
    assert ALPHA_INIT not in made["Pod"]["metadata"]["annotations"]
    assert ALPHA_CLASS not in meta.annotations(made["PersistentVolumeClaim"])
    [update] = [step for step in steps if isinstance(step, actions.Update)]
    assert update.object["spec"]["publishNotReadyAddresses"] is True
    assert update.object["metadata"]["resourceVersion"] == "7", "only if it is as it was seen"
    assert (
        update.on_success
        and update.on_success.about is set_
        and "publishNotReadyAddresses" in update.on_success.message
    )
    order = [type(step).__name__ for step in steps if isinstance(step, (actions.Create, actions.Update))]
    assert order[-1] == "Update", "no pet waits for it"


def test_the_template_in_the_history_is_as_it_was_written():
    [revision] = [
        step.object
        for step in steps_of(of_2016({ALPHA_INIT: INIT}))
        if isinstance(step, actions.Create) and step.object["kind"] == "ControllerRevision"
    ]
    assert meta.get(revision, "data", "spec", "template", "metadata", "annotations") == {ALPHA_INIT: INIT}


def test_a_set_whose_annotation_is_none_says_so_and_makes_no_pod():
    steps = steps_of(of_2016({ALPHA_INIT: "no JSON"}))
    said = [step for step in steps if isinstance(step, actions.EmitEvent)]
    assert [(one.type, one.reason) for one in said] == [("Warning", "FailedTranslate"), ("Warning", "FailedCreate")]
    assert all("metadata.annotations[pod.alpha" in one.message for one in said)
    assert not [step for step in steps if isinstance(step, actions.Create) and step.object["kind"] == "Pod"]


def test_a_service_wakes_the_sets_that_are_named_by_it():
    kind = replace(family.PETSET, translation=Translation())
    set_ = of_2016({})
    row = petset.controller(kind)
    keys = {resource.kind: keys for resource, keys in row.watches}["Service"]
    view = Snapshot([set_])
    assert list(keys(service({TOLERATES: "true"}), view)) == [meta.key(set_)]
    assert list(keys(service({}), view)) == [], "nothing is to be said of it"


def test_the_embedded_controllers_translate_nothing():
    assert all(row.translation is None for row in family.KINDS)
    set_ = of_2016({ALPHA_INIT: INIT})
    steps = actions.flat(petset.reconcile(family.PETSET, meta.key(set_), Snapshot([set_]), sets.NOW))
    [made] = [step.object for step in steps if isinstance(step, actions.Create) and step.object["kind"] == "Pod"]
    assert made["metadata"]["annotations"][ALPHA_INIT] == INIT
