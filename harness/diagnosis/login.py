"""The middle links: the auth method, its reviewer, the role, the account, the audience.

The role as Vault stored it is compared with the pod: its account, its namespace, the
audience of its token. Vault drops a misspelt field of a role without an error. Whether the
cluster answers Vault is in harness.diagnosis.reviewer.
"""

from __future__ import annotations

import difflib
import fnmatch
from typing import cast

import yaml

from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link
from harness.diagnosis.reviewer import reviewer_is_heard

METHOD, ROLE, ACCOUNT, AUDIENCE = "auth method", "role", "service account", "audience"


def method_is_configured(chain: Chain) -> Finding | None:
    """The auth method is enabled at the mount, of type kubernetes, and configured."""
    mount = chain.path.mount
    if not mount:
        return None
    if not chain.method:
        others = sorted(chain.read("sys/auth"))
        evidence = f"none is enabled at {mount}/ (there are: {_listed(others)})"
        hint = f"enable one of type kubernetes at {mount}, and configure it"
        return Finding(METHOD, False, evidence, hint, commands.method(chain))
    if chain.method.get("type") != "kubernetes":
        evidence = f"the one at {mount}/ is of type {chain.method.get('type')}, not kubernetes"
        hint = "disabling it ends what logged in by it; then enable the right one"
        run = f"vault auth disable {mount}\n{commands.method(chain)}"
        return Finding(METHOD, False, evidence, hint, run)
    if not chain.config.get("kubernetes_host"):
        evidence = f"the one at {mount}/ is enabled but not configured: it cannot ask the cluster"
        hint = "it needs the API server's address, its CA and a reviewer's token"
        return Finding(METHOD, False, evidence, hint, commands.config(chain))
    return Finding(METHOD, True, f"kubernetes at {mount}/, asks {chain.config['kubernetes_host']}")


def role_exists(chain: Chain) -> Finding | None:
    """The role that the pod names is there."""
    name, mount = chain.path.role, chain.path.mount
    if not (name and chain.method.get("type") == "kubernetes"):
        return None
    if chain.role:
        return Finding(ROLE, True, f"{name} exists at {mount}/")
    roles = chain.names(f"auth/{mount}/role")
    close = difflib.get_close_matches(name, roles, n=1)
    evidence = f"there is no role {name} at {mount}/ (there are: {_listed(roles)})"
    hint = f"did you mean {close[0]}? Or make it" if close else "make it"
    return Finding(ROLE, False, evidence, hint, commands.whole_role(chain))


def account_is_bound(chain: Chain) -> Finding | None:
    """The pod's account exists, is the pod's, and is one that the role is for."""
    account, namespace = chain.path.service_account, chain.namespace
    if not account:
        return None
    if not chain.lab.kube.get("ServiceAccount", account, namespace):
        evidence = f"there is no service account {account} in {namespace}"
        hint = "without the account there is no token to log in with"
        run = commands.kubectl(chain, "create", "serviceaccount", account)
        return Finding(ACCOUNT, False, evidence, hint, run)
    pod = chain.pod
    used = (pod.get("spec") or {}).get("serviceAccountName", account)
    if used != account:
        evidence = f"the pod {chain.path.pod} runs as {used}, not as {account}"
        return Finding(
            ACCOUNT,
            False,
            evidence,
            "spec.serviceAccountName cannot be changed: delete the pod and make it again",
        )
    if not chain.role:
        return None
    names = [str(name) for name in chain.role.get("bound_service_account_names") or []]
    if not _matches(account, names):
        return Finding(
            ACCOUNT,
            False,
            f"the role {chain.path.role} is for {_listed(names)}, the pod runs as {account}",
            "bound_service_account_names of the role must name the pod's account",
            commands.role(chain, bound_service_account_names=account),
        )
    spaces = [str(name) for name in chain.role.get("bound_service_account_namespaces") or []]
    if not (_matches(namespace, spaces) or _selected(chain)):
        return Finding(
            ACCOUNT,
            False,
            f"the role {chain.path.role} is for the namespace {_listed(spaces)}, "
            f"the pod runs in {namespace}",
            "bound_service_account_namespaces of the role must name the pod's namespace",
            commands.role(chain, bound_service_account_namespaces=namespace),
        )
    return Finding(ACCOUNT, True, f"{namespace}/{account} is one that the role is for")


def audience_fits(chain: Chain) -> Finding | None:
    """The role's audience is the one that the pod's token is made for."""
    if not chain.role:
        return None
    wanted = str(chain.role.get("audience") or "")
    volumes = (chain.pod.get("spec") or {}).get("volumes") or []
    made_for = sorted(
        str(source["serviceAccountToken"].get("audience") or "(the API server)")
        for volume in volumes
        for source in (volume.get("projected") or {}).get("sources") or []
        if "serviceAccountToken" in source
    )
    whose = f"the token of pod {chain.path.pod}" if made_for else "the pod's token"
    made_for = made_for or [chain.path.audience]
    if wanted and wanted not in made_for:
        return Finding(
            AUDIENCE,
            False,
            f"wrong audience: the role {chain.path.role} wants {wanted}, "
            f"{whose} is made for {_listed(made_for)}",
            f"one of the two must change: the role's audience, or audience: {wanted} where the "
            "pod projects its token",
            commands.role(chain, audience=made_for[0]),
        )
    if not wanted:
        return Finding(
            AUDIENCE,
            True,
            f"the role {chain.path.role} names no audience: it takes a token made for anybody",
            "the field is called audience: a misspelt one is dropped without an error",
            commands.role(chain, audience=chain.path.audience),
        )
    return Finding(AUDIENCE, True, f"{wanted}, as the role wants it")


# -- reading ----------------------------------------------------------------------------


def _selected(chain: Chain) -> bool:
    """Whether the role's label selector takes the namespace (matchLabels only, as Vault)."""
    text = chain.role.get("bound_service_account_namespace_selector") or ""
    selector = yaml.safe_load(text) if text else None
    wanted = (selector or {}).get("matchLabels") or {}
    found = chain.lab.kube.get("Namespace", chain.namespace) or {"metadata": {}}
    labels = cast("dict[str, str]", found["metadata"].get("labels") or {})
    return bool(wanted) and wanted.items() <= labels.items()


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


LINKS: tuple[Link, ...] = (
    method_is_configured,
    reviewer_is_heard,
    role_exists,
    account_is_bound,
    audience_fits,
)
