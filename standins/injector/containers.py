"""The two containers and the volumes that come into the pod.

`vault-agent-init` renders once and ends; `vault-agent` stays. Both run a shell that
writes the configuration into a memory volume and starts the agent; with a ConfigMap of
the user's own they start from its files instead.
Source: hashicorp/vault-k8s v1.7.6, agent-inject/agent/container_*.go.
"""

from __future__ import annotations

import posixpath
import shlex

from standins.common import gobase64, gojson, values
from standins.common.gotyped import TypeMismatch
from standins.injector import container_model, jsonpatch
from standins.injector.agent_config import CACHE_PATH, HOME, TOKEN_FILE, encoded
from standins.injector.annotations import AnnotationError, Notes, parsed
from standins.injector.plan import Plan
from standins.injector.pod import JsonObject
from standins.injector.token_volume import aws_env

INIT = "vault-agent-init"
SIDECAR = "vault-agent"
CONFIGS = "/vault/configs"
START = (
    "echo ${VAULT_CONFIG?} | base64 -d > /home/vault/config.json"
    " && vault agent -config=/home/vault/config.json"
)
RESOURCE_NAMES = {"cpu": "cpu", "mem": "memory", "ephemeral": "ephemeral-storage"}


def volumes(plan: Plan) -> list[JsonObject]:
    """The volumes to add, in upstream's order. Secrets only ever lie in memory."""
    notes = plan.notes
    names = [name for name, used in _homes(plan) if used]
    names += ["vault-secrets", *(f"vault-secrets-custom-{i}" for i in range(len(plan.own_paths)))]
    found: list[JsonObject] = [_in_memory(name) for name in names]
    if name := notes.text("agent-configmap"):
        found.append({"name": "vault-config", "configMap": {"name": name}})
    if name := notes.text("agent-extra-secret"):
        found.append({"name": "extra-secrets", "secret": {"secretName": name}})
    if name := notes.text("tls-secret"):
        found.append({"name": "vault-tls-secrets", "secret": {"secretName": name}})
    if plan.cache_persist:
        found.append(_in_memory("vault-agent-cache"))
    return found


def secret_mounts(plan: Plan) -> list[JsonObject]:
    """The mounts that make the secrets visible to a container."""
    paths = [plan.notes.text("secret-volume-path"), *plan.own_paths]
    names = ["vault-secrets", *(f"vault-secrets-custom-{i}" for i in range(len(plan.own_paths)))]
    return [{"name": name, "mountPath": path} for name, path in zip(names, paths, strict=True)]


def init_container(plan: Plan) -> JsonObject:
    """The container that renders before the application starts."""
    return _container(plan, init=True)


def sidecar(plan: Plan) -> JsonObject:
    """The container that keeps the files up to date."""
    return _container(plan, init=False)


def _container(plan: Plan, *, init: bool) -> JsonObject:
    container: JsonObject = {
        "name": INIT if init else SIDECAR,
        "image": plan.notes.text("agent-image"),
        "command": ["/bin/sh", "-ec"],
        "args": [_start(plan, init)],
        "env": _env(plan, init),
        "resources": _resources(plan.notes),
        "volumeMounts": _mounts(plan, init),
    }
    if not init:
        container["lifecycle"] = _lifecycle(plan)
    if plan.set_security_context:
        container["securityContext"] = _security_context(plan)
    patch = plan.init_json_patch if init else plan.json_patch
    return _patched(container, patch) if patch else container


def _start(plan: Plan, init: bool) -> str:
    if not plan.notes.text("agent-configmap"):
        return START
    file = "config-init.hcl" if init else "config.hcl"
    return f"touch {TOKEN_FILE} && vault agent -config={CONFIGS}/{file}"


def _mounts(plan: Plan, init: bool) -> list[JsonObject]:
    notes = plan.notes
    home = {"name": "home-init" if init else "home-sidecar", "mountPath": HOME}
    token = {"name": plan.token.name, "mountPath": plan.token.mount_path, "readOnly": True}
    mounts: list[JsonObject] = [home, token] if init else [token, home]
    if plan.aws:
        mounts.append({"name": plan.aws.name, "mountPath": plan.aws.mount_path, "readOnly": True})
    mounts += secret_mounts(plan)
    if notes.text("agent-extra-secret"):
        mounts.append({"name": "extra-secrets", "mountPath": "/vault/custom", "readOnly": True})
    # In upstream's order; the paths of those behind it are taken, too.
    place = len(mounts)
    if notes.text("agent-configmap"):
        mounts.append({"name": "vault-config", "mountPath": CONFIGS, "readOnly": True})
    if notes.text("tls-secret"):
        mounts.append({"name": "vault-tls-secrets", "mountPath": "/vault/tls", "readOnly": True})
    if plan.cache_persist:
        mounts.append({"name": "vault-agent-cache", "mountPath": CACHE_PATH})
    mounts[place:place] = _copied_mounts(plan, mounts)
    return mounts


