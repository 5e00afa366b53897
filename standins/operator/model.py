"""The words of the custom resources: kinds, finalizers, reasons, and how objects are read.

Objects are the plain dicts that the Kubernetes API sends; the helpers below only read them.
The strings are the interface that labs and users see (interfaces.md sections 3.2 to 3.4).
"""

from __future__ import annotations

from typing import Any, NamedTuple

Obj = dict[str, Any]

GROUP = "secrets.hashicorp.com"
API_VERSION = f"{GROUP}/v1beta1"

CONNECTION = "VaultConnection"
AUTH = "VaultAuth"
AUTH_GLOBAL = "VaultAuthGlobal"
STATIC = "VaultStaticSecret"
DYNAMIC = "VaultDynamicSecret"
PKI = "VaultPKISecret"
TRANSFORMATION = "SecretTransformation"

KINDS = (CONNECTION, AUTH, AUTH_GLOBAL, STATIC, DYNAMIC, PKI, TRANSFORMATION)
SYNCABLE = (STATIC, DYNAMIC, PKI)

# kind -> the path of its collections: what the common client does not know.
RESOURCES = {
    "Rollout": "/apis/argoproj.io/v1alpha1/rollouts",
    **{kind: f"/apis/{API_VERSION}/{kind.lower()}s" for kind in KINDS},
}

# `vaultpkisecrets` is plural upstream, alone among its siblings.
FINALIZERS = {
    CONNECTION: f"vaultconnection.{GROUP}/finalizer",
    AUTH: f"vaultauth.{GROUP}/finalizer",
    STATIC: f"vaultstaticsecret.{GROUP}/finalizer",
    DYNAMIC: f"vaultdynamicsecret.{GROUP}/finalizer",
    PKI: f"vaultpkisecrets.{GROUP}/finalizer",
}

OWNER_LABELS = {
    "app.kubernetes.io/managed-by": "hashicorp-vso",
    "app.kubernetes.io/name": "vault-secrets-operator",
    "app.kubernetes.io/component": "secret-sync",
}
OWNER_UID_LABEL = f"{GROUP}/vso-ownerRefUID"
RESTARTED_AT = "vso.secrets.hashicorp.com/restartedAt"


class Reason:
    """Reasons of events and conditions."""

    ACCEPTED = "Accepted"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    INVALID_RESOURCE_REF = "InvalidResourceRef"
    K8S_CLIENT_ERROR = "K8sClientError"
    ROLLOUT_RESTART_TRIGGERED = "RolloutRestartTriggered"
    ROLLOUT_RESTART_FAILED = "RolloutRestartFailed"
    ROLLOUT_RESTART_TRIGGERED_FAILED = "RolloutRestartTriggeredFailed"
    LEASE_RENEWAL = "SecretLeaseRenewal"
    LEASE_RENEWAL_ERROR = "SecretLeaseRenewalError"
    LEASE_REVOKE = "SecretLeaseRevoke"
    SYNCED = "SecretSynced"
    ROTATED = "SecretRotated"
    SYNC_ERROR = "SecretSyncError"
    DATA_DRIFT = "SecretDataDrift"
    STATUS_UPDATE_ERROR = "StatusUpdateError"
    VAULT_CLIENT_CONFIG_ERROR = "VaultClientConfigError"
    VAULT_CLIENT_ERROR = "VaultClientError"
    STATIC_ERROR = "VaultStaticSecretError"
    TRANSFORMATION_ERROR = "TransformationError"
    DATA_BUILDER_ERROR = "SecretDataBuilderError"
    HMAC_DATA_ERROR = "HMACDataError"
    CERTIFICATE_REVOCATION_ERROR = "CertificateRevocationError"
    EVENT_WATCHER_ERROR = "EventWatcherError"
    UNRECOVERABLE = "Unrecoverable"
    # Why a secret is synced at all (sync_reason in events).
    INITIAL_SYNC = "InitialSync"
    FORCE_SYNC = "ForceSync"
    RESOURCE_UPDATED = "ResourceUpdated"
    INEXISTENT_DESTINATION = "InexistentDestination"
    CLIENT_CONFIG_CHANGED = "VaultClientConfigChanged"
    NEW_LOGIN = "VaultTokenRotated"
    IN_RENEWAL_WINDOW = "InRenewalWindow"


class Key(NamedTuple):
    """Which object: the unit of the work queues."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def meta(obj: Obj) -> dict[str, Any]:
    """The object's metadata ({} when there is none)."""
    found: dict[str, Any] = obj.get("metadata") or {}
    return found


def spec(obj: Obj) -> dict[str, Any]:
    """The object's spec ({} when there is none)."""
    found: dict[str, Any] = obj.get("spec") or {}
    return found


def status(obj: Obj) -> dict[str, Any]:
    """The object's status ({} when there is none)."""
    found: dict[str, Any] = obj.get("status") or {}
    return found


def namespace(obj: Obj) -> str:
    """The object's namespace."""
    return str(meta(obj).get("namespace", ""))


def name(obj: Obj) -> str:
    """The object's name."""
    return str(meta(obj).get("name", ""))


def uid(obj: Obj) -> str:
    """The object's UID."""
    return str(meta(obj).get("uid", ""))


def generation(obj: Obj) -> int:
    """The generation of the object's spec."""
    return int(meta(obj).get("generation") or 0)


def deleting(obj: Obj) -> bool:
    """Whether deletion was asked for and finalizers hold the object."""
    return bool(meta(obj).get("deletionTimestamp"))


def key_of(kind: str, obj: Obj) -> Key:
    """The queue key of `obj`."""
    return Key(kind, namespace(obj), name(obj))


def owner_reference(obj: Obj) -> dict[str, str]:
    """The one owner reference that a Secret made for `obj` carries."""
    return {
        "apiVersion": API_VERSION,
        "kind": str(obj.get("kind", "")),
        "name": name(obj),
        "uid": uid(obj),
    }
