"""Questions about who may do what and who somebody is: answered in their status, and never stored."""

from __future__ import annotations

from petset.objects.registry import Kind

AUTHORIZATION_GROUP = "authorization.k8s.io"
AUTHENTICATION_GROUP = "authentication.k8s.io"  # Of the requests for tokens, too.

SELFSUBJECTACCESSREVIEWS = Kind(
    AUTHORIZATION_GROUP, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=("create",)
)

SELFSUBJECTRULESREVIEWS = Kind(
    AUTHORIZATION_GROUP, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=("create",)
)

SUBJECTACCESSREVIEWS = Kind(
    AUTHORIZATION_GROUP, "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=("create",)
)

LOCALSUBJECTACCESSREVIEWS = Kind(
    AUTHORIZATION_GROUP, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", verbs=("create",)
)

SELFSUBJECTREVIEWS = Kind(
    AUTHENTICATION_GROUP, "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=("create",)
)

TOKENREVIEWS = Kind(AUTHENTICATION_GROUP, "v1", "tokenreviews", "TokenReview", False, verbs=("create",))

KINDS = (
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTRULESREVIEWS,
    SUBJECTACCESSREVIEWS,
    LOCALSUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    TOKENREVIEWS,
)
