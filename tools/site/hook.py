"""What MkDocs calls while it builds the site: pages from files outside docs/, and links to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tools.site.links import CARDS, FAMILIES, FILES, file_of, page_of, rewritten
from tools.site.sources import sources

SEARCH: dict[str, dict[str, Any]] = {
    "troubleshooting.md": {"boost": 3},  # who looks for a symptom wants the remedy
    FAMILIES: {"boost": 0.5},  # forty pages with the same words
    FILES: {"exclude": True},
}
"""How the search weighs a page, or those of a folder."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the families into the navigation, where it has an empty entry for them."""
    families = sorted(path.stem for path in (_root(config) / CARDS).glob("*.yaml"))
    for section in config.nav or ():
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if "Families" in entry:
                    entry["Families"] = [f"{FAMILIES}/{family}.md" for family in families]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Make pages of the README, the cards, and the files that pages link to."""
    for path, text in sources(_root(config)).items():
        files.append(File.generated(config, page_of(path), content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Lead the links of a page to pages, where they lead to files of the repository."""
    place = page.file.src_uri
    if weight := SEARCH.get(place) or SEARCH.get(place.partition("/")[0]):
        page.meta["search"] = weight
    root = _root(config)
    return rewritten(markdown, file_of(place), root)


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent
