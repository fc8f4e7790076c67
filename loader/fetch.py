"""Bytes behind an http or https URL.

A URL often comes from a stranger, by way of a chat message. So the host is resolved once, every
address it has must be public, and the connection goes to one of exactly those addresses: a second
answer from the same name server cannot lead it into the local network. Each redirect starts anew
with the same checks; time, bytes and redirects are limited together for the whole download. (Only
the system's own name lookup cannot be interrupted; its time still counts.)
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urljoin, urlsplit

from loader.errors import ImageError
from loader.source import Limits, describe_url, shorten, too_large

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Limits", "fetch"]

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_HOST = re.compile(r"[0-9a-z._:-]+")
_SAFE = "/?%:@!$&'()*+,;=~"  # what may stand in a path or a query as it is
_CHUNK = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # how IPv6-only networks reach public IPv4 hosts
_SITE_LOCAL = ipaddress.ip_network("fec0::/10")  # private, though Python does not count it so


@dataclass(frozen=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str

    @property
    def request(self) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != _PORTS[self.scheme]:
            host = f"{host}:{self.port}"
        lines = (
            f"GET {self.path} HTTP/1.1",
            f"Host: {host}",
            "User-Agent: mlx-cards",
            "Accept: image/*",
            "Accept-Encoding: identity",  # limits count bytes as sent, so nothing may unpack later
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii")


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _TimedStream(io.RawIOBase):
    """A socket for HTTPResponse where each read gets only the time that is left.

    A timeout of the socket alone starts anew with every byte that a slow server lets drip.
    """

    def __init__(self, sock: socket.socket, deadline: _Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._sock.settimeout(self._deadline.left())
        return self._sock.recv_into(buffer)


def fetch(url: str, *, limits: Limits, allow_private: bool = False, page: bool = False) -> bytes:
    """Download an image's bytes, or a web `page`; anything that stands in the way is an ImageError."""
    what = describe_url(url)
    deadline = _Deadline(limits.download_seconds)
    try:
        target = _parse(url)
        for _ in range(limits.max_redirects + 1):
            with _request(target, deadline, allow_private) as response:
                if response.status not in _REDIRECTS:
                    return _body(response, what, limits, page)
                url = urljoin(url, response.headers.get("Location", ""))
            target = _follow(target, url)
    except ImageError:
        raise
    except TimeoutError as error:
        raise ImageError(
            f"{what} took longer than the limit of {limits.download_seconds:g} seconds. "
            "Try again, raise Limits.download_seconds, or download it and pass the file."
        ) from error
    except ssl.SSLError as error:
        raise ImageError(
            f"{what} has no secure connection that can be trusted ({error}). "
            "Check the address and this computer's clock and certificates."
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ImageError(
            f"{what} could not be downloaded ({type(error).__name__}: {shorten(str(error))}). "
            "Check the address and the network, or download it and pass the file."
        ) from error
    raise ImageError(
        f"{what} redirects more than {limits.max_redirects} times. "
        "Open it in a browser and pass the address where it ends."
    )


def _parse(url: str) -> _Target:
    what = describe_url(url)
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode("ascii")
        port = parts.port
    except ValueError as error:
        raise ImageError(f"{what} is not a valid URL ({error}). Check its spelling.") from error
    if parts.scheme not in _PORTS:
        raise ImageError(f"{what} is not an http or https URL. Download it and pass the file.")
    if "@" in parts.netloc:
        raise ImageError(
            f"{what} carries a user name or password, which is refused because URLs end up in "
            "logs. Download it yourself and pass the bytes."
        )
    if not _HOST.fullmatch(host):
        raise ImageError(f"{what} has no valid host name. Check its spelling.")
    path = quote(parts.path or "/", safe=_SAFE)
    query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    return _Target(parts.scheme, host, port or _PORTS[parts.scheme], path + query)


def _follow(origin: _Target, url: str) -> _Target:
    target = _parse(url)
    if origin.scheme == "https" and target.scheme == "http":
        raise ImageError(
            f"https://{origin.host} redirects to {describe_url(url)}, which is not encrypted. "
            "If you trust it, pass that address yourself."
        )
    return target


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        ip = inner or ip
    special = ip.is_multicast or ip.is_reserved or ip.is_link_local or ip in _SITE_LOCAL
    return ip.is_global and not special


def _connect(target: _Target, deadline: _Deadline, allow_private: bool) -> socket.socket:
    """A connection to an address that was checked, and that nobody can swap after the check."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ImageError(
            f"The host {shorten(target.host)} was not found ({error.strerror}). "
            "Check its spelling and the network."
        ) from error
    if not allow_private and not all(_is_public(str(info[4][0])) for info in found):
        raise ImageError(
            f"The host {shorten(target.host)} has an address that is not public, so it may lead "
            "into a private network. If you trust the URL, pass allow_private_urls=True "
            "(--allow-private-urls on the command line)."
        )
    failure = OSError("no address")
    for remaining, (family, _, _, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        try:
            # A share of the time each: an IPv6 address that never answers must not use it all.
            return _dial(family, address, deadline.left() / remaining)
        except OSError as error:
            failure = error
    raise failure


def _dial(family: int, address: tuple[object, ...], seconds: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def _request(target: _Target, deadline: _Deadline, allow_private: bool) -> Iterator[http.client.HTTPResponse]:
    with _connect(target, deadline, allow_private) as plain:
        sock = plain
        sock.settimeout(deadline.left())
        if target.scheme == "https":
            # Takes the plain socket over, and closes it where the handshake fails.
            sock = ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        with sock:
            sock.settimeout(deadline.left())
            sock.sendall(target.request)
            stream = _TimedStream(sock, deadline)
            response = http.client.HTTPResponse(cast("socket.socket", stream), method="GET")
            response.begin()
            yield response


def _body(response: http.client.HTTPResponse, what: str, limits: Limits, page: bool) -> bytes:
    if response.status != http.client.OK:
        reason = http.client.responses.get(response.status, "unknown status")
        raise ImageError(
            f"{what} was answered with {response.status} {reason} instead of an image. "
            "Check the address; if it needs a login, download it and pass the bytes."
        )
    if not page and response.headers.get_content_type() in _PAGES:
        raise ImageError(
            f"{what} is a web page, not an image. "
            "Open it in a browser and copy the address of the image itself."
        )
    declared = response.length
    if declared is not None and declared > limits.max_bytes:
        raise too_large(what, limits)
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > limits.max_bytes:
            raise too_large(what, limits)
    if declared is not None and len(body) < declared:
        raise ImageError(f"{what} was cut off after {len(body):,} of {declared:,} bytes. Try again.")
    return bytes(body)
