"""Names of signers: a domain and a name below it, example.com/my-signer. Who may do what with one is asked of RBAC."""

from __future__ import annotations

from petset.objects import names
from petset.objects.errors import FieldError
from petset.objects.validation import Errors

CHARACTERS_MAX = 571  # A domain, "/", and a name of two labels' length.
VALUE_CHARACTERS_SHOWN_MAX = 64
NOT_SHOWN = "<value omitted>"  # Instead of what is too long to be told.


def named(name: str, path: str) -> Errors:
    if not name:
        yield FieldError.required(path)
        return
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield FieldError.invalid(path, name[:VALUE_CHARACTERS_SHOWN_MAX], why)
        return
    if len(name) > CHARACTERS_MAX:
        yield FieldError.too_long(path, CHARACTERS_MAX)
    for part, text in (("domain", domain), ("path", rest)):
        if wrong := names.subdomain(text):
            yield FieldError.invalid(path, text[:VALUE_CHARACTERS_SHOWN_MAX], f"validating {part}: {wrong}")
    if "." not in domain:
        yield FieldError.invalid(path, domain, "should be a domain with at least two segments separated by dots")
