"""The two containers and the volumes that come into the pod.

`vault-agent-init` renders once and ends; `vault-agent` stays. Both run a shell that
writes the configuration into a memory volume and starts the agent; with a ConfigMap of
the user's own they start from its files instead.
Source: hashicorp/vault-k8s v1.7.6, agent-inject/agent/container_*.go.
"""

from __future__ import annotations

import base64
import binascii
import shlex
from typing import Any

from kubernetes.client import V1Container
from pydantic import ValidationError

from standins.common import values
from standins.injector import jsonpatch
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
    mounts += _copied_mounts(plan, taken={each["mountPath"] for each in mounts})
    if notes.text("agent-configmap"):
        mounts.append({"name": "vault-config", "mountPath": CONFIGS, "readOnly": True})
    if notes.text("tls-secret"):
        mounts.append({"name": "vault-tls-secrets", "mountPath": "/vault/tls", "readOnly": True})
    if plan.cache_persist:
        mounts.append({"name": "vault-agent-cache", "mountPath": CACHE_PATH})
    return mounts


def _copied_mounts(plan: Plan, taken: set[str]) -> list[JsonObject]:
    wanted = plan.notes.text("agent-copy-volume-mounts")
    if not wanted:
        return []
    # The API server refuses a container that mounts two things at one path; what the
    # agent already has wins over the copy.
    return [
        mount.raw
        for container in (*plan.pod.containers, *plan.pod.init_containers)
        if container.name == wanted
        for mount in container.mounts
        if "serviceaccount" not in mount.path.lower() and mount.path not in taken
    ]


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
    return env + [{"name": name, "value": value} for name, value in plain.items() if value]


def _maybe_base64(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
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


def _patched(container: JsonObject, patch: list[dict[str, Any]]) -> JsonObject:
    """The container after the user's JSON Patch, still a container; else AnnotationError."""
    result = jsonpatch.apply(container, patch)
    try:
        V1Container.from_dict(_with_text_quantities(result))
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]
        )
        raise AnnotationError(f"failed to apply JSON patch: not a container: {wrong}") from error
    checked: JsonObject = result
    return checked


def _with_text_quantities(container: Any) -> Any:
    """The same with numbers in resources as text: Kubernetes takes both, the model one."""
    if not isinstance(container, dict):
        raise AnnotationError("failed to apply JSON patch: not a container: not an object")
    resources = container.get("resources")
    if not isinstance(resources, dict):
        return container
    texts = {
        kind: {name: str(amount) for name, amount in amounts.items()}
        if kind in ("limits", "requests") and isinstance(amounts, dict)
        else amounts
        for kind, amounts in resources.items()
    }
    return container | {"resources": texts}


def _homes(plan: Plan) -> tuple[tuple[str, bool], ...]:
    return (("home-init", plan.pre_populate), ("home-sidecar", plan.sidecar))


def _in_memory(name: str) -> JsonObject:
    return {"name": name, "emptyDir": {"medium": "Memory"}}
