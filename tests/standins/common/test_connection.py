"""Addresses of Vault as URLs, and the TLS contexts of a connection."""

from __future__ import annotations

import ssl

import pytest

from standins.common.connection import BadConnection, Connection, base_url, tls_context
from standins.common.vault import request_url


# The right-hand sides are what path.Join and net/url of Go make of the same words.
@pytest.mark.parametrize(
    ("address", "path", "url"),
    [
        ("https://vault:8200", "secret/data/a", "https://vault:8200/v1/secret/data/a"),
        ("https://vault:8200/", "/kv/a/./b/", "https://vault:8200/v1/kv/a/b"),
        ("http://vault/behind/proxy", "kv/a b", "http://vault/behind/proxy/v1/kv/a%20b"),
        ("http://vault/behind/proxy/", "kv/../sys", "http://vault/behind/proxy/v1/sys"),
        ("http://u:p@vault:1?q#f", "kv/a", "http://vault:1/v1/kv/a"),
        ("http://vault", "kv/data/q?version=1", "http://vault/v1/kv/data/q%3Fversion=1"),
        ("http://vault", "kv/a#b", "http://vault/v1/kv/a%23b"),
        ("http://vault", "auth/kubernetes//login", "http://vault/v1/auth/kubernetes/login"),
        ("http://vault", "//evil.example/x", "http://vault/v1/evil.example/x"),
        ("http://vault", "../../@evil.example/x", "http://vault/@evil.example/x"),
        ("http://vault", "kv/@evil:80/", "http://vault/v1/kv/@evil:80"),
        ("http://vault", "kv/\u00e9%zz", "http://vault/v1/kv/%C3%A9%25zz"),
        (
            "http://vault",
            "kv/!*'()$&+,;=[]{}|^`\"<>\\~-_.:",
            "http://vault/v1/kv/%21%2A%27%28%29$&+,;=%5B%5D%7B%7D%7C%5E%60%22%3C%3E%5C~-_.:",
        ),
        ("http://[::1]:8200", "kv/a", "http://[::1]:8200/v1/kv/a"),
    ],
)
def test_urls_are_the_go_clients_and_stay_at_the_address(address: str, path: str, url: str) -> None:
    assert str(request_url(address, path)) == url


@pytest.mark.parametrize(
    "address", ["vault:8200", "ftp://vault", "http://", "", "http://a:b", "/x"]
)
def test_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(BadConnection, match=r"is not http://host:port"):
        base_url(address)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Connection(ca_file="/none/ca.crt"), "Error loading CA File: open /none/ca.crt: no such"),
        (Connection(ca_file=__file__), "Error loading CA File: "),
        (Connection(ca_folder="/none"), "Error loading CA File: open /none: no such"),
        (Connection(ca_pem="not pem"), "Error appending CA: Couldn't parse PEM"),
        (
            Connection(client_cert=__file__, client_key=__file__),
            ": no certificate and its key",
        ),
        (Connection(client_cert="/none/c", client_key="/none/k"), "open /none/c: no such file"),
    ],
)
def test_unusable_files_are_named(settings: Connection, words: str) -> None:
    with pytest.raises(BadConnection) as caught:
        tls_context(settings)
    assert words in str(caught.value)


def test_without_a_ca_the_systems_are_trusted_and_checked() -> None:
    context = tls_context(Connection())
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert tls_context(Connection(address="x", namespace="y")) is context
