"""Links of a Markdown page: from a file of the repository to a page of the site.

The pages are written for readers of the repository: a link is a path from the file that has it. On the site
some files are at another place, and some, such as a card, are a page of their own.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CODE_OR_LINK = re.compile(
    r"^ *(?P<fence>```+|~~~+).*?^ *(?P=fence)$|`[^`\n]+`|\]\((?P<target>[^)\s]+)\)", re.DOTALL | re.MULTILINE
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
_HOMES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
CARDS, FAMILIES, FILES = "registry/models", "families", "files"


def page_of(path: str) -> str:
    """The page of the site that a file or folder of the repository is."""
    if path in _HOMES:
        return _HOMES[path]
    parent, stem = posixpath.dirname(path), PurePosixPath(path).stem
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if parent == CARDS:
        return f"{FAMILIES}/{stem}.md"
    return f"{FILES}/{path.removesuffix('.md')}.md"


def file_of(page: str) -> str:
    """The file of the repository that a page of the site is."""
    for file, home in _HOMES.items():
        if page == home:
            return file
    if page.startswith(f"{FAMILIES}/"):
        return f"{CARDS}/{PurePosixPath(page).stem}.yaml"
    return page.removeprefix(f"{FILES}/") if page.startswith(f"{FILES}/") else f"docs/{page}"


def targets(text: str, path: str) -> Iterator[str]:
    """What a page at `path` links to in the repository, without anchors."""
    for match in _CODE_OR_LINK.finditer(text):
        if match["target"] and not _ELSEWHERE.match(match["target"]):
            yield _joined(path, match["target"].partition("#")[0])


def rewritten(text: str, path: str, root: Path) -> str:
    """The page at `path` with the links that it needs on the site.

    A link to what is not there stays, and MkDocs reports it.
    """
    here = posixpath.dirname(page_of(path))

    def replace(match: re.Match[str]) -> str:
        if not match["target"] or _ELSEWHERE.match(match["target"]):
            return match[0]
        target, mark, anchor = match["target"].partition("#")
        there = _joined(path, target)
        if not (root / there).exists():
            return match[0]
        return f"]({posixpath.relpath(page_of(there), here)}{mark}{anchor})"

    return _CODE_OR_LINK.sub(replace, text)


def _joined(path: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
