"""A Hugging Face hub on 127.0.0.1, as far as the real client needs one to download a model.

It knows model info, file trees, and files by HEAD and GET with ranges, and it can be told to fail.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

Files = Mapping[str, bytes]


@dataclass
class Repository:
    """Commits by sha, and what each branch or tag points to."""

    commits: dict[str, Files] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, branch: str = "main") -> str:
        text = repr((sorted(files.items()), len(self.commits)))
        sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[sha] = dict(files)
        self.names[branch] = sha
        return sha

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.names.get(revision)


@dataclass
class FakeHub:
    """Repositories by id, the requests seen, and the failures asked for."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range header."""
    gated: set[str] = field(default_factory=set)
    info_status: int | None = None
    """Answer model info with this status."""
    info_delay: float = 0
    """Wait for this many seconds before model info is answered."""
    info_body: bytes | None = None
    """Answer model info with this instead of the truth."""
    file_status: int | None = None
    """Answer every file with this status."""
    cut: set[str] = field(default_factory=set)
    """Close the connection half way through these files, and refuse them after that."""
    cut_always: set[str] = field(default_factory=set)
    """Close the connection half way through these files, every time."""
    cut_once: set[str] = field(default_factory=set)
    """Close the connection half way through these files, the first time."""

    def add(self, repository: str, files: Files, branch: str = "main") -> str:
        return self.repositories.setdefault(repository, Repository()).commit(files, branch)

    def fetched(self, method: str = "GET") -> list[str]:
        """Names of files that were asked for by `method`."""
        paths = (path for seen, path, _ in self.requests if seen == method)
        return [path.split("/", 5)[5] for path in paths if "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub  # set on the subclass that `serve` makes

    def log_message(self, *args: object) -> None:
        """Stay silent: tests look at stderr."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path):
            self._api(match[1], match[2] or "revision", match[3] or "main")
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[2], match[3])
        else:
            self._refuse(404, "EntryNotFound")

    def _api(self, repository: str, kind: str, revision: str) -> None:
        time.sleep(self.hub.info_delay)
        if kind == "revision" and self.hub.info_status is not None:
            self._refuse(self.hub.info_status)
        elif kind == "revision" and self.hub.info_body is not None:
            self._send(200, {"Content-Type": "application/json"}, self.hub.info_body)
        elif found := self._files(repository, revision):
            sha, files = found
            sized = "blobs=true" in urlsplit(self.path).query
            siblings = [
                {"rfilename": name} | ({"size": len(data)} if sized else {}) for name, data in files.items()
            ]
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in files.items()
            ]
            info = {"id": repository, "sha": sha, "siblings": siblings, "private": False}
            body = json.dumps(tree if kind == "tree" else info).encode()
            self._send(200, {"Content-Type": "application/json"}, body)

    def _file(self, repository: str, revision: str, name: str) -> None:
        if repository in self.hub.gated:
            self._refuse(401, "GatedRepo")
        elif self.hub.file_status is not None:
            self._refuse(self.hub.file_status)
        elif found := self._files(repository, revision):
            sha, files = found
            if name not in files:
                self._refuse(404, "EntryNotFound")
            elif self.command == "GET" and name in self.hub.cut and self._was_fetched(name):
                self._refuse(503)
            else:
                self._content(name, files[name], sha)

    def _files(self, repository: str, revision: str) -> tuple[str, Files] | None:
        known = self.hub.repositories.get(repository)
        sha = known.find(revision) if known else None
        if known is None:
            self._refuse(401, "RepoNotFound")  # what the hub says to those who are not logged in
        elif sha is None:
            self._refuse(404, "RevisionNotFound")
        else:
            return sha, known.commits[sha]
        return None

    def _was_fetched(self, name: str) -> bool:
        return self.hub.fetched().count(name) > 1

    def _content(self, name: str, data: bytes, sha: str) -> None:
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": sha, "Accept-Ranges": "bytes"}
        status, start, end = 200, 0, len(data)
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            status, start = 206, int(match[1])
            end = min(int(match[2]) + 1, end) if match[2] else end
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        cut = name in self.hub.cut | self.hub.cut_once | self.hub.cut_always and self.command == "GET"
        if cut:
            self.hub.cut_once.discard(name)
        self._send(status, headers, data[start:end], cut=cut)

    def _refuse(self, status: int, code: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self._send(status, headers, b"{}")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        with suppress(ConnectionError):  # a client may have gone, and the server would say so
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[: len(body) // 2] if cut else body)


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def serve() -> Iterator[FakeHub]:
    """Start a hub, stop it at the end."""
    hub = FakeHub()
    # HTTP/1.0, the default: each answer closes its connection, so a stopped hub is really gone.
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_client_at(url: str, home: Path, patch: pytest.MonkeyPatch) -> None:
    """Make the client in this process talk to `url` only, without tokens, proxies or other folders.

    The client reads its environment once, when it is imported: so its constants are set, too.
    """
    from huggingface_hub import close_session, constants

    values = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_XET": True,
    }
    for name, value in values.items():
        patch.setattr(constants, name, value)
    for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        patch.delenv(name, raising=False)
    close_session()
