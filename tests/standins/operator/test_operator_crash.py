"""A killed operator loses nothing and leaks no lease, wherever it was killed.

The kill is an exception that no code catches, raised at every place where the outside world
changes: after Vault answered and before and after each write to the cluster. Then a new
process starts on what is left, as after kill -9.
"""

from __future__ import annotations

import base64
import contextlib
import json

import pytest

from standins.operator import model
from standins.operator.leases import LEDGER
from tests.standins.operator.world import APP, HOME, World, play, restarted, world

VDS = model.DYNAMIC


class Killed(BaseException):
    """kill -9."""


def _kill_at(w: World, moment: str) -> None:
    verb, _, rest = moment.partition(" ")
    seen: list[str] = []

    def write(its_verb: str, kind: str, name: str) -> None:
        seen.append(f"{its_verb} {kind} {name}")
        if seen[-1] == moment:
            raise Killed

    def answer(path: str) -> None:
        if verb == "answer" and path == rest:
            w.vault.before_answer = lambda _: None
            # The connection breaks: the client never hears what Vault did.
            raise Killed

    w.kube.before_write = write
    w.vault.before_answer = answer


def _revive(w: World) -> None:
    w.kube.before_write = lambda *_: None
    w.vault.before_answer = lambda _: None


async def _die(w: World, name: str) -> None:
    with contextlib.suppress(Killed):
        await w.run(VDS, name)


def _owned(w: World) -> set[str]:
    """The leases that statuses name."""
    return {
        obj["status"]["secretLease"]["id"]
        for (kind, _, _), obj in w.kube.objects.items()
        if kind == VDS
    }


async def _settle(w: World) -> None:
    """A new process works until nothing is left to do."""
    for kind, _, name in list(w.kube.objects):
        if kind == VDS:
            await w.run(VDS, name)
    for _ in range(2):
        await w.operator.leases.sweep(w.operator.client_for)


MOMENTS = [
    "patch VaultDynamicSecret db",
    "answer database/creds/app",
    "create Secret db",
    "replace Secret db",
    "patch-status VaultDynamicSecret db",
]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("rotation", [False, True], ids=["first", "rotation"])
def test_killed_in_the_middle(moment: str, rotation: bool) -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            w.dynamic("other")
            await w.run(VDS, "other")
            w.dynamic()
            if rotation:
                await w.run(VDS, "db")
                w.kube.edit(VDS, APP, "db", {"spec": {"renewalPercent": 50}})
            _kill_at(w, moment)
            await _die(w, "db")
            _revive(w)
            fresh = await restarted(w, "pod-2")
            await _settle(fresh)
            # Nothing lost: each Secret holds the credentials of a living lease of its status.
            for name in ("db", "other"):
                lease = fresh.status(VDS, name)["secretLease"]["id"]
                assert fresh.secret(name)["username"] == w.vault.leases[lease]["username"]
                assert fresh.status(VDS, name)["lastRuntimePodUID"] == "pod-2"
            # Nothing leaked: Vault has no lease and no token that nobody names.
            assert set(w.vault.leases) == _owned(fresh)
            assert len(w.vault.tokens) == 1
            await fresh.operator.close()

    play(scene)


def test_users_of_old_credentials_get_their_grace() -> None:
    async def scene() -> None:
        async with world(grace=60) as w:
            w.dynamic()
            await w.run(VDS, "db")
            old = w.status(VDS, "db")["secretLease"]["id"]
            fresh = await restarted(w, "pod-2", grace=60)
            await _settle(fresh)
            assert old in w.vault.leases
            assert len(w.vault.leases) == 2
            await fresh.operator.close()

    play(scene)


def test_the_old_token_lives_while_one_secret_still_needs_it() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            for name in ("fine", "stuck"):
                w.dynamic(name, path=f"creds/{name}")
                await w.run(VDS, name)
            w.vault.denied.add("database/creds/stuck")
            fresh = await restarted(w, "pod-2")
            await _settle(fresh)
            lease = fresh.status(VDS, "stuck")["secretLease"]["id"]
            assert lease in w.vault.leases, "its Secret still holds these credentials"
            w.vault.denied.clear()
            await _settle(fresh)
            assert set(w.vault.leases) == _owned(fresh)
            await fresh.operator.close()

    play(scene)


def test_the_ledger_holds_accessors_and_no_tokens() -> None:
    async def scene() -> None:
        async with world() as w:
            w.dynamic()
            await w.run(VDS, "db")
            data = w.obj("Secret", LEDGER, HOME)["data"]
            entries = [json.loads(base64.b64decode(line)) for line in data.values()]
            assert entries == [{"accessor": "accessor-1", "auth": f"{HOME}/default", "ns": APP}]
            assert set(data) == {w.status(VDS, "db")["vaultClientMeta"]["id"]}

    play(scene)


def test_without_the_policy_the_old_token_is_left_to_its_ttl() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            w.dynamic()
            await w.run(VDS, "db")
            w.vault.denied.add("auth/token/revoke-accessor")
            fresh = await restarted(w, "pod-2")
            await _settle(fresh)
            assert len(w.vault.tokens) == 2
            assert len(w.obj("Secret", LEDGER, HOME)["data"]) == 1, "and forgotten"
            await fresh.operator.close()

    play(scene)


def test_a_retired_token_of_this_process_ends_and_a_used_one_does_not() -> None:
    async def scene() -> None:
        async with world(grace=0) as w:
            w.vault.put("app", {"v": "one"})
            w.static()
            await w.run(model.STATIC, "config")
            (token,) = w.vault.tokens
            for _ in range(2):
                await w.operator.leases.sweep(w.operator.client_for)
            assert set(w.vault.tokens) == {token}, "no lease, but in use"
            w.dynamic()
            await w.run(VDS, "db")
            w.context.clients.prune(f"{HOME}/default")
            await w.operator.leases.sweep(w.operator.client_for)
            assert token in w.vault.tokens, "the Secret holds its lease"
            await w.run(VDS, "db")
            for _ in range(2):
                await w.operator.leases.sweep(w.operator.client_for)
            assert len(w.vault.tokens) == 1
            assert token not in w.vault.tokens
            assert set(w.vault.leases) == _owned(w)
            assert len(w.obj("Secret", LEDGER, HOME)["data"]) == 1

    play(scene)
