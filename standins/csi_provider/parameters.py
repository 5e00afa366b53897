"""What a mount request asks for: the parameters of a SecretProviderClass and the pod.

The driver sends one JSON object of strings: the class's parameters, overlaid by the
volume's attributes and by what kubelet says about the pod. `parse_request` checks them
in the order that the real provider does, so that the first complaint is the same.
Connection parameters are kept as written; vault.py lays them over the provider's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from standins.common import gojson
from standins.common.connection import Connection
from standins.common.gotyped import Decoder, TypeMismatch
from standins.csi_provider.api import MountRequest
from standins.csi_provider.errors import ConfigError
from standins.csi_provider.objects import LARGEST_MODE, SecretObject, check_objects, parse_objects

POD = "csi.storage.k8s.io/pod."
ACCOUNT = "csi.storage.k8s.io/serviceAccount.name"
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
DEFAULT_AUDIENCE = "vault"

_TYPES = Decoder({"Token": {"token": "string", "expirationTimestamp": "string"}})

# Go's strconv.ParseBool, whose words people write into classes.
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True)
class Pod:
    """The pod that mounts, as kubelet describes it."""

    name: str = ""
    uid: str = ""
    namespace: str = ""
    account: str = ""

    def __str__(self) -> str:
        # As upstream prints it; the last, empty place is that of the token.
        return f"{{{self.name} {self.uid} {self.namespace} {self.account} }}"


@dataclass(frozen=True)
class Login:
    """Who logs in, where: everything that a cached Vault token depends on.

    Hashable, and the key of the client cache: neither the objects to read nor the pod's
    service-account token are in it.
    """

    role: str
    mount: str
    audience: str
    pod: Pod
    connection: Connection


@dataclass(frozen=True)
class Request:
    """A checked mount request. `mode` applies to objects that set none."""

    login: Login
    objects: tuple[SecretObject, ...]
    target: str
    mode: int
    pod_token: str = field(default="", repr=False)


def parse_bool(text: str) -> bool:
    """Go's strconv.ParseBool. Raises ConfigError with its words."""
    if text not in (*_TRUE, *_FALSE):
        raise ConfigError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def parse_request(request: MountRequest) -> Request:
    """Read and check a mount request. Raises ConfigError."""
    given = _strings(request.attributes)
    login = Login(
        role=given.get("roleName", ""),
        mount=_mount(given),
        audience=given.get("audience", ""),
        pod=Pod(
            name=given.get(f"{POD}name", ""),
            uid=given.get(f"{POD}uid", ""),
            namespace=given.get(f"{POD}namespace", ""),
            account=given.get(ACCOUNT, ""),
        ),
        connection=_connection(given),
    )
    objects = parse_objects(given.get("objects", ""))
    pod_token = _pod_token(given.get(TOKENS, ""), login.audience or DEFAULT_AUDIENCE)
    mode = _permission(request.permission)
    if not request.target_path:
        raise ConfigError("missing target path field")
    if not login.role:
        raise ConfigError("missing 'roleName' in SecretProviderClass definition")
    check_objects(objects)
    return Request(login, objects, request.target_path, mode, pod_token)


def _strings(attributes: str) -> Mapping[str, str]:
    """The members of a JSON object of texts; null is a text that is empty."""
    try:
        found = gojson.loads(attributes)
    except (ValueError, RecursionError):
        raise ConfigError("attributes: not valid JSON") from None
    try:
        members: dict[str, str] | None = _TYPES.decode("map[string]string", found)
    except TypeMismatch as error:
        raise ConfigError(f"attributes: {error}") from None
    return members or {}


def _mount(given: Mapping[str, str]) -> str:
    old, new = given.get("vaultKubernetesMountPath"), given.get("vaultAuthMountPath")
    if old is not None and new is not None:
        raise ConfigError("cannot set both vaultKubernetesMountPath and vaultAuthMountPath")
    return old or new or ""


def _connection(given: Mapping[str, str]) -> Connection:
    skip = given.get("vaultSkipTLSVerify")
    return Connection(
        address=given.get("vaultAddress", ""),
        namespace=given.get("vaultNamespace", ""),
        ca_file=given.get("vaultCACertPath", ""),
        ca_folder=given.get("vaultCADirectory", ""),
        server_name=given.get("vaultTLSServerName", ""),
        client_cert=given.get("vaultTLSClientCertPath", ""),
        client_key=given.get("vaultTLSClientKeyPath", ""),
        skip_verify=parse_bool(skip) if skip is not None else False,
    )


def _pod_token(text: str, audience: str) -> str:
    """The token that kubelet made for `audience`, "" where it made none."""
    if not text:
        return ""
    try:
        tokens = _TYPES.decode("map[string]Token", gojson.loads(text)) or {}
    except (ValueError, RecursionError):
        # A message of a parser quotes what it read, and that is a token.
        raise ConfigError(
            "failed to unmarshal service account tokens: not a JSON object of audiences"
        ) from None
    token: str = tokens[audience]["token"] if audience in tokens else ""
    return token


def _permission(text: str) -> int:
    try:
        mode: int = _TYPES.decode("uint32", gojson.loads(text))
    except (ValueError, RecursionError):
        mode = -1
    if not 0 <= mode <= LARGEST_MODE:
        raise ConfigError("permission: must be a JSON number from 0 to 511")
    return mode
