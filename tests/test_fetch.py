"""A URL from a stranger is followed only to public hosts, and only as far as it says what it is."""

from __future__ import annotations

import socket
import ssl
from typing import Any, NoReturn

import pytest

from loader.errors import ImageError
from loader.fetch import fetch
from loader.image import open_image
from tests.image_server import LIMITS, ImageServer, Names, fails, png


def test_an_image_is_downloaded(server: ImageServer) -> None:
    """The body comes back as it was sent."""
    assert fetch(f"{server.url}/image", limits=LIMITS, allow_private=True) == png()


def test_a_url_is_an_image_source(server: ImageServer) -> None:
    """open_image takes URLs, and private ones only when told to."""
    assert open_image(f"{server.url}/image", allow_private_urls=True).getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(ImageError, match="allow_private_urls=True"):
        open_image(f"{server.url}/image")


@pytest.mark.parametrize("kind", ["unsized", "chunked/whole", "claims_nonsense"])
def test_a_body_without_length_is_downloaded(server: ImageServer, kind: str) -> None:
    """A body may end with the connection or with its last chunk."""
    assert fetch(f"{server.url}/{kind}", limits=LIMITS, allow_private=True) == png()


def test_compression_is_not_requested(server: ImageServer) -> None:
    """The request asks for the bytes as they are, and for images."""
    fetch(f"{server.url}/image", limits=LIMITS, allow_private=True)
    _, headers = server.requests[-1]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"] == "image/*"
    assert "Cookie" not in headers


def test_spaces_and_letters_are_quoted(server: ImageServer) -> None:
    """A URL as people paste it is sent as a valid request of one line, without its fragment."""
    fetch(f"{server.url}/image/ü x%20y\r\nEvil: 1?q=ä b#part", limits=LIMITS, allow_private=True)
    path, headers = server.requests[-1]
    assert path == "/image/%C3%BC%20x%20yEvil:%201?q=%C3%A4%20b"
    assert "Evil" not in headers


def test_proxies_are_not_used(server: ImageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would resolve the host again, out of our sight."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetch(f"{server.url}/image", limits=LIMITS, allow_private=True) == png()


# ---- where it may lead


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.10",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:100.64.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
    ],
)
def test_addresses_that_are_not_public_are_refused(names: Names, address: str) -> None:
    """Whatever a host is called, it must not lead into a private network."""
    names["innocent.example"] = [address]
    fails("http://innocent.example/", "not public", "allow_private_urls=True", allow_private=False)


def test_one_private_address_among_public_ones_is_refused(names: Names) -> None:
    """Which of the addresses would be used is not left to chance."""
    names["mixed.example"] = ["8.8.8.8", "10.0.0.1"]
    fails("http://mixed.example/", "not public", allow_private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])
def test_public_addresses_are_connected_to(
    names: Names, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The connection goes to exactly the address that was checked."""
    reached: list[object] = []

    class Refusing(socket.socket):
        def connect(self, address: Any, /) -> None:
            reached.append(address)
            raise ConnectionRefusedError("refused in this test")

    monkeypatch.setattr(socket, "socket", Refusing)
    names["public.example"] = [address]
    fails("https://public.example/", "could not be downloaded", "refused in this test", allow_private=False)
    assert reached == [(address, 443)]


def test_a_host_is_resolved_once(server: ImageServer, names: Names) -> None:
    """A name server that changes its mind is not asked again, and the host keeps its name."""
    names["pictures.example"] = ["127.0.0.1"]
    url = f"http://pictures.example:{server.server_port}/image"
    assert fetch(url, limits=LIMITS, allow_private=True) == png()
    assert names["asked"] == ["pictures.example"]
    assert server.requests[-1][1]["Host"] == f"pictures.example:{server.server_port}"


def test_the_next_address_is_tried(server: ImageServer, names: Names) -> None:
    """A host with one dead address is still reached."""
    names["twice.example"] = ["::1", "127.0.0.1"]
    url = f"http://twice.example:{server.server_port}/image"
    assert fetch(url, limits=LIMITS, allow_private=True) == png()


@pytest.mark.parametrize(
    ("url", "pieces"),
    [
        ("ftp://example.com/a.png", ("not an http or https URL",)),
        ("file:///etc/passwd", ("not an http or https URL",)),
        ("http://me:secret@example.com/a.png", ("user name or password", "http://example.com/a.png")),
        ("http://@example.com/a.png", ("user name or password",)),
        ("http:///a.png", ("no valid host name",)),
        ("http://exa mple.com/", ("no valid host name",)),
        ("http://[::1", ("not a valid URL",)),
        ("http://example.com:99999/", ("not a valid URL",)),
        (f"http://{'a' * 70}.example/", ("not a valid URL",)),
    ],
)
def test_a_bad_url_is_refused(names: Names, url: str, pieces: tuple[str, ...]) -> None:
    """It is refused before anything is looked up, and without repeating a secret."""
    error = fails(url, *pieces)
    assert "secret" not in str(error)
    assert names["asked"] == []


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of name resolution is told from others."""

    def unknown(*_args: object, **_kwargs: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fails("http://no.example/a.png", "no.example was not found", "Check its spelling")


def test_an_unreachable_server_is_explained() -> None:
    """A port where nobody listens is an ImageError, without the secret part of the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = fails(
        f"http://127.0.0.1:{port}/a.png?token=secret", "could not be downloaded", "ConnectionRefused"
    )
    assert "secret" not in str(error)


# ---- encryption


class PlainContext:
    """Stands in for TLS: notes the name that would be verified, and encrypts nothing."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def wrap_socket(self, sock: socket.socket, server_hostname: str) -> socket.socket:
        self.names.append(server_hostname)
        return sock


def test_the_certificate_is_checked_for_the_hosts_name(
    server: ImageServer, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connecting to an address does not weaken what TLS verifies."""
    context = PlainContext()
    monkeypatch.setattr(ssl, "create_default_context", lambda: context)
    names["secure.example"] = ["127.0.0.1"]
    fetch(f"https://secure.example:{server.server_port}/image", limits=LIMITS, allow_private=True)
    assert context.names == ["secure.example"]


def test_a_redirect_to_an_unencrypted_address_is_refused(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What began encrypted stays so."""
    monkeypatch.setattr(ssl, "create_default_context", PlainContext)
    url = f"https://127.0.0.1:{server.server_port}"
    fails(f"{url}/to/http://127.0.0.1/image", "not encrypted")


def test_a_certificate_that_does_not_match_is_refused(
    server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verification is on, and its failure is an ImageError."""

    def refuse(context: ssl.SSLContext, _sock: object, server_hostname: str) -> NoReturn:
        assert context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED
        raise ssl.SSLCertVerificationError(1, f"not valid for {server_hostname}")

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    fails(server.url.replace("http", "https"), "secure connection", "not valid for 127.0.0.1", "certificates")


def test_a_server_without_tls_is_refused(server: ImageServer) -> None:
    """A plain server behind https is not talked to."""
    fails(server.url.replace("http", "https"), "secure connection")
