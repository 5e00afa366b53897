"""The last links: the policies, the path that they name, the secret, and one log-in.

Vault itself says what a policy allows (sys/capabilities with a token that lives a minute).
The policy's text is read only to say why it does not: the common mistakes are a missing
data/, another mount, a neighbour's path, a missing capability. Of a secret, only names,
versions and field names are read. An engine that creates credentials on a read (database,
PKI) is never read. The log-in at the end covers what no setting shows.
"""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.diagnosis import commands
from harness.diagnosis.chain import Chain, Finding, Link
from harness.diagnosis.reviewer import REFUSALS, REVIEWER, revoke

POLICY, PATH, SECRET, LOGIN = "policy", "policy path", "secret", "log-in"
# Policies that always exist.
BUILT_IN = frozenset({"default", "root"})
# Engines of which a read creates nothing.
READABLE = frozenset({"kv", "cubbyhole"})

_BLOCK = re.compile(r'path\s+"([^"]+)"\s*\{(.*?)\}', re.DOTALL)
_WORD = re.compile(r'"([a-z]+)"')


def policies_exist(chain: Chain) -> Finding | None:
    """The role grants policies, and they are there."""
    role = chain.path.role
    if role and not chain.role:
        return None
    if not chain.policies:
        if not role:
            return None
        return Finding(
            POLICY,
            False,
            f"the role {role} grants no policy: its token_policies are empty",
            "the field is called token_policies: a misspelt one (policies_, policy) is dropped "
            "without an error; read the role back",
            commands.role(chain, token_policies=commands.policies(chain)),
        )
    there = set(chain.names("sys/policies/acl")) | BUILT_IN
    missing = [name for name in chain.policies if name not in there]
    # Vault stores names in lower case and finds them so.
    missing = [name for name in missing if name.lower() not in there]
    listed = ", ".join(chain.policies)
    if not missing:
        return Finding(POLICY, True, f"{listed}: there")
    close = difflib.get_close_matches(missing[0], sorted(there), n=1)
    # Without a path nobody can say which of several would be needed.
    if _allowed(chain) or (not chain.path.secret and len(missing) < len(chain.policies)):
        evidence = f"there is no {', '.join(missing)}, the others are enough"
        rest = [name for name in chain.policies if name not in missing]
        hint = f"take {missing[0]} out of token_policies"
        run = commands.role(chain, token_policies=rest) if role else ""
        return Finding(POLICY, True, evidence, hint, run)
    who = f"the role {role} grants it, " if role else ""
    evidence = f"missing policy: there is no {', '.join(missing)} ({who}Vault does not mind)"
    hint = "write it" + (f", or is {close[0]} meant?" if close else "")
    return Finding(POLICY, False, evidence, hint, commands.policy(missing[0], _right(chain)))


def path_is_allowed(chain: Chain) -> Finding | None:
    """A token with these policies has the capability at the secret's path."""
    path, wanted = chain.path.secret, chain.path.capability
    if not (path and chain.policies):
        return None
    if _allowed(chain):
        who = ", ".join(chain.policies)
        return Finding(PATH, True, f"a token with {who} may {wanted} {path}")
    if any(finding.link == POLICY and not finding.ok for finding in chain.found):
        return None
    texts = {
        name: str(chain.read(f"sys/policies/acl/{name}").get("policy") or "")
        for name in chain.policies
    }
    paths: dict[str, list[str]] = {}
    for text in texts.values():
        for pattern, capabilities in parse_policy(text).items():
            paths[pattern] = paths.get(pattern, []) + capabilities
    finding = why_not_allowed(path, wanted, paths, chain.policies, list(chain.mounts))
    return replace(finding, run=_mended(chain, texts))


def _right(chain: Chain) -> str:
    return f'path "{chain.path.secret}" {{\n  capabilities = ["{chain.path.capability}"]\n}}'


def _mended(chain: Chain, texts: Mapping[str, str]) -> str:
    """The command that writes the policy as it is, with the path allowed; "" for JSON."""
    for name, text in texts.items():
        for block in _BLOCK.finditer(text):
            # A second block of the same path would be one too many, a denial wins over all.
            same = block[1] == chain.path.secret
            if same or (covers(block[1], chain.path.secret) and "deny" in block[2]):
                return commands.policy(name, text.replace(block[0], _right(chain)))
    name, text = next(iter(texts.items()))
    if text.lstrip().startswith("{"):
        return ""
    return commands.policy(name, f"{text.strip()}\n{_right(chain)}")


