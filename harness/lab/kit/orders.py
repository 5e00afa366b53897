"""The table of orders that a lab has in the environment's PostgreSQL, and Vault's way to it.

Labs show dynamic database users on the same small example: a table `labNN_orders`, an
account `labNN_vault` that can create other users, and the statements by which Vault creates
and drops them. The calls to Vault are the lab's own, because a learner should see them.
`remove` undoes all of it, in the order in which it can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from harness.lab.context import LabContext


class Orders:
    """The orders of one lab: the table's name, Vault's account, the group that may read them."""

    def __init__(self, lab: LabContext) -> None:
        self._lab = lab
        self.table = f"{lab.lab.prefix}_orders"
        self.account = f"{lab.lab.prefix}_vault"
        self.readers = f"{lab.lab.prefix}_readers"

    @property
    def create_user(self) -> str:
        """The SQL by which Vault creates a user that can read the orders (creation_statements).

        Vault fills in the words in {{ }}.
        """
        return (
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
            f" IN ROLE {self.readers};"
        )

    @property
    def revoke_user(self) -> str:
        """The SQL by which Vault drops such a user (revocation_statements).

        It must also work a second time: a lease can run out at the moment when its token is
        revoked, and Vault repeats what failed. That is why the user has its rights by membership
        alone, with nothing to revoke before the drop. Vault's default statements revoke rights on
        every table of the schema, which fails as soon as another lab has a table there.
        """
        return 'DROP ROLE IF EXISTS "{{name}}";'

    def prepare(self) -> None:
        """Make the table with two orders, and Vault's account with `lab.secret("db-admin")`."""
        password = sql.Literal(str(self._lab.secret("db-admin")))
        names = {
            "table": sql.Identifier(self.table),
            "account": sql.Identifier(self.account),
            "readers": sql.Identifier(self.readers),
        }
        with self._lab.postgres.connect() as connection:
            for statement in (
                sql.SQL("CREATE TABLE {table} (id int, item text)"),
                sql.SQL("INSERT INTO {table} VALUES (1, 'book'), (2, 'lamp')"),
                sql.SQL("CREATE ROLE {account} LOGIN CREATEROLE PASSWORD {password}"),
                # Since PostgreSQL 16 a role needs ADMIN on a group to add members to it.
                sql.SQL("CREATE ROLE {readers} ADMIN {account}"),
                sql.SQL("GRANT SELECT ON {table} TO {readers}"),
            ):
                connection.execute(statement.format(**names, password=password))

    def connection(self, roles: Sequence[str]) -> dict[str, Any]:
        """The body of `POST /v1/<engine>/config/<name>` that connects Vault for these roles."""
        server = self._lab.postgres
        return {
            "plugin_name": "postgresql-database-plugin",
            "connection_url": "postgresql://{{username}}:{{password}}"
            f"@{server.network_host}:5432/{server.database}?sslmode=disable",
            "username": self.account,
            "password": self._lab.secret("db-admin"),
            "allowed_roles": list(roles),
        }

    def role(self, default_ttl: str, max_ttl: str | None = None) -> dict[str, Any]:
        """The body of `POST /v1/<engine>/roles/<name>`: users who may read the orders.

        For the connection that is called shop; lives as Vault writes them ("5m").
        """
        body = {
            "db_name": "shop",
            "creation_statements": [self.create_user],
            "revocation_statements": [self.revoke_user],
            "default_ttl": default_ttl,
        }
        return body if max_ttl is None else {**body, "max_ttl": max_ttl}

    def exists(self, user: str) -> bool:
        """Whether the database has a user of this name."""
        with self._lab.postgres.connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user])
            return found.fetchone() is not None

    def remove(self, engine: str, users: str) -> None:
        """End all leases of the mount `engine`, unmount it, drop the table and the users left over.

        `users` is a regular expression (PostgreSQL's) for names of users that Vault made.
        """
        lab = self._lab
        # Leases first: while Vault can still reach the database with the account it has.
        lab.http.put(f"/v1/sys/leases/revoke-prefix/{engine}", allow={400, 404, 500})
        lab.http.delete(f"/v1/sys/mounts/{engine}", allow={400})
        with lab.postgres.connect() as connection:
            connection.execute(
                sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(self.table))
            )
            left = connection.execute(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) OR rolname ~ %s",
                [[self.account, self.readers], users],
            ).fetchall()
            for (name,) in left:
                role = sql.Identifier(str(name))
                connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
                connection.execute(sql.SQL("DROP ROLE {}").format(role))
