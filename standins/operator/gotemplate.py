"""Templates and key filters, by Go itself: the long-living program `gotemplate`.

The program (clusters/offline/go/gotemplate) is Go's text/template and regexp with the
functions of sprig that upstream allows, so results and error texts are Go's. It gets one JSON
request a line and answers each with one line. A request that takes too long, or an end of
the program in the middle, fails that request; the next one starts the program again. It runs
without any environment variable, and what it writes to standard error is thrown away: after
a crash that could be a value.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from standins.common import gojson

PROGRAM = "gotemplate"
_SECONDS = 10.0
# The program's own limits are 16 MiB for a request and 4 MiB (in base64) for what it renders.
_LONGEST_REQUEST = 16 << 20
_LONGEST_ANSWER = 32 << 20
_MEMORY = "128 MiB"


class TemplateError(Exception):
    """A template, a pattern or the program itself failed. Never quotes a value of a secret."""


@dataclass(frozen=True)
class Template:
    """A template and the Secret key it is for ("" for a source that others only call)."""

    key: str
    name: str
    text: str = field(repr=False)

    def request(self) -> dict[str, str]:
        """The form in a request."""
        return {"key": self.key, "name": self.name, "text": self.text}


class TemplateEngine:
    """The program, started at the first request. One request at a time."""

    def __init__(self, program: str = "", *, seconds: float = _SECONDS) -> None:
        """`program` is a path; by default the program is looked for on PATH."""
        self._program = program
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    def found(self) -> str:
        """The path of the program. TemplateError when there is none."""
        path = self._program or shutil.which(PROGRAM)
        if not path:
            raise TemplateError(
                f"the program {PROGRAM}, which renders templates, is not on PATH; "
                "the stand-ins' image has it, other places build clusters/offline/go/gotemplate"
            )
        return path

    async def faults(self, templates: Sequence[Template], patterns: Iterable[str]) -> list[str]:
        """What is wrong with templates and patterns by themselves."""
        sources = [template.request() for template in templates]
        answer = await self._ask({"op": "check", "templates": sources, "patterns": list(patterns)})
        return list(answer.get("faults") or [])

    async def render(
        self, templates: Sequence[Template], data: Mapping[str, Any]
    ) -> dict[str, bytes]:
        """What each template with a key makes of `data` (Secrets, Metadata, ...)."""
        sources = [template.request() for template in templates]
        answer = await self._ask({"op": "render", "templates": sources, "input": data})
        rendered = answer.get("data") or {}
        return {key: base64.b64decode(value) for key, value in rendered.items()}

    async def kept(
        self, keys: Iterable[str], *, excludes: Sequence[str], includes: Sequence[str]
    ) -> set[str]:
        """The keys that no exclude matches and, when there are includes, one of them does."""
        names = sorted(keys)
        if not excludes and not includes:
            return set(names)
        request = {"op": "filter", "keys": names, "excludes": excludes, "includes": includes}
        return set((await self._ask(request)).get("keys") or [])

    async def close(self) -> None:
        """End the program."""
        async with self._lock:
            await self._end()

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        line = gojson.dumps(request).encode() + b"\n"
        if len(line) > _LONGEST_REQUEST:
            raise TemplateError("the templates and their data are larger than 16 MiB")
        async with self._lock:
            answer = await self._exchange(line)
        found: dict[str, Any] = gojson.parse(answer)
        if found.get("error"):
            raise TemplateError(found["error"])
        return found

    async def _exchange(self, line: bytes) -> bytes:
        child = await self._running()
        assert child.stdin is not None  # noqa: S101  for mypy: it was asked for as a pipe
        assert child.stdout is not None  # noqa: S101  likewise
        whole = False
        try:
            async with asyncio.timeout(self._seconds):
                child.stdin.write(line)
                await child.stdin.drain()
                answer = await child.stdout.readline()
            whole = answer.endswith(b"\n")
        except TimeoutError:
            raise TemplateError(f"the template took longer than {self._seconds:g} s") from None
        except (ConnectionError, ValueError):
            # A broken pipe, or an answer beyond the reader's limit: both end it below.
            answer = b""
        finally:
            # Also when this task was cancelled: the answer would be read by the next request.
            if not whole:
                await self._end()
        if not whole:
            raise TemplateError(
                f"the template engine ended at this template (it may take {_MEMORY} of memory)"
            )
        return answer

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            try:
                self._child = await asyncio.create_subprocess_exec(
                    self.found(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={},
                    limit=_LONGEST_ANSWER,
                )
            except OSError as error:
                raise TemplateError(f"{self.found()} cannot be started: {error.strerror}") from None
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await child.wait()
