"""An application that reads its connection string from a file, and again on SIGHUP.

It knows nothing of Vault: no client, no token, no address. What it saw stands in
/memory/state.json: how often it was told to reload, and as whom the database knew it.
"""

import json
import os
import pathlib
import signal
from typing import Any

import psycopg

URL = pathlib.Path("/vault/secrets/url")
STATE = pathlib.Path("/memory/state.json")


def as_whom() -> str:
    """Who the database says we are."""
    with psycopg.connect(URL.read_text().strip(), connect_timeout=5) as connection:
        row = connection.execute("SELECT current_user, count(*) FROM lab03_orders").fetchone()
        return str(row[0]) if row else ""


def write(state: dict[str, Any]) -> None:
    """Replace the file in one go, so that no reader sees half of it."""
    draft = STATE.with_suffix(".new")
    draft.write_text(json.dumps(state))
    draft.replace(STATE)


# Started with SIGHUP ignored; from here on it waits until it is asked for.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
signal.signal(signal.SIGHUP, signal.SIG_DFL)
state: dict[str, Any] = {"pid": os.getpid(), "reloads": 0, "users": [], "last_error": ""}
while True:
    try:
        state["users"].append(as_whom())
    except (psycopg.OperationalError, OSError) as error:
        state["last_error"] = str(error)
    write(state)
    signal.sigwait({signal.SIGHUP})
    state["reloads"] += 1
