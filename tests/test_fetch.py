"""A URL from a stranger is followed only to public hosts, only so far, and only for so long."""

from __future__ import annotations

import contextlib
import io
import itertools
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

import loader.fetch
from loader.errors import ImageError
from loader.fetch import Limits, fetch
from loader.image import open_image

LIMITS = Limits(max_bytes=100_000, download_seconds=10)
HURRIED = Limits(download_seconds=0.4)


def png():
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    """One path for each way in which a server can answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, self.headers))
        name, _, rest = self.path.lstrip("/").partition("/")
        with contextlib.suppress(OSError):  # the client hangs up, as it should
            getattr(self, f"answer_{name.partition('?')[0]}")(rest)
        self.close_connection = True

    def log_message(self, *_args):
        pass

    def send(self, body=b"", status=200, length=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not False:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def answer_image(self, _rest):
        self.send(png(), Content_Type="image/png")

    def answer_page(self, _rest):
        self.send(b"<html>", Content_Type="Text/HTML; charset=utf-8")

    def answer_status(self, rest):
        self.send(b"", int(rest))

    def answer_hop(self, rest):
        self.send(b"", 302, Location=f"/hop/{int(rest) - 1}" if rest != "1" else "../image")

    def answer_loop(self, _rest):
        self.send(b"", 307, Location="/loop")

    def answer_slow_loop(self, _rest):
        time.sleep(0.15)
        self.send(b"", 302, Location="/slow_loop")

    def answer_nowhere(self, _rest):
        self.send(b"", 301)

    def answer_to(self, rest):
        self.send(b"", 308, Location=rest)

    def answer_claims_more(self, _rest):
        self.send(png(), length=50_000)

    def answer_claims_less(self, _rest):
        self.send(png(), length=30)

    def answer_claims_huge(self, _rest):
        self.send(png(), length=10**12)

    def answer_claims_nonsense(self, _rest):
        self.send(png(), length="many")

    def answer_unsized(self, _rest):
        self.send(png(), length=False)

    def answer_chunked(self, rest):
        self.send(length=False, Transfer_Encoding="chunked")
        body = png()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        if rest != "broken":
            self.wfile.write(b"0\r\n\r\n")

    def answer_endless(self, _rest):
        self.send(length=False)
        while True:
            self.wfile.write(b"\xff" * 4096)

    def drip(self, pieces):
        for piece in pieces:
            self.wfile.write(piece)
            time.sleep(0.05)

    def answer_drip(self, _rest):
        self.send(length=False)
        self.drip(itertools.repeat(b"\xff"))

    def answer_drip_header(self, _rest):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.drip(itertools.repeat(b"x"))

    def answer_silence(self, _rest):
        self.server.stop.wait(5)

    def answer_garbage(self, _rest):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")

    def answer_hangup(self, _rest):
        self.wfile.write(b"")


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.requests = []
    server.stop = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def names(monkeypatch):
    """Name resolution from a table, {host: [address, ...]}, with a list of what was asked."""
    table = {}
    table["asked"] = asked = []

    def getaddrinfo(host, port, *_args, **_kwargs):
        asked.append(host)
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port),
            )
            for address in table[host]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return table


def fails(url, *pieces, limits=LIMITS, allow_private=True):
    """The download is refused, with a message that holds these pieces."""
    with pytest.raises(ImageError) as caught:
        fetch(url, limits=limits, allow_private=allow_private)
    message = str(caught.value)
    for piece in pieces:
        assert piece in message
    assert message.endswith(".")
    return caught.value


# ---- what works


def test_an_image_is_downloaded(server):
    """The body comes back as it was sent."""
    assert fetch(f"{server.url}/image", limits=LIMITS, allow_private=True) == png()


def test_a_url_is_an_image_source(server):
    """open_image takes URLs, and private ones only when told to."""
    assert open_image(f"{server.url}/image", allow_private_urls=True).getpixel((0, 0)) == (1, 2, 3)
    with pytest.raises(ImageError, match="allow_private_urls=True"):
        open_image(f"{server.url}/image")


@pytest.mark.parametrize("kind", ["unsized", "chunked/whole", "claims_nonsense"])
def test_a_body_without_length_is_downloaded(server, kind):
    """A body may end with the connection or with its last chunk."""
    assert fetch(f"{server.url}/{kind}", limits=LIMITS, allow_private=True) == png()


def test_compression_is_not_requested(server):
    """The request asks for the bytes as they are, and for images."""
    fetch(f"{server.url}/image", limits=LIMITS, allow_private=True)
    _, headers = server.requests[-1]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Accept"] == "image/*"
    assert "Cookie" not in headers


def test_spaces_and_letters_are_quoted(server):
    """A URL as people paste it is sent as a valid request of one line, without its fragment."""
    fetch(f"{server.url}/image/ü x%20y\r\nEvil: 1?q=ä b#part", limits=LIMITS, allow_private=True)
    path, headers = server.requests[-1]
    assert path == "/image/%C3%BC%20x%20yEvil:%201?q=%C3%A4%20b"
    assert "Evil" not in headers


def test_proxies_are_not_used(server, monkeypatch):
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
def test_addresses_that_are_not_public_are_refused(names, address):
    """Whatever a host is called, it must not lead into a private network."""
    names["innocent.example"] = [address]
    fails("http://innocent.example/", "not public", "allow_private_urls=True", allow_private=False)


def test_one_private_address_among_public_ones_is_refused(names):
    """Which of the addresses would be used is not left to chance."""
    names["mixed.example"] = ["8.8.8.8", "10.0.0.1"]
    fails("http://mixed.example/", "not public", allow_private=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"])
def test_public_addresses_are_connected_to(names, monkeypatch, address):
    """The connection goes to exactly the address that was checked."""
    reached = []

    class Refusing(socket.socket):
        def connect(self, address):
            reached.append(address)
            raise ConnectionRefusedError("refused in this test")

    monkeypatch.setattr(socket, "socket", Refusing)
    names["public.example"] = [address]
    fails("https://public.example/", "could not be downloaded", "refused in this test", allow_private=False)
    assert reached == [(address, 443)]


def test_a_host_is_resolved_once(server, names):
    """A name server that changes its mind is not asked again, and the host keeps its name."""
    names["pictures.example"] = ["127.0.0.1"]
    url = f"http://pictures.example:{server.server_port}/image"
    assert fetch(url, limits=LIMITS, allow_private=True) == png()
    assert names["asked"] == ["pictures.example"]
    assert server.requests[-1][1]["Host"] == f"pictures.example:{server.server_port}"


def test_the_next_address_is_tried(server, names):
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
def test_a_bad_url_is_refused(names, url, pieces):
    """It is refused before anything is looked up, and without repeating a secret."""
    error = fails(url, *pieces)
    assert "secret" not in str(error)
    assert names["asked"] == []


def test_an_unknown_host_is_named(monkeypatch):
    """A failure of name resolution is told from others."""

    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fails("http://no.example/a.png", "no.example was not found", "Check its spelling")


def test_an_unreachable_server_is_explained():
    """A port where nobody listens is an ImageError, without the secret part of the URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    error = fails(
        f"http://127.0.0.1:{port}/a.png?token=secret", "could not be downloaded", "ConnectionRefused"
    )
    assert "secret" not in str(error)


