"""Where webhooks may go: addresses of the public internet, by https on its usual port.

A project chooses the URL, the service sends the request: without rules it would reach what only the
service can reach. `fault` judges what is written; `is_public` judges what a name stands for, and is
asked again at every delivery.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

import httpx

MAX_LENGTH = 2000
HTTPS_PORT = 443
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_MAX_NAME = 254
"""With the dot at its end."""
_EMBEDDING = (
    # Prefixes whose last 32 bits are an IPv4 address: IPv4-compatible, mapped, translated, NAT64.
    *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96"),
)
_EMBEDS_IPV4 = tuple(IPv6Network(network) for network in _EMBEDDING)
_UNICAST = IPv6Network("2000::/3")
"""All of IPv6 that is given out for the public internet."""
_NEVER = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "64:ff9b:1::/48", "fc00::/7"),
        *("fe80::/10", "fec0::/10", "ff00::/8", "100::/64", "2001::/23", "2001:db8::/32"),
        "3fff::/20",
    )
)


def fault(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with `url` as the address of a webhook, None when nothing is.

    With `allow_private`, which is for development, http, other ports and any host are legal too.
    """
    if len(url) > MAX_LENGTH:
        return f"A URL has at most {MAX_LENGTH} characters."
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "A URL is printable ASCII without spaces; write other characters as %XX or punycode."
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        return "This is no URL."
    if not host or parts.scheme not in {"https", "http"}:
        return "Give a whole URL, like https://example.com/hooks/vader."
    if "@" in parts.netloc or parts.fragment:
        return "A webhook's URL has neither a user name nor a fragment."
    if not _can_be_sent_to(url, host):
        return "The host is no legal name."
    return None if allow_private else _public_fault(parts, host, port)


def _can_be_sent_to(url: str, host: str) -> bool:
    """Whether neither the resolver nor the HTTP client refuses the host as it is written."""
    try:
        ip_address(host)
    except ValueError:
        if len(host) > _MAX_NAME or not _NAME.fullmatch(host):
            return False
    try:
        # Decodes punycode, which may be none.
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, UnicodeError):
        return False


def _public_fault(parts: SplitResult, host: str, port: int | None) -> str | None:
    if parts.scheme != "https" or port not in {None, HTTPS_PORT}:
        return "Webhooks are sent by https to port 443 alone."
    try:
        literal = ip_address(host)
    except ValueError:
        named_inside = host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
        if named_inside or "." not in host.rstrip("."):
            return "Name a host of the public internet."
        return None
    return None if is_public(literal) else "This is no address of the public internet."


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether packets to `address` go to the public internet, whatever way it is written."""
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    if isinstance(address, IPv6Address):
        inner = embedded(address)
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def embedded(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a translator or tunnel would make of `address`."""
    if any(address in network for network in _EMBEDS_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour
