"""An application that talks to Vault by itself: log in, renew, log in again, rotate.

It serves its own state as JSON on port 8080 and asks the database who it is once a second.
Count the lines between the two rulers: that is what every application in every language
would have to get right, and keep right, if nothing did it for them.
"""

import json
import os
import pathlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hvac
import psycopg

State = dict[str, Any]
STATE: State = {"started": time.time(), "logins": 0, "renewals": 0, "rotations": 0, "errors": 0}
STATE |= {"database_users": [], "queries": 0}
changed = threading.Condition()

# ── what it takes to live with Vault ─────────────────────────────────────────────────────


class Credentials:
    """A Vault token and a database user that are always good, or about to be replaced.

    Both are renewed after two thirds of their time. What cannot be renewed any more (the
    maximum is reached, it was revoked, Vault was restarted) is replaced: a new login, a
    new database user. Connections that are open go on with the user they have.
    """

    def __init__(self) -> None:
        self.vault = hvac.Client(url=os.environ["VAULT_ADDR"], verify="/vault-ca/ca.crt", token="")
        self.token_until = 0.0
        self.lease: str | None = None
        self.lease_until = 0.0
        self.user = self.password = ""

    def keep_good(self) -> float:
        """Renew or replace what is due; return the seconds until something is due again."""
        now = time.monotonic()
        if now >= self.token_until:
            self._token(now)
        if now >= self.lease_until:
            self._database_user(now)
        return max(0.1, min(self.token_until, self.lease_until) - time.monotonic())

    def _token(self, now: float) -> None:
        if self.vault.token:
            try:
                auth = self.vault.auth.token.renew_self()["auth"]
                if auth["lease_duration"] > 3:
                    STATE["renewals"] += 1
                    self.token_until = now + auth["lease_duration"] * 2 / 3
                    return
            except hvac.exceptions.VaultError:
                pass  # too old or revoked: the identity file is still there, log in again
        # The kubelet replaces the file before it expires: read it each time.
        jwt = pathlib.Path("/identity/token").read_text()
        self.vault.token = ""
        auth = self.vault.auth.kubernetes.login(
            role="service", jwt=jwt, mount_point=os.environ["AUTH_MOUNT"]
        )["auth"]
        self.vault.token = auth["client_token"]
        STATE["logins"] += 1
        self.token_until = now + auth["lease_duration"] * 2 / 3
        # Leases belong to the token that asked for them and end with it.
        self.lease, self.lease_until = None, 0.0

    def _database_user(self, now: float) -> None:
        if self.lease:
            try:
                renewed = self.vault.sys.renew_lease(self.lease)
                if renewed["lease_duration"] > 3:
                    STATE["renewals"] += 1
                    self.lease_until = now + renewed["lease_duration"] * 2 / 3
                    return
            except hvac.exceptions.VaultError:
                pass  # at its maximum or revoked: ask for another one
        answer = self.vault.secrets.database.generate_credentials(
            name="service", mount_point=os.environ["DATABASE_ENGINE"]
        )
        self.lease = answer["lease_id"]
        self.lease_until = now + answer["lease_duration"] * 2 / 3
        STATE["rotations"] += bool(self.user)
        self.user, self.password = answer["data"]["username"], answer["data"]["password"]
        STATE["database_users"].append(self.user)


def live_with_vault(credentials: Credentials) -> None:
    """Keep the credentials good for ever; wait longer after each failure in a row."""
    failures = 0
    while True:
        try:
            wait = credentials.keep_good()
            failures = 0
        except Exception as error:  # whatever it is, the application must go on trying
            failures += 1
            STATE["errors"] += 1
            STATE["last_error"] = type(error).__name__
            wait = min(2.0**failures, 30.0)
        with changed:
            changed.notify_all()
        threading.Event().wait(wait)


# ── the application itself ───────────────────────────────────────────────────────────────


def work(credentials: Credentials) -> None:
    """Ask the database something, once a second, as whoever we are at the time."""
    while True:
        with changed:
            changed.wait(timeout=1)
        if not credentials.user:
            continue
        try:
            with psycopg.connect(
                host=os.environ["DATABASE_HOST"],
                dbname="shop",
                user=credentials.user,
                password=credentials.password,
                connect_timeout=3,
            ) as connection:
                row = connection.execute("SELECT current_user FROM lab01_orders").fetchone()
            STATE["queries"] += 1
            STATE["database_says"] = row[0] if row else ""
        except psycopg.Error as error:
            STATE["errors"] += 1
            STATE["last_error"] = type(error).__name__


class Answer(BaseHTTPRequestHandler):
    """GET / tells the state: names and numbers, never a credential."""

    def do_GET(self) -> None:
        body = json.dumps(STATE).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing: a log line a request is noise here."""


if __name__ == "__main__":
    good = Credentials()
    threading.Thread(target=live_with_vault, args=(good,), daemon=True).start()
    threading.Thread(target=work, args=(good,), daemon=True).start()
    ThreadingHTTPServer(("", 8080), Answer).serve_forever()