# ---- redirects


def test_redirects_are_followed_to_the_limit(server):
    """Five hops are allowed, six are not."""
    assert fetch(f"{server.url}/hop/5", limits=LIMITS, allow_private=True) == png()
    fails(f"{server.url}/hop/6", "redirects more than 5 times")


@pytest.mark.parametrize("path", ["loop", "nowhere"])
def test_redirect_loops_end(server, path):
    """A server that leads in circles is left after the limit."""
    before = len(server.requests)
    fails(f"{server.url}/{path}", "redirects more than 5 times")
    assert len(server.requests) - before == 6


def test_a_redirect_into_a_private_network_is_refused(server, names, monkeypatch):
    """Each hop is checked like the first."""
    names["127.0.0.1"] = ["127.0.0.1"]
    names["inside.example"] = ["10.0.0.1"]
    monkeypatch.setattr(loader.fetch, "_is_public", lambda address: address == "127.0.0.1")
    fails(f"{server.url}/to/http://inside.example/", "inside.example", "not public", allow_private=False)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://example.com/a", "data:image/png;base64,AAAA"]
)
def test_a_redirect_to_another_scheme_is_refused(server, target):
    """A server cannot turn a download into something else."""
    fails(f"{server.url}/to/{target}", "not an http or https URL")


# ---- encryption


class PlainContext:
    """Stands in for TLS: notes the name that would be verified, and encrypts nothing."""

    def __init__(self):
        self.names = []

    def wrap_socket(self, sock, server_hostname):
        self.names.append(server_hostname)
        return sock


