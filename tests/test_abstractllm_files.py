"""Files given to AbstractLLM's provider: every kind that the package's media factory knows, in every form."""

from __future__ import annotations

import base64
import http.server
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from abstractllm.exceptions import FileProcessingError
from abstractllm.media.image import ImageInput
from abstractllm.media.tabular import TabularInput
from abstractllm.media.text import TextInput

from tests.abstractllm_sessions import circle, llm, stored

WHAT = "What is in this image?"
TEXTS = ["txt", "md", "json", "py", "js", "ts", "java", "c", "cpp", "h", "html", "css", "xml", "yaml", "yml"]
"""The ends of names that media/factory.py of abstractllm 1.1.1 and 1.1.5 takes for text."""
IMAGES = ["jpg", "jpeg", "png", "gif", "webp", "bmp"]
ONE: dict[str, Callable[[Path], Any]] = {
    "a name": str,
    "a path": Path,
    "bytes": lambda path: path.read_bytes(),
    "an open file": lambda path: io.BytesIO(path.read_bytes()),
    "an image": PIL.Image.open,
    "an array": lambda path: np.asarray(PIL.Image.open(path)),
    "an ImageInput": lambda path: ImageInput(str(path)),
    "a map": lambda path: {"type": "image", "source": str(path)},
    "a generator": lambda path: (it for it in [path]),
}


@pytest.fixture(scope="module")
def demo() -> Any:
    return llm()


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A red circle on disk."""
    return stored(circle("red"), tmp_path)


@pytest.mark.parametrize("kind", TEXTS)
def test_every_kind_of_text_becomes_part_of_the_prompt(demo: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / f"note.{kind}").write_text("The sky is blue.")
    response = demo.generate("Look:", files=[tmp_path / f"note.{kind}"], max_tokens=1)
    assert f"Look:\n===== JOINT FILES ======\n\n===== note.{kind} =====" in response.raw_response.prompt
    assert "The sky is blue." in response.raw_response.prompt


@pytest.mark.parametrize(("kind", "mark"), [("csv", ","), ("tsv", "\t")])
def test_every_kind_of_table_becomes_one_of_markdown(demo: Any, tmp_path: Path, kind: str, mark: str) -> None:
    (tmp_path / f"table.{kind}").write_text(f"a{mark}b\nü{mark}2\n", encoding="utf-8")
    response = demo.generate("Look:", files=[tmp_path / f"table.{kind}"], max_tokens=1)
    assert "| a | b |\n| --- | --- |\n| ü | 2 |" in response.raw_response.prompt


def test_a_web_page_is_a_text(demo: Any, page: str) -> None:
    asked = page.replace("table.csv", "page.html")
    response = demo.generate("Look:", files=[asked], allow_private_urls=True, max_tokens=1)
    assert "a,b\nü,2" in response.raw_response.prompt


@pytest.mark.parametrize("kind", IMAGES)
def test_every_kind_of_image_is_seen(demo: Any, tmp_path: Path, kind: str) -> None:
    circle("red").save(tmp_path / f"red.{kind}")
    assert demo.generate(WHAT, files=[tmp_path / f"red.{kind}"]).content == "a red circle"


@pytest.mark.parametrize("kind", ONE)
def test_one_file_needs_no_list(demo: Any, red: Path, kind: str) -> None:
    assert demo.generate(WHAT, files=ONE[kind](red)).content == "a red circle"


def test_base64_may_be_broken_into_lines(demo: Any, red: Path) -> None:
    encoded = base64.encodebytes(red.read_bytes()).decode()
    assert encoded.count("\n") > 1
    assert demo.generate(WHAT, files=[encoded]).content == "a red circle"


def test_an_image_needs_no_words(demo: Any, red: Path) -> None:
    for prompt in ("", None):
        response = demo.generate(prompt, files=[red], max_tokens=1)
        assert response.raw_response.prompt == (
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n<|im_start|>assistant\n"
        )


def test_a_file_opened_as_text_is_refused_and_not_taken_for_a_name(demo: Any, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("photo.jpg")
    with (tmp_path / "note.txt").open() as file, pytest.raises(FileProcessingError, match="Pass its path"):
        demo.generate("Read", files=[file])


def test_an_open_file_is_left_where_it_was(demo: Any, red: Path) -> None:
    file = io.BytesIO(red.read_bytes())
    for _ in range(2):
        assert demo.generate(WHAT, files=[file]).content == "a red circle"


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers with a table, and says that a page is one."""

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path.endswith(".html"):
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write("a,b\nü,2\n".encode())

    def log_message(self, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def page() -> Iterator[str]:
    """The address of a table on 127.0.0.1."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/table.csv"
        server.shutdown()


def test_a_text_behind_a_private_url_is_guarded_as_images_are(demo: Any, page: str) -> None:
    for source in (page, TabularInput(page), TextInput(page), {"type": "text", "source": page}):
        with pytest.raises(FileProcessingError, match="allow_private_urls"):
            demo.generate("Look:", files=[source])
    response = demo.generate("Look:", files=[page], allow_private_urls=True, max_tokens=1)
    assert "| a | b |\n| --- | --- |\n| ü | 2 |" in response.raw_response.prompt
