"""What manifests of 2016 say in annotations, and images by names of 2016, in the words that today's Kubernetes knows.

petset's own server and node read those annotations; a real cluster has forgotten them. So what the controller makes
there is written anew: init containers become `spec.initContainers`, a claim that asks for any class names none and gets
the default one, a class named in an annotation becomes `storageClassName`, images are called as the cluster's registry
has them; and the set's Service that tolerates unready endpoints is given `publishNotReadyAddresses`. All else stays:
`initialized` is read here, hostname and subdomain are the pet's identity anyway. The set itself is left as it was
written. `notes` says each change in a sentence, for events on the set. Pure.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from petset.base import well_known
from petset.kinds import service as services
from petset.kinds.pod_spec import init_annotations, pod_containers
from petset.objects import meta
from petset.objects.meta import Object

ALPHA_CLASS, BETA_CLASS = well_known.STORAGE_CLASS_ALPHA_ANNOTATION, well_known.STORAGE_CLASS_BETA_ANNOTATION
ANNOTATIONS = ("metadata", "annotations")


@dataclass(frozen=True, slots=True)
class Images:
    """What images are called in a cluster, by what manifests call them.

    A name is looked up as it is written, then without its tag or digest, which stays, then by the longest beginning
    that ends with a slash; then among patterns with a `*`, whose first match counts, with the tag latest where the name
    has none.
    """

    names: Mapping[str, str] = field(default_factory=dict[str, str])
    patterns: tuple[tuple[str, str], ...] = ()

    def renamed(self, image: str) -> str:
        if not image or not (self.names or self.patterns):
            return image
        if image in self.names:
            return self.names[image]
        repository = _repository(image)
        if repository in self.names:
            return self.names[repository] + image[len(repository) :]
        end = image.rfind("/", 0, len(repository)) + 1
        while end:
            if image[:end] in self.names:
                return self.names[image[:end]] + image[end:]
            end = image.rfind("/", 0, end - 1) + 1
        tagged = image if repository != image else f"{image}:latest"
        matching = (name for pattern, name in self.patterns if fnmatch.fnmatchcase(tagged, pattern))
        return next(matching, image)


def _repository(image: str) -> str:
    """Without tag and digest."""
    name = image.partition("@")[0]
    colon = name.rfind(":")
    return name[:colon] if colon > name.rfind("/") else name


def images_of(given: Iterable[str]) -> Images:
    """What `FROM=TO` each says; raises ValueError."""
    names: dict[str, str] = {}
    patterns: list[tuple[str, str]] = []
    for text in given:
        before, equals, after = text.partition("=")
        if not (before and equals and after):
            raise ValueError(f"cannot map an image by {text!r}: it is not FROM=TO; name both")
        if before.endswith("/") != after.endswith("/"):
            raise ValueError(f"cannot map an image by {text!r}: one is a beginning; end both with a slash, or none")
        if "*" in after:
            raise ValueError(f"cannot map an image by {text!r}: no image is called {after}; only FROM has a *")
        if "*" in before:
            patterns.append((before, after))
        else:
            names[before] = after
    return Images(names, tuple(patterns))


@dataclass(frozen=True, slots=True)
class Translation:
    """How pets are written for a cluster that knows today's words only."""

    images: Images = field(default_factory=Images)

    def pod(self, pod: Object) -> Object:
        """Raises init_annotations.Unreadable."""
        return self._pod(pod, [])

    def claim(self, claim: Object) -> Object:
        return _claim(claim, "", [])

    def notes(self, set_: Object) -> Sequence[str]:
        """What is written otherwise of a set's pets, a sentence each. Raises init_annotations.Unreadable."""
        said: list[str] = []
        self._pod(meta.part(set_, "spec", "template"), said)
        for template in meta.parts(set_, "spec", "volumeClaimTemplates"):
            _claim(template, meta.name(template), said)
        return tuple(dict.fromkeys(said))

    def _pod(self, pod: Object, said: list[str]) -> Object:
        if annotation := init_annotations.annotation_of(pod):
            pod = meta.changed(pod, ("spec", pod_containers.INIT), init_annotations.containers(pod))
            said.append(f"{annotation} became spec.initContainers")
        pod = _without(pod, (init_annotations.ALPHA, init_annotations.BETA))
        for place in pod_containers.OWN:
            given = meta.parts(pod, "spec", place)
            renamed = [self._container(one, said) for one in given]
            if any(new is not old for new, old in zip(renamed, given)):
                pod = meta.changed(pod, ("spec", place), renamed)
        return pod

    def _container(self, container: Object, said: list[str]) -> Object:
        image = container.get("image") or ""
        name = self.images.renamed(image)
        if name == image:
            return container
        said.append(f"image {image} became {name}")
        return {**container, "image": name}


def _claim(claim: Object, template: str, said: list[str]) -> Object:
    """A claim, or the template of one, whose class is a field or none."""
    annotations = meta.annotations(claim)
    if BETA_CLASS in annotations:
        name = annotations[BETA_CLASS]
        claim = meta.changed(claim, ("spec", "storageClassName"), name)
        said.append(f'{BETA_CLASS} of the claim template "{template}" became storageClassName "{name}"')
    elif ALPHA_CLASS in annotations and meta.get(claim, "spec", "storageClassName") is None:
        said.append(f'{ALPHA_CLASS} of the claim template "{template}" became the default storage class')
    return _without(claim, (ALPHA_CLASS, BETA_CLASS))


def _without(obj: Object, names: Sequence[str]) -> Object:
    annotations = meta.get(obj, *ANNOTATIONS, default={})
    if not any(name in annotations for name in names):
        return obj
    kept = {name: value for name, value in annotations.items() if name not in names}
    return meta.changed(obj, ANNOTATIONS, kept) if kept else meta.without(obj, ANNOTATIONS)


def published(service: Object) -> Object | None:
    """A Service with the annotation of 2016 as today's endpoints are made of it; None where nothing changes."""
    if not services.tolerates_unready(service) or meta.get(service, "spec", "publishNotReadyAddresses"):
        return None
    return meta.changed(service, ("spec", "publishNotReadyAddresses"), True)


def published_note(service: Object) -> str:
    name = meta.name(service)
    return f'{well_known.TOLERATE_UNREADY_ANNOTATION} of the Service "{name}" became publishNotReadyAddresses'
