"""The plugin's Vault token: AppRole login, renewal, and a new login when it is lost.

Nothing runs in the background: who needs the token pays for renewing it, and all who need
it at that moment wait for the same request. Vault locks an AppRole out for 15 minutes
after 5 wrong secret IDs, so a refused login is not repeated at the callers' pace: it is
tried again after a pause, or as soon as one of the two files changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from standins.common.connection import file_stamp
from standins.common.gojson import Number, whole
from standins.common.logs import Log
from standins.common.vault import Data
from standins.kms_plugin.errors import Absent, Denied, Problem, Refused, Unreachable
from standins.kms_plugin.vault import Vault

log = Log(__name__)

Stamp = tuple[tuple[int, int, int], ...]

LARGEST_ID = 4096
REVOKE_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """Seconds between repetitions.

    `after_refusal`: after the first, second and every later refused login with the same
    files; the last is longer than the 15 minutes in which Vault counts failures together.
    `after_denial`: between two logins for which a 403 on a living token was the reason.
    `after_failure`: until a token that could not be renewed is tried again.
    """

    after_refusal: tuple[float, ...] = (15.0, 60.0, 960.0)
    after_denial: float = 10.0
    after_failure: float = 5.0


@dataclass(frozen=True)
class _Refusal:
    text: str
    stamp: Stamp
    count: int
    until: float


class Session:
    """Gives a token that works, as far as one can know."""

    def __init__(
        self,
        vault: Vault,
        mount: str,
        role_id_file: str,
        secret_id_file: str,
        *,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._path = f"auth/{mount}/login"
        self._files = (role_id_file, secret_id_file)
        self._pace = pace or Pace()
        self._clock = clock
        self._token = ""
        self._renewable = False
        self._lifetime = 0.0
        self._renew_at = self._ends_at = 0.0
        self._denial_ends = 0.0
        self._refusal: _Refusal | None = None
        self._work: asyncio.Task[None] | None = None

    async def token(self) -> str:
        """The current token, made or renewed if need be. Raises Problem."""
        if not self._token or self._clock() >= self._renew_at:
            await self._once_for_all(self._refresh)
        return self._token

    async def replace(self, denied: str) -> str:
        """Another token than this one, that Vault answered 403 to; "" if that is useless.

        If the last 403 was a moment ago and this token lives, then it is the permission that
        is missing. Raises Problem.
        """
        recently = self._clock() < self._denial_ends
        if self._token == denied and recently and await self._alive(denied):
            return ""
        if self._token == denied:
            self._denial_ends = self._clock() + self._pace.after_denial
            log.info("Vault refuses the token, logging in again")
            self._token = ""
        return await self.token()

    async def revoke(self) -> None:
        """Let the token end with this process; without one, or without Vault, do nothing."""
        token, self._token = self._token, ""
        if not token:
            return
        try:
            async with asyncio.timeout(REVOKE_SECONDS):
                await self._vault.send("POST", "auth/token/revoke-self", token=token)
        except (Problem, TimeoutError) as error:
            log.warn("the token stays until it expires", error=error)

    async def _alive(self, token: str) -> bool:
        try:
            await self._vault.send("GET", "auth/token/lookup-self", token=token)
        except Denied:
            return False
        return True

    async def _once_for_all(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Join the work that is under way, or begin it. A caller may go, the work goes on."""
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(work())
            # When every caller has gone there is nobody left to read the outcome.
            self._work.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._work)

    async def _refresh(self) -> None:
        now = self._clock()
        alive = bool(self._token) and now < self._ends_at
        if not alive:
            await self._log_in()
            return
        try:
            if not self._renewable or not await self._renewed():
                await self._log_in()
        except Problem as error:
            # The old one still serves; the callers need not know.
            self._renew_at = min(self._ends_at, now + self._pace.after_failure)
            log.warn("the token cannot be renewed yet", error=error)

    async def _renewed(self) -> bool:
        """Renew the token; False when it is better to log in."""
        try:
            answer = await self._vault.send("POST", "auth/token/renew-self", {}, self._token)
        except (Denied, Refused) as error:
            log.info("the token is not renewed any more", error=error)
            return False
        seconds = _auth(answer)[1]
        if 0 < seconds < self._lifetime / 2:
            return False  # near the end of its longest life
        self._take(answer)
        log.info("token renewed", seconds=seconds)
        return True

    async def _log_in(self) -> None:
        stamp = self._stamp()
        refusal = self._refusal
        if refusal and refusal.stamp == stamp and self._clock() < refusal.until:
            raise Denied(refusal.text)
        role_id, secret_id = (_content(file) for file in self._files)
        body = {"role_id": role_id, "secret_id": secret_id}
        try:
            answer = await self._vault.send("POST", self._path, body)
        except (Denied, Refused, Absent) as error:
            # Vault's own words may repeat the secret ID here; they are left out.
            text = (
                f"Vault refuses the AppRole login at {self._path}"
                f" ({'400' if isinstance(error, Refused) else '403 or 404'}): wrong or"
                f" used-up IDs, a missing mount, or locked out; write {self._files[1]} anew"
            )
            count = refusal.count + 1 if refusal and refusal.stamp == stamp else 0
            pauses = self._pace.after_refusal
            pause = pauses[min(count, len(pauses) - 1)]
            self._refusal = _Refusal(text, stamp, count, self._clock() + pause)
            log.warn("login refused", path=self._path, next_try_in=pause)
            raise Denied(text) from None
        self._refusal = None
        self._take(answer)
        self._lifetime = self._ends_at - self._clock()
        log.info("logged in", path=self._path, renewable=self._renewable)

    def _take(self, answer: Data) -> None:
        token, seconds, self._renewable = _auth(answer)
        self._token = token
        now = self._clock()
        lasting = float("inf") if seconds <= 0 else seconds
        self._ends_at = now + lasting
        self._renew_at = now + lasting * 2 / 3

    def _stamp(self) -> Stamp:
        return tuple(file_stamp(file) for file in self._files)


def _auth(answer: Data) -> tuple[str, float, bool]:
    """Token, seconds of life and whether it can be renewed."""
    auth = answer.get("auth")
    if not isinstance(auth, dict):
        auth = {}
    token = auth.get("client_token")
    try:
        seconds = whole(auth.get("lease_duration"))
    except ValueError:
        token = None
    if not isinstance(token, str) or isinstance(token, Number) or not token:
        raise Unreachable("Vault's answer to the login holds no token; is it a Vault at all?")
    return token, float(seconds), auth.get("renewable") is True


def _content(file: str) -> str:
    try:
        return read_id(file)
    except ValueError as error:
        raise Denied(f"no AppRole login: {error}") from None


def read_id(file: str) -> str:
    """The role ID or secret ID in a file. Raises ValueError that says what is wrong."""
    try:
        with Path(file).open(encoding="ascii") as opened:
            found = opened.read(LARGEST_ID + 1).strip()
    except UnicodeDecodeError:
        found = ""
    except OSError as error:
        raise ValueError(f"{file}: {(error.strerror or 'cannot be read').lower()}") from None
    if not found or len(found) > LARGEST_ID or not found.isprintable():
        raise ValueError(f"{file} does not hold an ID")
    return found
