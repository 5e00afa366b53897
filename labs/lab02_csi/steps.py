"""Lab 02: the CSI provider. This is its table of contents."""

from __future__ import annotations

from labs.lab02_csi.audit_trail import what_vault_sees
from labs.lab02_csi.doors import other_doors
from labs.lab02_csi.engines import several_engines
from labs.lab02_csi.etcd import look_into_etcd
from labs.lab02_csi.lab import csi
from labs.lab02_csi.mount import mount_secret
from labs.lab02_csi.outage import vault_is_away
from labs.lab02_csi.overview import who_does_what
from labs.lab02_csi.refusals import be_refused
from labs.lab02_csi.rotation import rotate
from labs.lab02_csi.sync import sync_secret
from labs.lab02_csi.trust import let_pods_in

csi.sequence(
    who_does_what,
    let_pods_in,
    mount_secret,
    look_into_etcd,
    several_engines,
    sync_secret,
    rotate,
    be_refused,
    other_doors,
    what_vault_sees,
    vault_is_away,
)
