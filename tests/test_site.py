"""The documentation as a site: it builds without a warning, needs no other host, and its search finds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

import loader
import registry
from loader import errors
from registry.defects import known
from tests.conftest import ROOT
from tools.site.links import file_of, page_of, rewritten, targets

if TYPE_CHECKING:
    from tests.site_search import Search

pytest.importorskip("mkdocs", reason="the site is built with mkdocs: pip install 'mlx-cards[docs]'")
pytest.importorskip("py_mini_racer", reason="the search runs in V8: pip install mini-racer")

FIRST = {
    "out of memory": "troubleshooting.html#out-of-memory",
    "EXIF": "images.html#exif-orientation",
    "multi-image": "abstractllm.html#several-images-multi-image",
    "slow": "troubleshooting.html#slow",
    "streaming": "abstractllm.html#streaming",
    "qwen2.5-vl": "families/qwen2.5-vl.html",
    "MemoryBudgetError": "api.html#loader.errors.MemoryBudgetError",
}
"""What is looked for, and the place that has to come first."""
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}
"""Elements that make a browser fetch something, and where they say what."""
PUBLIC = [
    *(f"registry.{name}" for name in registry.__all__),
    *(f"loader.{name}" for name in loader.__all__),
    *(f"loader.errors.{name}" for name in errors.__all__ if name.endswith("Error")),
]


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """`make docs` for the repository in `root`, into another folder."""
    environment = os.environ | {"PYTHONPATH": str(root), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
    return subprocess.run(  # noqa: S603  # this interpreter
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


class Page(HTMLParser):
    """What a page of the site links to, loads, and can be linked to at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for name in ("id", "name") if (value := given.get(name))}
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if tag in LOADS and (load := given.get(LOADS[tag])):
            self.loads.append(load)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly and without a word of complaint."""
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every page but the one for what is not found, whose links are absolute."""
    files = {file.relative_to(site).as_posix(): file for file in site.rglob("*.html")}
    return {
        name: Page(file.read_text(encoding="utf-8")) for name, file in files.items() if name != "404.html"
    }


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[str, Page]) -> None:
    elsewhere = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))

    assert elsewhere == set()
    assert re.findall(r"(?:url\(|@import\s)[\"']?(?:https?:)?//", styles) == []


def test_every_page_is_reached_from_the_first(pages: dict[str, Page]) -> None:
    reached, asked = set(), ["index.html"]
    while asked:
        name = asked.pop()
        if name not in reached:
            reached.add(name)
            asked += [there for there, _ in inner_links(name, pages[name]) if there in pages]

    assert reached == set(pages)


def test_every_link_between_pages_leads_to_a_place_that_is_there(site: Path, pages: dict[str, Page]) -> None:
    broken = [
        (name, there, anchor)
        for name, page in pages.items()
        for there, anchor in inner_links(name, page)
        if not (site / there).is_file()
        or (anchor and there in pages and anchor not in {*pages[there].anchors, "__top"})
    ]

    assert broken == []


def inner_links(name: str, page: Page) -> Iterator[tuple[str, str]]:
    """Files of the site that a page links to, each with its anchor."""
    for link in page.links:
        if not urlsplit(link).scheme:
            there, anchor = urldefrag(urljoin(f"/{name}", link))
            yield there.removeprefix("/").partition("?")[0] or "index.html", anchor


@pytest.fixture(scope="module")
def search(site: Path) -> Search:
    """The site's search, set up once."""
    from tests.site_search import Search

    return Search(site)


@pytest.mark.parametrize("query", FIRST)
def test_the_search_finds_the_right_page_first(search: Search, query: str) -> None:
    assert search.pages(query)[0] == FIRST[query]


def test_the_search_finds_nothing_where_there_is_nothing(search: Search) -> None:
    assert search.pages("xylophone") == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(pages: dict[str, Page], name: str) -> None:
    assert name in pages["api.html"].anchors, f"Add `::: {name}` to docs/api.md."


