"""What the site shows besides the files of docs/: pages that the code tells, and pages that stand elsewhere.

A page that stands elsewhere (ARCHITECTURE.md, an example's README) keeps its place for those who read the sources; here
its links are turned to where their targets are in the site, and a link to a file that is no page becomes its words.
`mkdocs build --strict` then fails on any link that leads nowhere.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import reference

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
FENCES = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
EXAMPLES = {
    str(readme.relative_to(ROOT)): f"examples/{'-'.join(readme.relative_to(ROOT).parts[1:-1])}.md"
    for readme in sorted((ROOT / "examples").rglob("README.md"))
}
ELSEWHERE = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "STYLE.md": "explanation/style.md",
    "CHANGELOG.md": "reference/changelog.md",
    **EXAMPLES,
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The two sections that are as long as their folders: a page more there is a page more here."""
    examples = [{_title(ROOT / source).partition(":")[0]: path} for source, path in EXAMPLES.items()]
    kept = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    decisions = [{_title(path): f"decisions/{path.name}"} for path in kept]
    assert config.nav is not None
    config.nav += [{"Examples": examples}, {"Decisions": decisions}]
    return config


def _title(path: Path) -> str:
    return path.read_text().partition("\n")[0].removeprefix("# ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for path, page in reference.PAGES.items():
        files.append(File.generated(config, path, content=page()))
    for source, path in ELSEWHERE.items():
        files.append(File.generated(config, path, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    source = next((source for source, path in ELSEWHERE.items() if path == here), f"docs/{here}")
    parts = FENCES.split(markdown)
    return "".join(part if part.startswith("```") else _turned(part, source, here, files) for part in parts)


def _turned(text: str, source: str, here: str, files: Files) -> str:
    """Links between files of the checkout as links between pages of the site."""

    def link(match: re.Match[str]) -> str:
        words, target, place = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in ELSEWHERE:
            page = ELSEWHERE[path]
        elif path.startswith("docs/"):
            page = path.removeprefix("docs/")
        elif f"{path}/README.md" in ELSEWHERE:
            page = ELSEWHERE[f"{path}/README.md"]
        elif (ROOT / path).exists():
            return words
        else:
            return match[0]  # Leads nowhere: the strict build says so.
        if files.get_file_from_path(page) is None and (ROOT / path).is_dir():
            return words  # A folder.
        return f"[{words}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{place})"

    return LINK.sub(link, text)
