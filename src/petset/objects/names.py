"""What names may look like: labels, subdomains, qualified names, ports, environment variables, IP addresses.

Each function answers what is wrong with a text in one sentence that ends with an example and the regular expression,
the form in which kubectl's users know it; "" when the text is fine. Follows RFC 1035 and 1123 as the Kubernetes API
uses them: lower case only, 63 characters a label, 253 a subdomain.
"""

from __future__ import annotations

import ipaddress
import re

from petset.objects.remembered import remembered

LABEL_CHARACTERS_MAX = 63
SUBDOMAIN_CHARACTERS_MAX = 253
PORT_NAME_CHARACTERS_MAX = 15

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"


def _said(what: str, example: str, pattern: str) -> str:
    return f"{what} (e.g. '{example}', regex used for validation is '{pattern}')"


def _too_long(most: int) -> str:
    return f"must be no more than {most} characters"


def _form(pattern: str, most: int, what: str, *examples: str) -> tuple[re.Pattern[str], int, str]:
    said = _said(what, "', or '".join(examples), pattern)
    return re.compile(rf"(?:{pattern})\Z"), most, said


_FORM_LABEL = _form(
    _LABEL,
    LABEL_CHARACTERS_MAX,
    "a lowercase RFC 1123 label must consist of lower case letters, digits or '-', and begin and end with a letter or "
    "digit",
    "my-name",
    "123-abc",
)
_FORM_LABEL_1035 = _form(
    _LABEL_1035,
    LABEL_CHARACTERS_MAX,
    "a DNS-1035 label must consist of lower case letters, digits or '-', begin with a letter, and end with a letter or "
    "digit",
    "my-name",
    "abc-123",
)
_FORM_SUBDOMAIN = _form(
    _SUBDOMAIN,
    SUBDOMAIN_CHARACTERS_MAX,
    "a lowercase RFC 1123 subdomain must consist of lower case letters, digits, '-' or '.', and begin and end with a "
    "letter or digit",
    "example.com",
)
_FORM_QUALIFIED = _form(
    _QUALIFIED,
    LABEL_CHARACTERS_MAX,
    "name part must consist of letters, digits, '-', '_' or '.', and begin and end with a letter or digit",
    "MyName",
    "my.name",
    "123-abc",
)
_FORM_LABEL_VALUE = _form(
    rf"({_QUALIFIED})?",
    LABEL_CHARACTERS_MAX,
    "a valid label must be an empty string or consist of letters, digits, '-', '_' or '.', and begin and end with a "
    "letter or digit",
    "MyValue",
    "my_value",
    "12345",
)
_FORM_KEY = _form(
    r"[-._a-zA-Z0-9]+",
    SUBDOMAIN_CHARACTERS_MAX,
    "a valid config key must consist of letters, digits, '-', '_' or '.'",
    "key.name",
    "KEY_NAME",
    "key-name",
)


def _wrong(text: str, form: tuple[re.Pattern[str], int, str]) -> str:
    pattern, most, said = form
    if len(text) > most:
        return _too_long(most)
    return "" if pattern.match(text) else said


@remembered(8192)
def label(text: str) -> str:
    """An RFC 1123 label: namespaces, containers, volumes."""
    return _wrong(text, _FORM_LABEL)


@remembered(1024)
def label_1035(text: str) -> str:
    """A label that begins with a letter: services."""
    return _wrong(text, _FORM_LABEL_1035)


@remembered(8192)
def subdomain(text: str) -> str:
    """Labels with dots between: most objects."""
    return _wrong(text, _FORM_SUBDOMAIN)


@remembered(8192)
def qualified(text: str) -> str:
    """An optional subdomain and '/', then a name: keys of labels and annotations, finalizers, resources."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        return _said(
            "a qualified name must consist of an optional DNS subdomain prefix and '/', and a name",
            "example.com/MyName",
            _QUALIFIED,
        )
    if slash and not prefix:
        return "prefix part must be non-empty"
    if prefix and (wrong := subdomain(prefix)):
        return f"prefix part {wrong}"
    if not name:
        return "name part must be non-empty"
    return _wrong(name, _FORM_QUALIFIED)


@remembered(8192)
def label_value(text: str) -> str:
    return _wrong(text, _FORM_LABEL_VALUE)


@remembered(1024)
def config_key(text: str) -> str:
    """A key of a ConfigMap or Secret: it may become a file's name."""
    if text in (".", "..") or text.startswith(".."):
        return "must not be '.' and must not begin with '..'"
    return _wrong(text, _FORM_KEY)


def path_segment(text: str) -> str:
    """A name that is part of a URL's path: roles and bindings."""
    if text in (".", ".."):
        return f"may not be '{text}'"
    for character in "/%":
        if character in text:
            return f"may not contain '{character}'"
    return _too_long(SUBDOMAIN_CHARACTERS_MAX) if len(text) > SUBDOMAIN_CHARACTERS_MAX else ""


@remembered(1024)
def domain_path(text: str) -> str:
    """A subdomain, '/' and a path: who manages a Job, which controller an IngressClass is for."""
    domain, slash, path = text.partition("/")
    if not domain or not slash or not path:
        return 'must be a domain-prefixed path (such as "acme.io/foo")'
    if wrong := subdomain(domain):
        return wrong
    if re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", path):
        return ""
    return "Invalid path: it may have letters, digits and /-._~%!$&'()*+,;=:"


@remembered(1024)
def cidr(text: str) -> str:
    """A network: an address and how many of its bits count."""
    wrong = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    address, slash, bits = text.partition("/")
    if not slash or not bits.isascii() or not bits.isdigit() or len(bits) > 3:
        return wrong
    try:
        ipaddress.ip_network(f"{address}/{int(bits)}", strict=False)
    except ValueError:
        return wrong
    return ""


@remembered(1024)
def wildcard_subdomain(text: str) -> str:
    """A subdomain whose first label is '*'."""
    rest = text.removeprefix("*.")
    if rest != text and not subdomain(rest):
        return ""
    return _said(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case letters, digits, '-' or '.' and end with a letter or digit",
        "*.example.com",
        rf"\*\.{_SUBDOMAIN}",
    )


@remembered(1024)
def port_name(text: str) -> str:
    """An IANA service name: at most 15 of a-z, 0-9 and '-', with a letter among them."""
    if len(text) > PORT_NAME_CHARACTERS_MAX:
        return _too_long(PORT_NAME_CHARACTERS_MAX)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])*", text) or "--" in text:
        return "must contain only lower case letters, digits and single '-' between them (a-z, 0-9, '-')"
    return "" if re.search("[a-z]", text) else "must contain at least one letter (a-z)"


def port(number: object) -> str:
    fine = isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 65535
    return "" if fine else "must be between 1 and 65535, inclusive"


@remembered(4096)
def environment_variable(text: str) -> str:
    if re.fullmatch(r"[ -<>-~]+", text):
        return ""
    return "a valid environment variable name must consist only of printable ASCII characters other than '='"


@remembered(1024)
def ip(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
    return ""


def relative_path(text: str) -> str:
    """A path that stays below where it is mounted."""
    if text.startswith("/"):
        return "must be a relative path"
    return "must not contain '..'" if ".." in text.split("/") else ""