def test_a_family_has_a_page_with_its_prompt_tokens_and_memory(site: Path) -> None:
    text = (site / "families" / "qwen2.5-vl.html").read_text(encoding="utf-8")

    for said in ("&lt;|vision_start|&gt;", "1148x840", "1,230", "bf16", "fits", "smart_resize"):
        assert said in text, said


def test_a_familys_page_says_what_the_backend_does_wrong_with_it(site: Path) -> None:
    faults = [defect for defect in known().defects if defect.families and defect.done == "refused"]

    assert len(faults) > 5
    for fault in faults:
        for family in fault.families:
            page = (site / "families" / f"{family}.html").read_text(encoding="utf-8")
            assert "Faults of the backend" in page
            assert f"{fault.done}: " in page
    assert "Faults of the backend" not in (site / "families" / "gemma3.html").read_text(encoding="utf-8")


BROKEN = ("nothing.md", "guide.md#nothing", "../registry/models/nothing.yaml", "/guide.md")
"""Links to a page, a heading and a file that are not there, and one that holds on the site alone."""


def test_a_broken_link_ends_the_build_and_is_named(tmp_path: Path) -> None:
    root = tmp_path / "clone"  # without the reference and the cards, so that it is quick
    (root / "docs").mkdir(parents=True)
    for name in ("tools", "loader"):
        (root / name).symlink_to(ROOT / name)
    (root / "registry").mkdir()
    for file in (ROOT / "registry").iterdir():
        if file.name != "models":
            (root / "registry" / file.name).symlink_to(file)
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    without_nav = config[: config.index("\nnav:")] + config[config.index("\nhooks:") :]
    (root / "mkdocs.yml").write_text(without_nav, encoding="utf-8")
    (root / "docs" / "guide.md").write_text("# Guide\n", encoding="utf-8")
    (root / "README.md").write_text("# A page\n[the guide](docs/guide.md)\n", encoding="utf-8")

    assert build(root, tmp_path / "site").returncode == 0
    links = "\n".join(f"[a link]({link})" for link in BROKEN)
    (root / "docs" / "broken.md").write_text(f"# A page\n{links}\n", encoding="utf-8")
    done = build(root, tmp_path / "site")

    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line or "INFO" in line]
    for link in BROKEN:
        assert any("'broken.md'" in warning and f"'{link}'" in warning for warning in warnings), link
    assert f"Aborted with {len(BROKEN)} warnings in strict mode" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "page"),
    [
        ("README.md", "index.md"),
        ("CONTRIBUTING.md", "contributing.md"),
        ("docs/guide.md", "guide.md"),
        ("registry/models/gemma3.yaml", "families/gemma3.md"),
        ("examples/README.md", "files/examples/README.md"),
    ],
)
def test_a_page_knows_its_file_and_a_file_its_page(file: str, page: str) -> None:
    assert (page_of(file), file_of(page)) == (page, file)


def test_links_are_led_to_pages_and_code_is_left_alone() -> None:
    text = "[a](docs/guide.md#names) `[b](docs/guide.md)` [c](https://example.org)\n```\n[d](LICENSE)\n```\n"

    assert rewritten(text, "README.md", ROOT) == text.replace("[a](docs/guide", "[a](guide")
    assert list(targets(text, "README.md")) == ["docs/guide.md"]
    assert rewritten("[e](../tests/golden)", "docs/guide.md", ROOT) == "[e](files/tests/golden.md)"
    assert rewritten("[f](nothing.md)", "docs/guide.md", ROOT) == "[f](nothing.md)"


def test_every_link_of_the_repositorys_pages_leads_to_a_file() -> None:
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    missing = [
        (file.name, target)
        for file in files
        for target in targets(file.read_text(encoding="utf-8"), file.relative_to(ROOT).as_posix())
        if not (ROOT / target).exists()
    ]

    assert missing == []
