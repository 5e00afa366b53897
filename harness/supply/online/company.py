"""A company's own servers: its certificate authority, and logins from the engine's store.

LAB_CA=file names CAs in PEM that are trusted beside the usual ones. What the container engine has
for a registry in certs.d counts for that registry too. A registry that asks for a login gets the
one that `docker login` stored (auths, credHelpers or credsStore of the docker command's settings),
by Basic or by a token from the server that the registry names. It is only read, and never shown.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from docker import auth as docker_auth
from docker.errors import DockerException
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, _basic_auth_str

from harness.base import proxies, redact
from harness.base.errors import EnvironmentLacks, UsageError

VARIABLE = "LAB_CA"
ENGINES_FOLDER = Path("/etc/docker/certs.d")
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_SECONDS = 20
# What credential helpers call the user of a token.
TOKEN_USER = "<token>"  # noqa: S105 # a name, no secret


def ca_file() -> Path | None:
    """The file that LAB_CA names. Raises UsageError for one that holds no certificate."""
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        return None
    file = Path(named).expanduser()
    try:
        _context([file])
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{VARIABLE} names no file with a certificate in PEM",
            where=str(file),
            hint=f"ask your company's administrators for the CA, or unset {VARIABLE}",
        ) from error
    return file


def session(url: str) -> requests.Session:
    """A session for the server of `url`, which also trusts the CAs that are named for it."""
    made = requests.Session()
    files = [file for file in (ca_file(), *_engines(urlsplit(url).netloc)) if file]
    if files and url.startswith("https:"):
        made.mount("https://", _Trusting(_context(files)))
    return made


def login(host: str) -> tuple[str, str] | None:
    """User and password that the engine's store has for a registry, None where it has none.

    Raises EnvironmentLacks when the store's helper does not work here.
    """
    try:
        found = docker_auth.load_config().resolve_authconfig(host) or {}
    except (DockerException, OSError) as error:
        raise EnvironmentLacks(
            "the credential helper that ~/.docker/config.json names does not work here",
            where=type(error).__name__,
            hint='take "credsStore" out of ~/.docker/config.json, or repair the helper',
        ) from error
    values = {key.lower(): value for key, value in found.items()}
    # A helper gives a token in the place of a password under this name.
    user, password = values.get("username"), values.get("password")
    if token := values.get("identitytoken"):
        user, password = TOKEN_USER, token
    if not user or not password:
        return None
    redact.register(str(password))
    return str(user), str(password)


class RegistryLogin(AuthBase):
    """Answers a registry that asks for a login, and no other server."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # types-requests has no types for this method.
        request.register_hook("response", self._answer)  # type: ignore[no-untyped-call] # see above
        return request

    def _answer(self, response: requests.Response, **options: Any) -> requests.Response:
        asked = response.request
        challenge = response.headers.get("WWW-Authenticate", "")
        if (
            response.status_code != requests.codes.unauthorized
            or not asked.url
            or not _may_be_told(asked.url, self._host)
            or "Authorization" in asked.headers
        ):
            return response
        header = self._header(challenge, options)
        if not header:
            return response
        # The connection is free again only when the answer has been read.
        _ = response.content
        response.close()
        again = asked.copy()
        again.headers["Authorization"] = header
        answered = response.connection.send(again, **options)
        answered.history.append(response)
        answered.request = again
        return answered

    def _header(self, challenge: str, options: dict[str, Any]) -> str:
        scheme, _, rest = challenge.partition(" ")
        known = login(self._host)
        if scheme.lower() == "basic":
            return _basic_auth_str(*known) if known else ""
        parameters = dict(_PARAMETER.findall(rest))
        realm = parameters.pop("realm", "")
        if scheme.lower() != "bearer" or not _is_safe(realm):
            return ""
        wanted = {key: parameters[key] for key in ("service", "scope") if key in parameters}
        with session(realm) as asking:
            if known and known[0] == TOKEN_USER:
                form = {**wanted, "grant_type": "refresh_token", "refresh_token": known[1]}
                form["client_id"] = "kube-vault-labs"
                answer = asking.post(realm, data=form, timeout=_SECONDS, allow_redirects=False)
            else:
                answer = asking.get(
                    realm, params=wanted, auth=known, timeout=_SECONDS, allow_redirects=False
                )
            if answer.status_code != requests.codes.ok:
                return ""
            given = answer.json()
        token = str(given.get("token") or given.get("access_token") or "")
        redact.register(token)
        return f"Bearer {token}" if token else ""


def _may_be_told(url: str, host: str) -> bool:
    """Whether a login for `host` may be sent with this request: not after a redirect elsewhere."""
    return urlsplit(url).netloc == host and _is_safe(url)


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or proxies.is_loopback(parts.hostname or "")


def _engines(netloc: str) -> Iterator[Path]:
    """The CAs that this machine's engine has for that registry, as far as they are readable."""
    folder = ENGINES_FOLDER / netloc
    for file in sorted(folder.glob("*.crt")) if netloc and "/" not in netloc else ():
        if os.access(file, os.R_OK):
            yield file


def _context(files: list[Path]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for file in files:
        context.load_verify_locations(cafile=str(file))
    return context


class _Trusting(HTTPAdapter):
    """Connections with a TLS context of one's own; `requests` adds its usual CAs to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *words: Any, **options: Any) -> None:
        super().init_poolmanager(*words, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)