def _allowed(chain: Chain) -> bool:
    """Whether a token with these policies alone has the capability; made, asked, revoked."""
    if not chain.path.secret:
        return False
    made = chain.lab.http.post(
        "/v1/auth/token/create-orphan",
        json={"policies": chain.policies, "no_default_policy": True, "ttl": "1m"},
    ).json()["auth"]["client_token"]
    try:
        allowed = _capabilities(chain, made)
    finally:
        revoke(chain, made)
    return bool({chain.path.capability, "root"} & set(allowed))


def why_not_allowed(
    path: str,
    wanted: str,
    paths: Mapping[str, list[str]],
    policies: list[str],
    mounts: list[str],
) -> Finding:
    """Why `paths` (pattern -> capabilities) do not allow `wanted` at `path`."""
    who = ", ".join(policies)
    right = f'path "{path}" {{ capabilities = ["{wanted}"] }}'
    if not paths:
        return Finding(PATH, False, f"{who} names no path at all", right)
    covering = {pattern: few for pattern, few in paths.items() if covers(pattern, path)}
    for pattern, capabilities in covering.items():
        if "deny" in capabilities:
            over = [other for other in covering if wanted in covering[other] and other != pattern]
            won = f", which wins over {', '.join(over)}" if over else ""
            evidence = f"{who} names {pattern} with deny{won}"
            return Finding(PATH, False, evidence, right)
    for pattern, capabilities in covering.items():
        # The most exact path alone counts: that a wider one allows more is of no use.
        if wanted not in capabilities:
            few = ", ".join(capabilities) or "nothing"
            evidence = f"{who} names {pattern}, but allows {few} there, not {wanted}"
            return Finding(PATH, False, evidence, right)
    for pattern in paths:
        problem = _mistake(pattern, path, mounts)
        if problem:
            return Finding(PATH, False, f"{who} names {pattern}, {problem}", right)
    named = ", ".join(paths)
    evidence = f"{who} names only {named}: not {path}, which is what is asked for"
    return Finding(PATH, False, evidence, right)


def _mistake(pattern: str, path: str, mounts: list[str]) -> str:
    """What is wrong with a policy's path that was meant to be `path`; "" if unknown."""
    if pattern.lstrip("/").startswith("v1/") or pattern.startswith("/"):
        return "with the address in front: a policy's path begins with the mount, without /v1/"
    mount, _, rest = path.partition("/data/")
    if rest and covers(pattern, f"{mount}/{rest}"):
        return "without data/: KV version 2 asks for " + path
    if rest and covers(pattern, f"{mount}/metadata/{rest}"):
        return "which shows names and versions; the content is at " + path
    if not any(pattern.startswith(name) for name in mounts):
        first = pattern.partition("/")[0]
        return f"but no engine is mounted at {first}/: wrong mount, the secret is at {path}"
    return ""


def secret_exists(chain: Chain) -> Finding | None:
    """The secret is there, its present version is not deleted, its fields are there."""
    path = chain.path.secret
    if not path:
        return None
    mount = max((name for name in chain.mounts if path.startswith(name)), key=len, default="")
    if not mount:
        return Finding(
            SECRET,
            False,
            f"no secrets engine is mounted where {path} begins",
            "vault secrets list; POST /v1/sys/mounts/…",
        )
    engine = chain.mounts[mount]
    if engine["type"] not in READABLE:
        return Finding(SECRET, True, f"{mount} is a {engine['type']} engine (not read: it makes)")
    rest = path[len(mount) :]
    if str((engine.get("options") or {}).get("version")) != "2":
        if engine["type"] == "kv" and rest.startswith("data/"):
            evidence = f"{mount} is KV version 1, and {path} is a path of version 2"
            hint = "version 1 has no data/ in its paths and keeps no versions"
            run = f"vault kv enable-versioning {shlex.quote(mount.rstrip('/'))}"
            return Finding(SECRET, False, evidence, hint, run)
        return _fields(chain, chain.read(path), path, f"{mount} (version 1)")
    word, _, name = rest.partition("/")
    if word != "data":
        evidence = f"{path} has no data/ after {mount}, which is KV version 2"
        return Finding(SECRET, False, evidence, f"ask for {mount}data/{rest}")
    metadata = chain.read(f"{mount}metadata/{name}")
    if not metadata:
        folder = name.rpartition("/")[0]
        there = chain.names(f"{mount}metadata/{folder}")
        evidence = f"there is no secret {name} in {mount} (there are: {', '.join(there) or 'none'})"
        return Finding(SECRET, False, evidence, _write(chain, mount, name))
    return _version(chain, mount, name, metadata) or _fields(
        chain, dict(chain.read(path).get("data") or {}), name, mount
    )


def _write(chain: Chain, mount: str, name: str) -> str:
    fields = " ".join(f"{field}=…" for field in chain.path.fields or ("KEY",))
    return f"write it: vault kv put -mount={mount.rstrip('/')} {name} {fields}"


