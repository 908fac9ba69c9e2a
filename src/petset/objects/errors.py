"""Every expected failure of the API as one shape: a Kubernetes `Status` with code, reason, message and details.

`ApiError` is raised anywhere above the store and turned into the answer in one place (server/api.py); the client
raises it again on the other side. Its message is "cannot <what>: <why>; <what to do>" where the text is ours.
The reasons and codes are those of apimachinery's metav1.StatusReason; the causes' reasons those of field errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Clients look for these words to know that a write lost against another and is to be made anew.
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """An answer other than success. `code` is the HTTP status, `reason` a metav1.StatusReason."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details, self.headers = details, tuple(headers)

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may do in a while: the server has too much to do, or is in trouble itself."""
        return self.code == 429 or self.code >= 500

    def status(self) -> dict[str, Any]:
        """The metav1.Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": dict(self.details)} if self.details is not None else {}),
            "code": self.code,
        }


def from_status(status: Mapping[str, Any], code: int) -> ApiError:
    """The error a client raises for an answer that is not a success."""
    return ApiError(
        int(status.get("code", code)),
        status.get("reason", "Unknown"),
        status.get("message", f"the server answered {code}"),
        status.get("details"),
    )


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: reason is a metav1.CauseType (FieldValueInvalid, FieldValueRequired, ...)."""

    field: str
    reason: str
    message: str

    @staticmethod
    def invalid(field: str, value: Any, why: str) -> FieldError:
        return FieldError(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {why}")

    @staticmethod
    def required(field: str, why: str = "") -> FieldError:
        return FieldError(field, "FieldValueRequired", f"Required value{': ' + why if why else ''}")

    @staticmethod
    def forbidden(field: str, why: str) -> FieldError:
        return FieldError(field, "FieldValueForbidden", f"Forbidden: {why}")

    @staticmethod
    def unsupported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
        options = ", ".join(f'"{option}"' for option in supported)
        return FieldError(
            field, "FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {options}"
        )

    @staticmethod
    def duplicate(field: str, value: Any) -> FieldError:
        return FieldError(field, "FieldValueDuplicate", f"Duplicate value: {_shown(value)}")

    @staticmethod
    def not_found(field: str, value: Any) -> FieldError:
        return FieldError(field, "FieldValueNotFound", f"Not found: {_shown(value)}")

    @staticmethod
    def too_long(field: str, most: int) -> FieldError:
        return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {most} bytes")

    @staticmethod
    def too_many(field: str, count: int, most: int) -> FieldError:
        return FieldError(field, "FieldValueTooMany", f"Too many: {count}: must have at most {most} items")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return str(value)
    import json

    return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)


def _named(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def _about(plural: str, name: str, group: str) -> dict[str, Any]:
    return {"name": name, "group": group, "kind": plural} if group else {"name": name, "kind": plural}


def not_found(plural: str, name: str, group: str = "") -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f'{_named(plural, group)} "{name}" not found',
        _about(plural, name, group),
    )


def already_exists(plural: str, name: str, group: str = "") -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{_named(plural, group)} "{name}" already exists',
        _about(plural, name, group),
    )


def conflict(plural: str, name: str, why: str, group: str = "") -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_named(plural, group)} "{name}": {why}',
        _about(plural, name, group),
    )


def stale_write(plural: str, name: str, expected: int | str, current: int | str, group: str = "") -> ApiError:
    return conflict(
        plural,
        name,
        f"{MODIFIED} (it is at resourceVersion {current}, the request was made for {expected})",
        group,
    )


def invalid(kind: str, name: str, errors: Sequence[FieldError], group: str = "") -> ApiError:
    """422 with one cause a field."""
    shown = [f"{error.field}: {error.message}" for error in errors]
    text = shown[0] if len(shown) == 1 else "[" + ", ".join(shown) + "]"
    qualified = f"{kind}.{group}" if group else kind
    return ApiError(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {text}',
        {
            "name": name,
            "group": group,
            "kind": kind,
            "causes": [{"reason": e.reason, "message": e.message, "field": e.field} for e in errors],
        },
    )


class WrongType(ApiError):
    """400: a field has a value of another type. `why` is what the server that applies patches says of it instead."""

    def __init__(self, message: str, why: str):
        super().__init__(400, "BadRequest", message)
        self.why = why


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """Says no more than that: clients know the word, and a guesser learns nothing."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(plural: str, name: str, why: str, group: str = "") -> ApiError:
    subject = f'{_named(plural, group)} "{name}"' if name else _named(plural, group)
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", {"name": name, "group": group, "kind": plural})


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large(message: str) -> ApiError:
    return ApiError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(given: str, accepted: Sequence[str]) -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        f"cannot read a body of content type {given!r}; send one of: {', '.join(accepted)}",
    )


def too_many_requests(message: str, retry_after_seconds: int = 1) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        (("retry-after", str(retry_after_seconds)),),
    )


def timeout(message: str) -> ApiError:
    return ApiError(504, "Timeout", f"Timeout: {message}", {})


def method_not_allowed(verb: str, what: str) -> ApiError:
    return ApiError(405, "MethodNotAllowed", f"cannot {verb} {what}: it does not offer that verb")


def unavailable(message: str, retry_after_seconds: int = 0) -> ApiError:
    if not retry_after_seconds:
        return ApiError(503, "ServiceUnavailable", message)
    details, headers = {"retryAfterSeconds": retry_after_seconds}, (("retry-after", str(retry_after_seconds)),)
    return ApiError(503, "ServiceUnavailable", message, details, headers)
