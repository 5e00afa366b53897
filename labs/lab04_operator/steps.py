"""Lab 04: the Secrets Operator. This is its table of contents."""

from __future__ import annotations

from labs.lab04_operator.certificates import serve_tls
from labs.lab04_operator.changes import follow_changes
from labs.lab04_operator.connect import connect
from labs.lab04_operator.database import database_users
from labs.lab04_operator.drift import repair_drift
from labs.lab04_operator.farewell import let_go
from labs.lab04_operator.first_secret import first_secret
from labs.lab04_operator.lab import operator
from labs.lab04_operator.outage import survive
from labs.lab04_operator.ownership import ownership
from labs.lab04_operator.refusals import be_refused
from labs.lab04_operator.shape import shape_it
from labs.lab04_operator.traces import follow_the_traces
from labs.lab04_operator.two_vaults import two_vaults

operator.sequence(
    connect,
    first_secret,
    be_refused,
    ownership,
    follow_changes,
    repair_drift,
    shape_it,
    database_users,
    let_go,
    serve_tls,
    two_vaults,
    survive,
    follow_the_traces,
)
