"""Lab 00: why Vault. This is its table of contents."""

from __future__ import annotations

from labs.lab00_why.audit import who_read_it
from labs.lab00_why.elsewhere import read_without_get
from labs.lab00_why.encoding import decode_it
from labs.lab00_why.etcd import look_into_etcd
from labs.lab00_why.freshness import env_volume_subpath
from labs.lab00_why.lab import why
from labs.lab00_why.readers import who_can_read
from labs.lab00_why.table import why_vault

why.sequence(
    decode_it,
    who_can_read,
    read_without_get,
    look_into_etcd,
    env_volume_subpath,
    who_read_it,
    why_vault,
)
