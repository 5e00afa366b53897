"""The files of one Vault server on this machine: CA, certificate, configuration, keys."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base import certs
from harness.base.network import LOCALHOST
from harness.base.paths import PROJECT
from harness.base.redact import TOKEN_PREFIX, Secret
from harness.base.statefile import field, read_record, write_json
from harness.servers.flavours import Flavour

SERVICE_NAMES = ("vault.vault.svc", "vault.vault.svc.cluster.local", "vault.vault")
# The storage backend of the configuration below. Data of another one cannot be read.
STORAGE = "raft"
_AUDIT = """audit "file" "file" {
  options { file_path = "/lab/audit/audit.log", mode = "0644" }
}
"""


@dataclass(frozen=True)
class Keys:
    """What opens one Vault: without it the data on the volume is lost.

    `flavour` and `storage` tell which server and backend wrote that data.
    """

    root_token: Secret
    unseal_key: Secret
    flavour: str
    storage: str = STORAGE

    @property
    def learner_token(self) -> Secret:
        """The token of shells, notebooks and labs: always the same one for these keys.

        Derived from the root token (HMAC-SHA256), so it need not be stored, and a shell that
        was opened before it was revoked can use it again once it was created again.
        """
        digest = hmac.new(self.root_token.encode(), b"learner", hashlib.sha256).hexdigest()
        return Secret(TOKEN_PREFIX + digest[:40])

    @classmethod
    def read(cls, file: Path, flavour: str) -> Keys | None:
        """The keys in `file`, None when there are none; `flavour` where none is on record."""

        def parse(stored: dict[str, Any]) -> Keys:
            return cls(
                root_token=Secret(field(stored, "root_token", str)),
                unseal_key=Secret(field(stored, "unseal_key", str)),
                flavour=field(stored, "flavour", str, flavour),
                storage=field(stored, "storage", str, STORAGE),
            )

        way_out = "./lab up --new-vault: without these keys, what the old Vault holds is lost"
        return read_record(file, parse, way_out)

    def write(self, file: Path) -> None:
        """Replace the keys in `file`."""
        write_json(
            file,
            {
                "root_token": self.root_token,
                "unseal_key": self.unseal_key,
                "flavour": self.flavour,
                "storage": self.storage,
            },
        )


def write_configuration(folder: Path, flavour: Flavour, name: str, container_name: str) -> None:
    """Write what the container mounts: config/ with a certificate, and an empty audit/.

    The CA is made when `folder` has none; it stays, since pods trust it.
    """
    for sub, mode in (("config", 0o755), ("audit", 0o777)):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        # The server runs under another user ID; only the owner can enter the folder above.
        (folder / sub).chmod(mode)
    ca, ca_key = folder / "ca.crt", folder / "ca.key"
    if not (ca.exists() and ca_key.exists()):
        certs.make_ca(f"{PROJECT} {container_name}", ca, ca_key)
    services = [service.replace("vault.", f"{name}.", 1) for service in SERVICE_NAMES]
    names = [container_name, name, *services, "localhost", LOCALHOST]
    config = folder / "config"
    certs.issue(ca, ca_key, names, config / "tls.crt", config / "tls.key", 0o644)
    (config / "server.hcl").write_text(_configuration(flavour, name, container_name), "utf-8")


def _configuration(flavour: Flavour, name: str, container_name: str) -> str:
    everywhere = "0.0.0.0"  # noqa: S104 # inside the container; the engine publishes 127.0.0.1
    return (
        f'ui = true\ndisable_mlock = true\napi_addr = "https://{container_name}:8200"\n'
        f'cluster_addr = "https://{LOCALHOST}:8201"\n'
        f'storage "{STORAGE}" {{\n'
        f'  path = "{flavour.home}/file"\n  node_id = "{name}"\n'
        "  performance_multiplier = 1\n}\n"
        f'listener "tcp" {{\n  address = "{everywhere}:8200"\n'
        f'  cluster_address = "{LOCALHOST}:8201"\n'
        '  tls_cert_file = "/lab/config/tls.crt"\n  tls_key_file = "/lab/config/tls.key"\n}\n'
        + (_AUDIT if flavour.declared_audit else "")
    )
