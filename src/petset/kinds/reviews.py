"""Questions about who may do what and who somebody is: answered in their status, and never stored."""

from __future__ import annotations

from petset.objects.registry import Kind

SELFSUBJECTACCESSREVIEWS = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",)
)

SELFSUBJECTRULESREVIEWS = Kind(
    "authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=("create",)
)

SUBJECTACCESSREVIEWS = Kind(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=("create",)
)

SELFSUBJECTREVIEWS = Kind(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",)
)

TOKENREVIEWS = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", False, verbs=("create",))

KINDS = (
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTRULESREVIEWS,
    SUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    TOKENREVIEWS,
)
