"""A lab at work breaks nobody's login: other clients log in to the same Vault meanwhile.

A snapshot looks tokens up by their accessors, and Vault revokes a token that is looked up
between its making and the storing of its lease: its owner is refused right after a good
login (harness.snapshot.tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.clients.vault import VaultHTTP
from harness.lab.context import LabContext
from harness.session.runner import Runner

pytestmark = pytest.mark.live

CLIENTS, LOGINS_EACH = 4, 50
MOUNT, ROLE = "bystanders", "any"
# Far enough into lab 01 that it has tokens of its own: only then are tokens looked up.
LAB, LAST = "01", "pod_reads"


@pytest.fixture
def runner(lab_context: Callable[[str], LabContext]) -> Iterator[Runner]:
    """Lab 01, with nothing of it there before and afterwards."""
    runner = Runner(lab_context(LAB))
    runner.reset()
    yield runner
    runner.reset()


@pytest.fixture
def credentials(runner: Runner) -> Iterator[dict[str, str]]:
    """What a client outside of all labs logs in with."""
    http = runner.context.http
    http.post(f"/v1/sys/auth/{MOUNT}", json={"type": "approle"})
    role = f"/v1/auth/{MOUNT}/role/{ROLE}"
    http.post(role, json={"token_ttl": "5m", "token_policies": ["default"]})
    yield {
        "role_id": http.get(f"{role}/role-id").json()["data"]["role_id"],
        "secret_id": http.post(f"{role}/secret-id").json()["data"]["secret_id"],
    }
    http.delete(f"/v1/sys/auth/{MOUNT}")


def test_logins_of_others_meet_no_403(runner: Runner, credentials: dict[str, str]) -> None:
    access = runner.context.access

    def log_in_often(_client: int) -> list[int]:
        http = VaultHTTP(access.vault_addr, access.vault_ca, None)
        return [_use_of_a_new_token(http, credentials) for _ in range(LOGINS_EACH)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(log_in_often, number) for number in range(CLIENTS)]
        turns = 0
        while turns == 0 or not all(client.done() for client in clients):
            _work(runner)
            turns += 1
    answers = [status for client in clients for status in client.result()]
    assert len(answers) == CLIENTS * LOGINS_EACH
    assert {status: answers.count(status) for status in answers} == {200: len(answers)}


def _use_of_a_new_token(http: VaultHTTP, credentials: dict[str, str]) -> int:
    """The status with which Vault answers to a token that a login got just now."""
    login = http.post(f"/v1/auth/{MOUNT}/login", json=credentials).json()
    token = login["auth"]["client_token"]
    status = http.get("/v1/auth/token/lookup-self", token=token, allow={403}).status_code
    http.post("/v1/auth/token/revoke-self", token=token, allow={403})
    return status


def _work(runner: Runner) -> None:
    """`solve`, `check` and `reset` in one lab."""
    last = runner.lab.find(LAST)
    for step in runner.lab.steps[: last.number]:
        runner.solve(step)
        runner.check(step)
    runner.undo(last)
    runner.reset()
