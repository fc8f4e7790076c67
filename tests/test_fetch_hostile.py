"""A server that means harm, or is merely broken, is followed only so far and only for so long."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

import loader.fetch
from loader.errors import ImageError
from loader.fetch import Limits, fetch
from loader.image import open_image
from tests.image_server import LIMITS, ImageServer, Names, fails, png

HURRIED = Limits(download_seconds=0.4)


# ---- redirects


def test_redirects_are_followed_to_the_limit(server: ImageServer) -> None:
    """Five hops are allowed, six are not."""
    assert fetch(f"{server.url}/hop/5", limits=LIMITS, allow_private=True) == png()
    fails(f"{server.url}/hop/6", "redirects more than 5 times")


@pytest.mark.parametrize("path", ["loop", "nowhere"])
def test_redirect_loops_end(server: ImageServer, path: str) -> None:
    """A server that leads in circles is left after the limit."""
    before = len(server.requests)
    fails(f"{server.url}/{path}", "redirects more than 5 times")
    assert len(server.requests) - before == 6


def test_a_redirect_into_a_private_network_is_refused(
    server: ImageServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each hop is checked like the first."""
    names["127.0.0.1"] = ["127.0.0.1"]
    names["inside.example"] = ["10.0.0.1"]
    monkeypatch.setattr(loader.fetch, "_is_public", lambda address: address == "127.0.0.1")
    fails(f"{server.url}/to/http://inside.example/", "inside.example", "not public", allow_private=False)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://example.com/a", "data:image/png;base64,AAAA"]
)
def test_a_redirect_to_another_scheme_is_refused(server: ImageServer, target: str) -> None:
    """A server cannot turn a download into something else."""
    fails(f"{server.url}/to/{target}", "not an http or https URL")


# ---- what comes back


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 429, 500, 503, 599])
def test_other_statuses_are_named(server: ImageServer, status: int) -> None:
    """Only 200 brings an image."""
    fails(f"{server.url}/status/{status}", f"answered with {status}", "instead of an image")


def test_a_web_page_is_told_from_an_image(server: ImageServer) -> None:
    """The usual mistake, the address of the page around the picture, has its own advice."""
    fails(f"{server.url}/page", "is a web page, not an image", "copy the address of the image itself")


def test_a_body_that_ends_early_is_refused(server: ImageServer) -> None:
    """A Content-Length that promises more than comes is a broken download."""
    fails(f"{server.url}/claims_more", f"cut off after {len(png())} of 50,000 bytes")


def test_a_chunk_that_ends_early_is_refused(server: ImageServer) -> None:
    """A last chunk that is missing is a broken download."""
    fails(f"{server.url}/chunked/broken", "could not be downloaded", "IncompleteRead")


def test_a_length_that_claims_too_little_cuts_the_image(server: ImageServer) -> None:
    """Bytes past the Content-Length are not read, so the image itself turns out broken."""
    assert fetch(f"{server.url}/claims_less", limits=LIMITS, allow_private=True) == png()[:30]
    with pytest.raises(ImageError, match="damaged or cut short"):
        open_image(f"{server.url}/claims_less", allow_private_urls=True)


def test_a_length_over_the_limit_is_refused_at_once(server: ImageServer) -> None:
    """The body is not waited for."""
    fails(f"{server.url}/claims_huge", "limit of 100,000 bytes", "Limits.max_bytes")


def test_an_endless_body_is_stopped_by_its_bytes(server: ImageServer) -> None:
    """A server that streams forever is left at the limit."""
    fails(f"{server.url}/endless", "limit of 100,000 bytes")


def test_an_endless_body_is_stopped_by_the_clock(server: ImageServer) -> None:
    """The time counts even while bytes flow as fast as they can."""
    limits = Limits(max_bytes=10**12, download_seconds=0.15)
    started = time.monotonic()
    fails(f"{server.url}/endless", "longer than the limit of 0.15 seconds", limits=limits)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("path", ["drip", "drip_header", "continue", "silence", "slow_loop"])
def test_the_clock_runs_for_the_whole_download(server: ImageServer, path: str) -> None:
    """Neither dripping bodies and headers, nor promises, nor silence, nor redirects win more time."""
    started = time.monotonic()
    fails(f"{server.url}/{path}", "longer than the limit of 0.4 seconds", limits=HURRIED)
    assert time.monotonic() - started < 3


def test_an_address_that_never_answers_leaves_time_for_the_next(
    server: ImageServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time to connect is shared among the addresses of a host."""
    connect = socket.socket.connect

    class Deaf(socket.socket):
        def connect(self, address: Any, /) -> None:
            if address[0] == "192.0.2.1":
                timeout = self.gettimeout()
                assert timeout is not None
                time.sleep(timeout)
                raise TimeoutError
            connect(self, address)

    monkeypatch.setattr(socket, "socket", Deaf)
    names["slow.example"] = ["192.0.2.1", "127.0.0.1"]
    url = f"http://slow.example:{server.server_port}/image"
    assert fetch(url, limits=Limits(download_seconds=1), allow_private=True) == png()


@pytest.mark.parametrize("path", ["garbage", "hangup"])
def test_what_is_not_http_is_refused(server: ImageServer, path: str) -> None:
    """A server that speaks something else is an ImageError too."""
    fails(f"{server.url}/{path}", "could not be downloaded", "Check the address")
