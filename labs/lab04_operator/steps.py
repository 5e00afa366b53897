"""Lab 04: the Secrets Operator. This is its table of contents."""

from __future__ import annotations

from labs.lab04_operator.certificates import issue_a_certificate, serve_tls
from labs.lab04_operator.changes import follow_changes, pin_a_version
from labs.lab04_operator.connect import connect
from labs.lab04_operator.database import database_users, revoke_the_lease
from labs.lab04_operator.drift import repair_drift
from labs.lab04_operator.farewell import let_go
from labs.lab04_operator.first_secret import first_secret
from labs.lab04_operator.lab import operator
from labs.lab04_operator.orders import make_users
from labs.lab04_operator.other_logins import worse_ways
from labs.lab04_operator.outage import restart_operator, vault_is_away
from labs.lab04_operator.ownership import fill_a_secret, whose_secret
from labs.lab04_operator.refusals import be_refused, trust_no_stranger
from labs.lab04_operator.shape import shape_it
from labs.lab04_operator.sharing import share_an_auth
from labs.lab04_operator.static_role import rotate_a_password
from labs.lab04_operator.traces import follow_the_traces
from labs.lab04_operator.two_vaults import two_vaults
from labs.lab04_operator.way_in import let_the_shop_in

operator.sequence(
    let_the_shop_in,
    connect,
    first_secret,
    share_an_auth,
    be_refused,
    trust_no_stranger,
    fill_a_secret,
    whose_secret,
    follow_changes,
    pin_a_version,
    repair_drift,
    shape_it,
    make_users,
    database_users,
    revoke_the_lease,
    rotate_a_password,
    let_go,
    issue_a_certificate,
    serve_tls,
    two_vaults,
    worse_ways,
    vault_is_away,
    restart_operator,
    follow_the_traces,
)
