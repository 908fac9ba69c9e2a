"""Links in the HTML of a page that comes through a proxy: those to the page's own host are led below the proxy's path.

`led(page, lead)` gives the page with every address in it as `lead` says; what is no address of a tag (texts, comments,
scripts) stays as it is, byte by byte. One pass: what is not closed ends the looking.
Follows: the attributes of type URI in HTML 4.01, and those of HTML 5.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping

_ADDRESSES: Mapping[str, tuple[str, ...]] = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("formaction", "src", "usemap"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
_ONLY_TEXT = ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
_BEGIN = re.compile(r"<(?:!--|([A-Za-z][^\s/>]*))")
_REST = re.compile(r"""(?:[^>"']|"[^"]*"|'[^']*')*+>""")
_ATTRIBUTE = re.compile(r"""(?<![^\s"'<>/=])([^\s"'<>/=]++)(\s*+=\s*+)("[^"]*+"|'[^']*+'|[^\s>"']++)""")


def led(page: str, lead: Callable[[str], str]) -> str:
    found: list[str] = []
    copied = at = 0
    lowered = ""
    while begun := _BEGIN.search(page, at):
        if begun[1] is None:
            at = page.find("-->", begun.end()) + 3
            if at < 3:
                break
            continue
        tag = begun[1].lower()
        rest = _REST.match(page, begun.end())
        if rest is None:
            break
        if names := _ADDRESSES.get(tag):
            found += (page[copied : begun.end()], _attributes_led(rest[0], names, lead))
            copied = rest.end()
        at = rest.end()
        if tag in _ONLY_TEXT:
            lowered = lowered or page.lower()
            at = lowered.find(f"</{tag}", at)
            if at < 0:
                break
    return "".join((*found, page[copied:]))


def _attributes_led(text: str, names: tuple[str, ...], lead: Callable[[str], str]) -> str:
    def one(attribute: re.Match[str]) -> str:
        name, between, value = attribute.groups()
        if name.lower() not in names:
            return attribute[0]
        address = html.unescape(value[1:-1] if value[0] in "\"'" else value)
        new = lead(address)
        return attribute[0] if new == address else f'{name}{between}"{html.escape(new)}"'

    return _ATTRIBUTE.sub(one, text)
