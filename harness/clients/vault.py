"""Plain HTTP to Vault: a `requests` session that knows the address, the CA and the token.

This is what lab 01 teaches, so it hides nothing: paths are Vault's own, answers are
`requests.Response`. It adds three things: a refusal is raised with Vault's own words
unless the caller expects it, secrets in answers are registered for redaction, and each
call is reported to a listener as the curl command that a person would type, with what Vault
warns about it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import requests

from harness.base.errors import EnvironmentLacks, LabError
from harness.base.redact import Secret, redact, register
from harness.base.wait import wait_for

TIMEOUT_SECONDS = 30.0
# What a KV engine says between its mount and the end of its set-up: a moment, more under load.
_UPGRADING = "Upgrading from non-versioned to versioned data"

# Fields of Vault's answers whose values are credentials, wherever they stand.
_SECRET_FIELDS = frozenset(
    {"client_token", "token", "password", "secret_id", "private_key", "plaintext", "root_token"}
)


class VaultRefused(LabError):
    """Vault answered with an HTTP status of 400 or more.

    `status` is the HTTP status, `errors` the list from the body (API overview, "Error
    response": a missing path answers 404 with an empty list).
    """

    def __init__(self, method: str, path: str, status: int, errors: list[str], hint: str) -> None:
        self.status = status
        self.errors = errors
        said = redact("; ".join(errors)) or "(no error text)"
        super().__init__(
            f"Vault answered {status} to {method} {redact(path)}: {said}", where=path, hint=hint
        )


class VaultUnreachable(EnvironmentLacks):
    """No HTTP answer at all: refused, timed out, or TLS did not verify."""


_HINTS = {
    400: "read the text above: Vault names the field it does not like",
    403: "which policies does the token have? vault token lookup; vault token capabilities PATH",
    404: "is the path right (KV version 2 wants data/ after the mount)? vault secrets list",
    503: "Vault is sealed or in maintenance: vault status",
}


class VaultHTTP:
    """A session with Vault at `addr`, verified with `ca`, authenticated by `token`."""

    def __init__(
        self,
        addr: str,
        ca: Path,
        token: Secret | None,
        on_call: Callable[[str], None] | None = None,
    ) -> None:
        self.addr = addr.rstrip("/")
        self.session = requests.Session()
        # A person's proxies, netrc and REQUESTS_CA_BUNDLE must not change what a lab does.
        self.session.trust_env = False
        self.session.verify = str(ca)
        self._on_call = on_call
        self._token = token

    def request(
        self,
        method: str,
        path: str,
        *,
        allow: Collection[int] = (),
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        **options: Any,
    ) -> requests.Response:
        """Send one request; `path` begins with /v1/ (or is a full URL).

        Statuses of 400 and more raise VaultRefused unless they are in `allow`. `token`
        replaces the session's token; `token=""` sends none. A KV engine that was mounted
        a moment ago is waited for. Raises VaultUnreachable when there is no answer within
        `timeout` seconds.
        """
        url = path if "://" in path else self.addr + path
        sent = {**(headers or {})}
        used = self._token if token is None else token
        if used:
            sent["X-Vault-Token"] = used
        if self._on_call:
            self._on_call(as_curl(method, path, bool(used), options.get("json"), headers))

        def answers() -> list[requests.Response]:
            answer = self.session.request(method, url, headers=sent, timeout=timeout, **options)
            return [] if _is_upgrading(answer) else [answer]

        try:
            (response,) = wait_for("the new KV engine to be ready", answers, every=0.05)
        except requests.exceptions.SSLError as error:
            raise VaultUnreachable(
                f"TLS to Vault did not verify: {redact(_root_cause(error))}",
                where=url,
                hint="the CA of this environment is in $VAULT_CACERT (./lab env)",
            ) from error
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise VaultUnreachable(
                f"Vault does not answer: {redact(_root_cause(error))}",
                where=url,
                hint="./lab status shows whether Vault runs; ./lab up repairs it",
            ) from error
        body = _body(response)
        _register_secrets(body)
        if response.status_code >= 400 and response.status_code not in allow:
            errors = body.get("errors") or []
            raise VaultRefused(
                method.upper(),
                path,
                response.status_code,
                [str(e) for e in errors],
                _HINTS.get(response.status_code, "./lab status"),
            )
        # A misspelt field is no error to Vault: it takes the request, ignores the field and warns.
        if self._on_call:
            for warning in body.get("warnings") or []:
                self._on_call(redact(f"# Vault warns: {warning}"))
        return response

    def get(self, path: str, **options: Any) -> requests.Response:
        """Read. Options as in `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """Create, change or act. Options as in `request`; `json=` is the body."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> requests.Response:
        """The same as POST to Vault, but for the word. Options as in `request`."""
        return self.request("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        """Delete. Options as in `request`."""
        return self.request("DELETE", path, **options)

    def list(self, path: str, **options: Any) -> requests.Response:
        """Vault's LIST verb (API overview, "Lists")."""
        return self.request("LIST", path, **options)


def as_curl(
    method: str,
    path: str,
    with_token: bool,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """The request as a person would type it, secrets masked."""
    words = ["curl", "-s", "--cacert", '"$VAULT_CACERT"']
    if with_token:
        words += ["-H", '"X-Vault-Token: $VAULT_TOKEN"']
    for name, value in (headers or {}).items():
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if method.upper() != "GET":
        words += ["-X", method.upper()]
    words.append(path if "://" in path else f'"$VAULT_ADDR{path}"')
    if body is not None:
        words += ["-d", shlex.quote(json.dumps(_without_pem(body)))]
    return redact(" ".join(words))


def _without_pem(value: Any) -> Any:
    """The same body with certificates and keys cut down to their first line."""
    if isinstance(value, dict):
        return {key: _without_pem(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith("-----BEGIN "):
        return value.splitlines()[0] + " …"
    return value


def _is_upgrading(response: requests.Response) -> bool:
    """Whether a KV engine of version 2, mounted a moment ago, asks for patience."""
    return response.status_code == 400 and _UPGRADING in response.text


def _body(response: requests.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _register_secrets(value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _SECRET_FIELDS and isinstance(inner, str):
                register(inner)
            else:
                _register_secrets(inner)
    elif isinstance(value, list):
        for inner in value:
            _register_secrets(inner)


def _root_cause(error: BaseException) -> str:
    """The innermost reason: urllib3 wraps it three times."""
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else None)
    if isinstance(reason, BaseException) and reason is not error:
        return _root_cause(reason)
    return str(error)