def _copied_mounts(plan: Plan, own: list[JsonObject]) -> list[JsonObject]:
    """The mounts of the container that the pod names, but for those at a path of `own`.

    The API server refuses a container that mounts two things at one path; what the agent
    itself needs wins over the copy.
    """
    wanted = plan.notes.text("agent-copy-volume-mounts")
    taken = {posixpath.normpath(each["mountPath"]) for each in own}
    copied = []
    for container in (*plan.pod.containers, *plan.pod.init_containers):
        for mount in container.mounts if wanted and container.name == wanted else ():
            path = posixpath.normpath(mount.path)
            if "serviceaccount" not in mount.path.lower() and path not in taken:
                copied.append(mount.raw)
    return copied


def _env(plan: Plan, init: bool) -> list[JsonObject]:
    notes = plan.notes
    env: list[JsonObject] = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in (
            ("NAMESPACE", "metadata.namespace"),
            ("HOST_IP", "status.hostIP"),
            ("POD_IP", "status.podIP"),
        )
    ]
    plain = {
        "GOMAXPROCS": notes.text("go-max-procs"),
        "VAULT_CLIENT_TIMEOUT": notes.text("client-timeout"),
        "VAULT_MAX_RETRIES": notes.text("client-max-retries"),
        "VAULT_LOG_LEVEL": notes.text("log-level"),
        "VAULT_LOG_FORMAT": notes.text("log-format"),
        "HTTPS_PROXY": notes.text("proxy-address"),
    }
    if notes.text("agent-configmap"):
        plain |= {
            "VAULT_ADDR": notes.text("service"),
            "VAULT_CACERT": notes.text("ca-cert"),
            "VAULT_CAPATH": notes.text("ca-key"),
            "VAULT_CLIENT_CERT": notes.text("client-cert"),
            "VAULT_CLIENT_KEY": notes.text("client-key"),
            "VAULT_SKIP_VERIFY": "true" if plan.tls_skip_verify else "false",
            "VAULT_TLS_SERVER_NAME": notes.text("tls-server-name"),
        }
    else:
        plain["VAULT_CONFIG"] = encoded(plan, init=init)
    plain["VAULT_CACERT_BYTES"] = _maybe_base64(plan.ca_bytes)
    if notes.text("auth-type") == "aws":
        plain |= aws_env(plan.pod)
        if region := plan.auth_config.get("region"):
            plain["AWS_REGION"] = region
    # Base64 of nothing makes an empty variable, as upstream's.
    empty = ("VAULT_CACERT_BYTES",) if plan.ca_bytes else ()
    return env + [
        {"name": name, "value": value} for name, value in plain.items() if value or name in empty
    ]


def _maybe_base64(text: str) -> str:
    try:
        return gojson.decoded(gobase64.decode(text))
    except ValueError:
        return text


def _resources(notes: Notes) -> JsonObject:
    found: JsonObject = {}
    for kind in ("limits", "requests"):
        for short, resource in RESOURCE_NAMES.items():
            name = f"agent-{kind}-{short}"
            if text := notes.text(name):
                amount = parsed(name, text, values.check_quantity)
                found.setdefault(kind, {})[resource] = amount
    return found


def _lifecycle(plan: Plan) -> JsonObject:
    if not plan.revoke_on_shutdown:
        return {}
    notes = plan.notes
    flags = [f"-address={notes.text('service')}"]
    files = ("ca-cert", "client-cert", "client-key")
    flags += [f"-{name}={notes.text(name)}" for name in files if notes.text(name)]
    revoke = f"/bin/vault token revoke {shlex.join(flags)} -self"
    command = f"/bin/sleep {plan.revoke_grace} && {revoke}"
    return {"preStop": {"exec": {"command": ["/bin/sh", "-c", command]}}}


def _security_context(plan: Plan) -> JsonObject:
    return {
        "runAsUser": plan.run_as_user,
        "runAsGroup": plan.run_as_group,
        "runAsNonRoot": plan.run_as_user != 0 and plan.run_as_group != 0,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "allowPrivilegeEscalation": False,
    }


def _patched(container: JsonObject, patch: list[jsonpatch.Operation]) -> JsonObject:
    """The container after the user's JSON Patch, still a container; else AnnotationError."""
    try:
        result = jsonpatch.apply(container, patch)
    except jsonpatch.PatchError as error:
        raise AnnotationError(f"failed to apply JSON patch: {error}") from None
    try:
        return container_model.checked(gojson.loads(result))
    except (TypeMismatch, RecursionError) as error:
        raise AnnotationError(str(error) or "nested too deeply") from None


def _homes(plan: Plan) -> tuple[tuple[str, bool], ...]:
    return (("home-init", plan.pre_populate), ("home-sidecar", plan.sidecar))


def _in_memory(name: str) -> JsonObject:
    return {"name": name, "emptyDir": {"medium": "Memory"}}
