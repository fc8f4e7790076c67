"""The files of the repository that become pages: what is in docs/, and what its pages link to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tools.generate.markdown import fenced
from tools.site.family import family_page
from tools.site.links import CARDS, targets

FIRST = ("README.md", "CONTRIBUTING.md")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


def sources(root: Path) -> dict[str, str]:
    """Paths of all files and folders that become pages, docs/ apart, with the page's Markdown."""
    cards = sorted(path.relative_to(root).as_posix() for path in (root / CARDS).glob("*.yaml"))
    asked = [*FIRST, *cards, *(f"docs/{path.name}" for path in sorted((root / "docs").glob("*.md")))]
    found: dict[str, str] = {}
    while asked:
        path = asked.pop()
        if path in found or not (root / path).exists():
            continue
        found[path] = _markdown(root, path)
        asked += targets(found[path], path)
    return {path: text for path, text in found.items() if not path.startswith("docs/")}


def _markdown(root: Path, path: str) -> str:
    file = root / path
    if path.startswith(f"{CARDS}/"):
        return family_page(file)
    if file.is_dir():
        return "\n".join(_folder(file, path))
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    return "\n".join([f"# {path}", *fenced(text, LANGUAGES.get(file.suffix, "text"))])


def _folder(folder: Path, path: str) -> Iterator[str]:
    yield f"# {path}\n"
    yield "A folder of the repository:\n"
    for file in sorted(folder.iterdir()):
        if not file.name.startswith((".", "__")):
            yield f"- `{PurePosixPath(path) / file.name}`"
