"""Proxies: this machine's addresses and the cluster's names never go through one.

A shell that names a proxy (HTTPS_PROXY and the like) rarely excepts what the labs talk to:
ports on 127.0.0.1 and names inside the cluster. Clients differ in what they except by
themselves, but all of them read NO_PROXY: requests and hvac, the Kubernetes client, the
docker SDK, curl, and every Go program (kubectl, helm, kind). It is completed once, in the
environment of this process, which all children inherit; kind hands it on to the node.
Registries and downloads still go through the proxy.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

# The last two are for the node, whose kubelet and API server get the proxy from kind.
DIRECT = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1", ".svc", ".cluster.local")
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_EXCEPT = ("NO_PROXY", "no_proxy")


def settings() -> dict[str, str]:
    """The proxies that the environment names, by variable in capital letters."""
    found = {}
    for name in _NAMES:
        # Lower case wins, as in curl and in Python: CGI servers set HTTP_PROXY from a header.
        value = os.environ.get(name.lower()) or os.environ.get(name)
        if value:
            found[name] = value
    return found


def complete() -> None:
    """Complete NO_PROXY (both spellings) of this process where a proxy is named."""
    if not settings():
        return
    value = completed(",".join(os.environ.get(name, "") for name in _EXCEPT))
    os.environ.update(dict.fromkeys(_EXCEPT, value))


def completed(exceptions: str) -> str:
    """A NO_PROXY value with what must be reached directly added; a `*` excepts all anyway."""
    listed = [entry.strip() for entry in exceptions.split(",") if entry.strip()]
    if "*" in listed:
        return "*"
    return ",".join(dict.fromkeys((*listed, *DIRECT)))


def exceptions() -> dict[str, str]:
    """NO_PROXY in both spellings, for a shell of a person; {} where no proxy is named."""
    return {name: os.environ[name] for name in _EXCEPT if settings() and name in os.environ}


def for_containers() -> Mapping[str, str]:
    """The same settings for a container, which cannot reach a proxy on this host's loopback."""
    usable = {name: url for name, url in settings().items() if not is_loopback(_host(url))}
    return {**usable, "NO_PROXY": completed(os.environ.get("NO_PROXY", ""))} if usable else {}


def is_loopback(host: str) -> bool:
    """Whether this name or address is the machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    return urlsplit(url if "://" in url else f"//{url}").hostname or ""
