"""Where a webhook is: the clientConfig of those that are asked about writes and of those that convert.

A URL or a Service, never both, and whom to trust there. What is wrong with one is said in upstream's words.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from petset.objects import names
from petset.objects.errors import FieldError
from petset.objects.filling import at, fill
from petset.objects.meta import Object
from petset.objects.validation import Errors

SERVICE_PORT_DEFAULT = 443


def defaults(config: Object) -> Object:
    return at(config, "service", lambda given: fill(given, {"port": SERVICE_PORT_DEFAULT}))


def wrong(config: Object, where: str) -> Errors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield FieldError.required(where, "exactly one of url or service is required")
    elif service is None:
        yield from _url(url or "", f"{where}.url")
    else:
        yield from _service_errors(service, f"{where}.service")


_FORM = "; desired format: https://host[/path]"


def _url(url: str, path: str) -> Errors:
    try:
        parts = urlsplit(url)
        _ = parts.port, url.encode("ascii")
    except ValueError as error:
        yield FieldError.required(path, f"url must be a valid URL: {error}{_FORM}")
        return
    if not url.isprintable() or " " in url:
        yield FieldError.required(path, f"url must be a valid URL: it has spaces or control characters{_FORM}")
    yield from _url_parts(parts, path)


def _url_parts(parts: SplitResult, path: str) -> Errors:
    if parts.scheme != "https":
        yield FieldError.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}")
    if not parts.hostname:
        yield FieldError.invalid(path, parts.netloc, f"host must be provided{_FORM}")
    if "@" in parts.netloc:
        yield FieldError.invalid(path, parts.username, "user information is not permitted in the URL")
    if parts.fragment:
        yield FieldError.invalid(path, parts.fragment, "fragments are not permitted in the URL")
    if parts.query:
        yield FieldError.invalid(path, parts.query, "query parameters are not permitted in the URL")


def _service_errors(service: Object, where: str) -> Errors:
    for field, rule in (("name", names.label), ("namespace", names.label)):
        value = service.get(field) or ""
        if not value:
            yield FieldError.required(f"{where}.{field}", f"service {field} is required")
        elif wrong := rule(value):  # They become a name of TLS and a key.
            yield FieldError.invalid(f"{where}.{field}", value, wrong)
    if wrong := names.port(service.get("port")):
        yield FieldError.invalid(f"{where}.port", service.get("port"), f"port is not valid: {wrong}")
    path = service.get("path") or "/"
    if path == "/":
        return
    if not path.startswith("/"):
        yield FieldError.invalid(f"{where}.path", path, "must start with a '/'")
    for index, segment in enumerate(path[1:].removesuffix("/").split("/")):
        wrong = "may not be empty" if not segment else names.subdomain(segment)
        if wrong:
            joint = " " if not segment else ": "
            yield FieldError.invalid(f"{where}.path", path, f"segment[{index}]{joint}{wrong}")