def _version(chain: Chain, mount: str, name: str, metadata: Mapping[str, Any]) -> Finding | None:
    """A finding when the present version is deleted or destroyed."""
    number = str(metadata.get("current_version"))
    version = (metadata.get("versions") or {}).get(number)
    if not version:
        evidence = f"{name} in {mount} has metadata but no version yet"
        return Finding(SECRET, False, evidence, _write(chain, mount, name))
    where = ["vault", "kv", "VERB", f"-mount={mount.rstrip('/')}"]
    if version.get("destroyed"):
        evidence = f"version {number} of {name} in {mount}, the present one, is destroyed"
        whole = [
            int(older)
            for older, about in metadata["versions"].items()
            if not (about.get("destroyed") or about.get("deletion_time"))
        ]
        if not whole:
            return Finding(SECRET, False, evidence, _write(chain, mount, name))
        where[2] = "rollback"
        hint = f"nobody brings it back; version {max(whole)} is whole and can be the present one"
        run = shlex.join([*where, f"-version={max(whole)}", name])
        return Finding(SECRET, False, evidence, hint, run)
    if version.get("deletion_time"):
        when = str(version["deletion_time"])[:19]
        evidence = f"deleted: version {number} of {name} in {mount}, the present one, at {when}"
        where[2] = "undelete"
        run = shlex.join([*where, f"-versions={number}", name])
        return Finding(SECRET, False, evidence, "bring it back, or write a new one", run)
    return None


def _fields(chain: Chain, data: Mapping[str, Any], name: str, mount: str) -> Finding:
    if not data:
        evidence = f"there is no secret {name} in {mount}"
        return Finding(SECRET, False, evidence, _write(chain, mount, name))
    missing = [field for field in chain.path.fields if field not in data]
    present = ", ".join(sorted(data))
    if missing:
        evidence = f"{name} in {mount} has no field {', '.join(missing)} (it has: {present})"
        fields = " ".join(f"{field}=…" for field in missing)
        hint = (
            "names are case-sensitive; add it to the others: vault kv patch "
            f"-mount={mount.rstrip('/')} {name} {fields}"
        )
        return Finding(SECRET, False, evidence, hint)
    return Finding(SECRET, True, f"{name} in {mount} is there, with the fields {present}")


def account_logs_in(chain: Chain) -> Finding | None:
    """When all else holds: the account logs in, and its token has the capability."""
    path, lab = chain.path, chain.lab
    if not (chain.whole and chain.role and path.service_account):
        return None
    jwt = lab.kube.create_token(path.service_account, path.audience, namespace=chain.namespace)
    login = {"role": path.role, "jwt": jwt}
    answer = lab.http.post(f"/v1/auth/{path.mount}/login", json=login, token="", allow=REFUSALS)
    if answer.status_code != 200:
        said = "; ".join(answer.json().get("errors") or []) or "nothing"
        evidence = f"{path.service_account} is refused ({answer.status_code}): {said}"
        return Finding(LOGIN, False, evidence, f"the server's log has more; see also {REVIEWER}")
    token = answer.json()["auth"]["client_token"]
    try:
        allowed = _capabilities(chain, token) if path.secret else [path.capability]
    finally:
        revoke(chain, token)
    if not {path.capability, "root"} & set(allowed):
        evidence = f"{path.service_account} logs in, but may not {path.capability} {path.secret}"
        return Finding(LOGIN, False, evidence, "vault token capabilities; an entity's policy?")
    return Finding(LOGIN, True, f"{path.service_account} logs in as {path.role}")


def _capabilities(chain: Chain, token: str) -> list[str]:
    asked = {"token": token, "paths": [chain.path.secret]}
    answer = chain.lab.http.post("/v1/sys/capabilities", json=asked).json()["data"]
    return [str(one) for one in answer.get(chain.path.secret) or []]


def parse_policy(text: str) -> dict[str, list[str]]:
    """The paths of a policy (HCL or JSON) and their capabilities, as far as they are plain."""
    try:
        blocks = json.loads(text)["path"]
        return {name: list(block.get("capabilities") or []) for name, block in blocks.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        code = "\n".join(line.partition("#")[0] for line in text.splitlines())
        return {name: _WORD.findall(body) for name, body in _BLOCK.findall(code)}


def covers(pattern: str, path: str) -> bool:
    """Whether a policy's path takes a request's: + is one part, * at the end is any rest."""
    glob = pattern.endswith("*")
    parts = [re.escape(part) for part in pattern.removesuffix("*").split("/")]
    parts = ["[^/]+" if part == re.escape("+") else part for part in parts]
    return re.fullmatch("/".join(parts) + (".*" if glob else ""), path) is not None


LINKS: tuple[Link, ...] = (policies_exist, path_is_allowed, secret_exists, account_logs_in)
