"""A person's kubeconfig: read, never written. The environment gets a copy of its current context.

The copy holds one cluster and one user, with what their certificate files hold in place of the
files' names, so that it means the same from any folder.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import UsageError

# Fields that name a file, and those that hold its content instead.
_FILES = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
}
_ONE = "kubectl config view --minify --flatten --context NAME > FILE writes one with one context"


def current_context(file: Path) -> dict[str, Any]:
    """The current context of `file` as a kubeconfig of its own. Raises UsageError."""
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(
            f"the kubeconfig cannot be read: {reason}", where=str(file), hint="name another FILE"
        ) from error
    except yaml.YAMLError:
        # Its message would show lines of a file that holds keys.
        raise UsageError("the kubeconfig is not YAML", where=str(file), hint=_ONE) from None
    if not isinstance(found, dict):
        raise UsageError("the kubeconfig holds no contexts", where=str(file), hint=_ONE)
    name = found.get("current-context")
    if not name:
        raise UsageError("the kubeconfig has no current context", where=str(file), hint=_ONE)
    context = _named(found, "contexts", name, file)["context"]
    cluster = _named(found, "clusters", context.get("cluster"), file)
    user = _named(found, "users", context.get("user"), file)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": cluster["name"], "user": user["name"]}}],
        "clusters": [{**cluster, "cluster": _whole(cluster["cluster"], file)}],
        "users": [{**user, "user": _whole(user["user"], file)}],
    }


def server_of(kubeconfig: dict[str, Any]) -> str:
    """The address of the API server."""
    return str(kubeconfig["clusters"][0]["cluster"].get("server", ""))


def _named(found: dict[str, Any], kind: str, name: Any, file: Path) -> dict[str, Any]:
    field = kind.removesuffix("s")
    for one in found.get(kind) or ():
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(field), dict):
            return one
    raise UsageError(f"the kubeconfig has no {field} {name!r}", where=str(file), hint=_ONE)


def _whole(fields: dict[str, Any], file: Path) -> dict[str, Any]:
    """The fields with the content of files in place of their names."""
    whole = dict(fields)
    for name, data in _FILES.items():
        if named := whole.pop(name, None):
            content = _content(file.parent / str(named))
            whole.setdefault(data, base64.b64encode(content).decode())
    if "tokenFile" in whole:
        whole["tokenFile"] = str((file.parent / str(whole["tokenFile"])).absolute())
    return whole


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"a file that the kubeconfig names cannot be read: {error.strerror}", where=str(file)
        ) from error
