"""yaml-language-server, as editors run it: installed from npm once per machine, spoken to over its pipes."""

from __future__ import annotations

import functools
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "yaml-language-server@1.25.0"
"""The last one that runs on Node 20."""
LEAST_NODE = 18
SECONDS = 300
"""For the installation."""
PATIENCE = 60.0
"""For one answer."""
Position = tuple[int, int]
"""Line and character, from 0."""


@functools.cache
def installed(cache: Path) -> Path:
    """The folder where the server is; the test is skipped where it cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    if int(version.strip().lstrip("v").partition(".")[0]) < LEAST_NODE:
        pytest.skip(f"{PACKAGE} needs Node {LEAST_NODE}, this is {version.strip()}")
    folder = cache / PACKAGE
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as work:
            made = Path(work, "made")
            made.mkdir()
            _install(npm, made)
            made.rename(folder)
    return folder


def _install(npm: str, folder: Path) -> None:
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1"]
    command = [npm, "install", PACKAGE, "--prefix", str(folder), "--cache", str(folder / "npm"), *options]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"{PACKAGE} cannot be installed: {error}")
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        pytest.skip(f"{PACKAGE} cannot be installed: {(errors or [done.stderr.strip()])[0]}")
    shutil.rmtree(folder / "npm", ignore_errors=True)


class Editor:
    """A client that opens files as an editor does."""

    def __init__(self, server: Path, root: Path) -> None:
        script = server / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
        self._process = subprocess.Popen(  # noqa: S603
            ["node", str(script), "--stdio"],  # noqa: S607
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NODE_OPTIONS": ""},
        )
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._last = 0
        threading.Thread(target=self._listen, daemon=True).start()
        capabilities = {
            "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}, "hover": {}},
            "workspace": {"configuration": True},
        }
        self._ask("initialize", processId=os.getpid(), rootUri=root.as_uri(), capabilities=capabilities)
        self._tell("initialized")

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()

    def diagnostics(self, file: Path) -> list[tuple[int, str]]:
        """What the server finds in a file: line, from 1, and words."""
        uri = self._open(file)
        while True:
            said = self._next()
            if said.get("method") == "textDocument/publishDiagnostics" and said["params"]["uri"] == uri:
                found = said["params"]["diagnostics"]
                return [(each["range"]["start"]["line"] + 1, each["message"]) for each in found]

    def completions(self, file: Path, at: Position) -> set[str]:
        """What may stand at a place of a file."""
        return {item["label"] for item in self._at("completion", file, at)["items"]}

    def hover(self, file: Path, at: Position) -> str:
        """What is said about a place of a file."""
        return str(self._at("hover", file, at)["contents"]["value"])

    def _at(self, what: str, file: Path, at: Position) -> Any:
        position = {"line": at[0], "character": at[1]}
        uri = self._open(file)
        return self._ask(f"textDocument/{what}", textDocument={"uri": uri}, position=position)

    def _open(self, file: Path) -> str:
        document = {"uri": file.as_uri(), "languageId": "yaml", "version": 1}
        self._tell("textDocument/didOpen", textDocument=document | {"text": file.read_text(encoding="utf-8")})
        return file.as_uri()

    def _ask(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        while True:
            said = self._next()
            if said.get("id") == self._last and "method" not in said:
                assert "error" not in said, said
                return said["result"]

    def _tell(self, method: str, **params: Any) -> None:
        self._send({"method": method, "params": params})

    def _next(self) -> dict[str, Any]:
        """The next thing that the server says; what it asks for is answered."""
        said = self._said.get(timeout=PATIENCE)
        assert said is not None, "the server has ended"
        if "method" in said and "id" in said:
            wanted = said["params"].get("items", []) if said["method"] == "workspace/configuration" else None
            self._send(
                {"id": said["id"], "result": None if wanted is None else [_setting(w) for w in wanted]}
            )
        return said

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _listen(self) -> None:
        out = self._process.stdout
        assert out is not None
        while header := out.readline():
            length = int(header.partition(b":")[2])
            while out.readline().strip():
                pass
            self._said.put(json.loads(out.read(length)))
        self._said.put(None)


def _setting(wanted: dict[str, Any]) -> Any:
    """An editor's settings: the server's defaults, but nothing from a network."""
    if wanted.get("section") == "yaml":
        return {"schemaStore": {"enable": False}, "validate": True, "completion": True, "hover": True}
    return {}
