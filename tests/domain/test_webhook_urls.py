from __future__ import annotations

from ipaddress import ip_address

import pytest

from domain import webhook_urls


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks",
        "https://example.com:443/hooks?of=vader",
        "https://93.184.215.14/hooks",
        "https://[2606:4700::1111]/hooks",
        "https://xn--bcher-kva.example/h%C3%B6ren",
        *("https://EXAMPLE.com./", f"https://{'a' * 63}.example.com/", "https://a_b.example.com/"),
    ],
)
def test_public_https_urls_are_legal(url: str) -> None:
    assert webhook_urls.fault(url, allow_private=False) is None


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com/hooks", "https://", "https:///hooks", "ftp://example.com/"),
        *("http://example.com/hooks", "https://example.com:8443/hooks", "https://example.com:0/"),
        *("https://user@example.com/", "https://user:word@example.com/", "https://@example.com/"),
        *("https://example.com/#part", "https://exa mple.com/", "https://example.com\\@10.0.0.1/"),
        *("https://localhost/", "https://api.localhost/", "https://db.internal/", "https://redis/"),
        *("https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest/meta-data"),
        *("https://[::ffff:10.0.0.1]/", "https://[::ffff:7f00:1]/", "https://10.0.0.7/"),
        *("https://example.com:port/", "https://[not-an-address]/", "https://b\u00fccher.example/"),
        "https://example.com/" + "a" * 2000,
        *("https://a..example.com/", "https://.example.com/", "https://example.com../"),
        *(
            f"https://{'a' * 64}.example.com/",
            f"https://{'a.' * 127}com/",
            "https://-a.example.com/",
        ),
        *("https://xn--a.example.com/", "https://exa%6dple.com/", "https://a*.example.com/"),
    ],
)
def test_everything_else_is_not(url: str) -> None:
    assert webhook_urls.fault(url, allow_private=False) is not None


def test_development_may_allow_http_other_ports_and_inner_hosts_but_no_nonsense() -> None:
    for url in ("http://127.0.0.1:9000/hook", "https://localhost/", "http://receiver/hook"):
        assert webhook_urls.fault(url, allow_private=True) is None
    for url in ("", "file:///etc/passwd", "http://user@localhost/", "http://localhost:99999/"):
        assert webhook_urls.fault(url, allow_private=True) is not None


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.88.99.1", "192.168.1.1", "198.18.0.1"),
        *("224.0.0.1", "239.1.1.1", "233.252.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1"),
        *("::", "::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1"),
        *("ff0e::1", "2001:db8::1", "100::1", "64:ff9b:1::a00:1", "2001::1", "3fff::1"),
        # An inner IPv4 address in other clothes: mapped, compatible, translated, NAT64, 6to4.
        *("::ffff:10.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::169.254.169.254"),
        *("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::1"),
    ],
)
def test_what_is_not_the_public_internet_is_recognised_however_it_is_written(address: str) -> None:
    assert not webhook_urls.is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_the_public_internet_is_too(address: str) -> None:
    assert webhook_urls.is_public(ip_address(address))
