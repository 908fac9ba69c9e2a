"""`petset man`: the man page, made of the parsers that `--help` prints, so that it cannot say anything else.

    petset man | man -l -           or, for good: petset man > /usr/local/share/man/man1/petset.1

Follows: man-pages(7), groff_man(7).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from petset import __version__
from petset.cli import exit_codes, main

ENVIRONMENT = (
    ("PETSET_STATE", "The instance's state directory, unless --state names one."),
    ("PETSET_IMAGES", "A directory of images that several instances share."),
    ("NO_COLOR", "Set to anything but nothing: no colors. There are none either where the output is no terminal."),
)
FILES = (
    ("/var/lib/petset", "The state directory of root's instance, unless another is named."),
    ("~/.local/share/petset", "That of other users."),
    ("kubeconfig, petset.log", "In the state directory: how to reach the cluster, and what happened to it."),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> int:
    print("\n".join(page()))
    return 0


def page() -> Iterator[str]:
    top = main.parser(None)
    yield f'.TH PETSET 1 "" "petset {__version__}" "petset"'
    yield from (".ad l", ".nh")
    yield from section("NAME", f"petset \\- {escaped((top.description or '').rstrip('.'))}")
    yield from section("SYNOPSIS", ".B petset", "[\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]")
    yield from section("OPTIONS")
    yield from _arguments(top)
    yield from section("COMMANDS")
    for name, *_ in main.COMMANDS:
        yield from _command(main.parser(name).below[name], f"petset {name}")
    yield from section("EXIT STATUS")
    for code, meaning in exit_codes.MEANING.items():
        yield from entry(str(code), meaning)
    for title, entries in (("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield from section(title)
        for name, what in entries:
            yield from entry(name, what)
    yield from section("SEE ALSO", ".BR kubectl (1),", ".BR crun (1)")


def _command(parser: main.Parser, name: str) -> Iterator[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix(f"usage: {name}").strip()
    yield f".SS {escaped(name)}"
    yield f"\\fB{escaped(name)}\\fR {escaped(usage)}"
    if parser.description:
        yield from (".PP", escaped(parser.description))
    yield from _arguments(parser)
    for word, one in parser.below.items():
        yield from _command(one, f"{name} {word}")


def _arguments(parser: main.Parser) -> Iterator[str]:
    for action in parser.takes:
        if action.help != argparse.SUPPRESS:
            yield from entry(flags(action), parser.help_of(action))


def flags(action: argparse.Action) -> str:
    """Like -o, --output FORMAT."""
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + (f" {value}" if action.nargs != 0 else "")


def section(title: str, *lines: str) -> Iterator[str]:
    yield f".SH {title}"
    yield from lines


def entry(term: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{escaped(term)}\\fR", escaped(text))


def escaped(text: str) -> str:
    """A line of text that is nothing else to roff."""
    text = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("-", "\\-")
    text = text.replace("`", "").replace("~", "\\(ti").replace("^", "\\(ha").replace("|", "|\\:")
    text = re.sub(r",(?=\S)", r",\\:", text)  # A line may be broken in a list.
    return f"\\&{text}" if text.startswith((".", "'")) else text