def test_the_certificate_is_checked_for_the_hosts_name(server, names, monkeypatch):
    """Connecting to an address does not weaken what TLS verifies."""
    context = PlainContext()
    monkeypatch.setattr(ssl, "create_default_context", lambda: context)
    names["secure.example"] = ["127.0.0.1"]
    fetch(f"https://secure.example:{server.server_port}/image", limits=LIMITS, allow_private=True)
    assert context.names == ["secure.example"]


def test_a_redirect_to_an_unencrypted_address_is_refused(server, monkeypatch):
    """What began encrypted stays so."""
    monkeypatch.setattr(ssl, "create_default_context", PlainContext)
    url = f"https://127.0.0.1:{server.server_port}"
    fails(f"{url}/to/http://127.0.0.1/image", "not encrypted")


def test_a_certificate_that_does_not_match_is_refused(server, monkeypatch):
    """Verification is on, and its failure is an ImageError."""

    def refuse(context, _sock, server_hostname):
        assert context.check_hostname
        assert context.verify_mode == ssl.CERT_REQUIRED
        raise ssl.SSLCertVerificationError(1, f"not valid for {server_hostname}")

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", refuse)
    fails(server.url.replace("http", "https"), "secure connection", "not valid for 127.0.0.1", "certificates")


def test_a_server_without_tls_is_refused(server):
    """A plain server behind https is not talked to."""
    fails(server.url.replace("http", "https"), "secure connection")


# ---- what comes back


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 429, 500, 503, 599])
def test_other_statuses_are_named(server, status):
    """Only 200 brings an image."""
    fails(f"{server.url}/status/{status}", f"answered with {status}", "instead of an image")


def test_a_web_page_is_told_from_an_image(server):
    """The usual mistake, the address of the page around the picture, has its own advice."""
    fails(f"{server.url}/page", "is a web page, not an image", "copy the address of the image itself")


def test_a_body_that_ends_early_is_refused(server):
    """A Content-Length that promises more than comes is a broken download."""
    fails(f"{server.url}/claims_more", f"cut off after {len(png())} of 50,000 bytes")


def test_a_chunk_that_ends_early_is_refused(server):
    """A last chunk that is missing is a broken download."""
    fails(f"{server.url}/chunked/broken", "could not be downloaded", "IncompleteRead")


def test_a_length_that_claims_too_little_cuts_the_image(server):
    """Bytes past the Content-Length are not read, so the image itself turns out broken."""
    assert fetch(f"{server.url}/claims_less", limits=LIMITS, allow_private=True) == png()[:30]
    with pytest.raises(ImageError, match="damaged or cut short"):
        open_image(f"{server.url}/claims_less", allow_private_urls=True)


def test_a_length_over_the_limit_is_refused_at_once(server):
    """The body is not waited for."""
    fails(f"{server.url}/claims_huge", "limit of 100,000 bytes", "Limits.max_bytes")


def test_an_endless_body_is_stopped_by_its_bytes(server):
    """A server that streams forever is left at the limit."""
    fails(f"{server.url}/endless", "limit of 100,000 bytes")


def test_an_endless_body_is_stopped_by_the_clock(server):
    """The time counts even while bytes flow as fast as they can."""
    limits = Limits(max_bytes=10**12, download_seconds=0.15)
    started = time.monotonic()
    fails(f"{server.url}/endless", "longer than the limit of 0.15 seconds", limits=limits)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("path", ["drip", "drip_header", "silence", "slow_loop"])
def test_the_clock_runs_for_the_whole_download(server, path):
    """Neither dripping bodies and headers, nor silence, nor redirects win more time."""
    started = time.monotonic()
    fails(f"{server.url}/{path}", "longer than the limit of 0.4 seconds", limits=HURRIED)
    assert time.monotonic() - started < 3


def test_an_address_that_never_answers_leaves_time_for_the_next(server, names, monkeypatch):
    """The time to connect is shared among the addresses of a host."""
    connect = socket.socket.connect

    class Deaf(socket.socket):
        def connect(self, address):
            if address[0] == "192.0.2.1":
                time.sleep(self.gettimeout())
                raise TimeoutError
            connect(self, address)

    monkeypatch.setattr(socket, "socket", Deaf)
    names["slow.example"] = ["192.0.2.1", "127.0.0.1"]
    url = f"http://slow.example:{server.server_port}/image"
    assert fetch(url, limits=Limits(download_seconds=1), allow_private=True) == png()


@pytest.mark.parametrize("path", ["garbage", "hangup"])
def test_what_is_not_http_is_refused(server, path):
    """A server that speaks something else is an ImageError too."""
    fails(f"{server.url}/{path}", "could not be downloaded", "Check the address")
