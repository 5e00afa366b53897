"""Running other programs: output to a log file, a readable error, no orphan on Ctrl-C.

Every program runs in a process group of its own. Ctrl-C reaches Python alone, which
ends the whole group and waits for it, so that an interrupted build leaves no compiler
running behind the prompt. What the task of another thread runs ends with that task
(harness.base.tasks).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from harness.base import tasks
from harness.base.errors import LabError
from harness.base.redact import StreamRedactor, redact

TAIL_LINES = 15
# Compilers and package managers end at once when asked; Ctrl-C has to come back in 3 s.
GRACE_SECONDS = 2.0
# What the labs run in containers takes seconds; a node that is out of memory never answers.
CONTAINER_SECONDS = 120.0


class CommandFailed(LabError):
    """A program ended with a status other than 0; `output` holds its (redacted) last lines."""

    def __init__(self, what: str, *, status: int, output: str, where: str = "", hint: str = ""):
        super().__init__(what, where=where, hint=hint)
        self.status = status
        self.output = output

    def __str__(self) -> str:
        body = "\n".join(f"  | {line}" for line in self.output.splitlines()[-TAIL_LINES:])
        return super().__str__() + (f"\n{body}" if body else "")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
    stdin: str | Iterable[bytes] | None = None,
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    hint: str = "",
    niceness: int = 0,
) -> str:
    """Run `argv` and return its standard output and error, interleaved.

    `env` is added to this process's environment. With `log`, output is appended there
    as it comes, redacted, as `on_line` hears it. `stdin` is what the program reads. `timeout`
    is in seconds. With `niceness` it gets what other programs leave of the processors
    (nice(1), added to this process's own).
    Raises CommandFailed on a status other than 0 and on a time-out, with the last lines that
    were printed; tasks.Ended when the task of this thread was ended meanwhile.
    """
    tasks.check()
    words = [str(word) for word in argv]
    if niceness:
        words = ["nice", "-n", str(niceness), *words]
    lines: list[str] = []
    shield = StreamRedactor()
    sink = log.open("a", encoding="utf-8") if log else None
    try:
        process = subprocess.Popen(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise LabError(
            f"the program {words[0]!r} is not there", hint=hint or "./lab doctor"
        ) from error
    _give_way(process, os.nice(0) + niceness)
    watchdog = _Watchdog(process, timeout)
    try:
        with tasks.stopping(lambda: end_group(process)):
            if stdin is not None and process.stdin:
                _feed(process.stdin, stdin)
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if not (sink or on_line):
                    continue
                shown = shield.feed(line)
                if sink:
                    sink.write(shown)
                    sink.flush()
                if on_line:
                    on_line(shown.rstrip("\n"))
            status = process.wait()
    except BaseException:
        end_group(process)
        raise
    finally:
        watchdog.cancel()
        if sink:
            sink.close()
    tasks.check()
    output = "".join(lines)
    if status != 0:
        shown = redact(shlex.join(words))
        ended = f"gave up after {timeout:.0f}s" if watchdog.fired else f"ended with status {status}"
        raise CommandFailed(
            f"`{shown if len(shown) < 200 else shown[:200] + ' …'}` {ended}",
            status=status,
            output=redact(output),
            where=f"full output in {log}" if log else "",
            hint=hint,
        )
    return output


def _feed(pipe: IO[str], content: str | Iterable[bytes]) -> None:
    """Write `content` to a program that may end before it has read all of it.

    Its status and its words then say why; that the pipe is broken says nothing.
    """
    with suppress(BrokenPipeError), pipe:
        if isinstance(content, str):
            pipe.write(content)
            return
        raw = pipe.buffer  # type: ignore[attr-defined] # Popen opens it as a TextIOWrapper
        for chunk in content:
            raw.write(chunk)


def _give_way(process: subprocess.Popen[str], niceness: int) -> None:
    """Let a whole session give way, as its programs do among themselves by their niceness.

    Linux shares the processors out between sessions first, whatever the niceness of the
    programs in them (sched(7), "The autogroup feature"); every program has its own session here.
    """
    if niceness > 0:
        with suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text(str(min(niceness, 19)), "ascii")


class _Watchdog:
    """Ends a process group when its time is up."""

    def __init__(self, process: subprocess.Popen[str], timeout: float | None) -> None:
        self.fired = False
        self._process = process
        self._timer = threading.Timer(timeout, self._fire) if timeout else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    def _fire(self) -> None:
        self.fired = True
        end_group(self._process)

    def cancel(self) -> None:
        if self._timer:
            self._timer.cancel()


def end_group(process: subprocess.Popen[Any]) -> None:
    """Ask a process group to end, then make it end."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def in_container(
    name: str,
    command: Sequence[str],
    variables: Mapping[str, str] | None = None,
    timeout: float = CONTAINER_SECONDS,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a running container; its status and both outputs, whatever they are.

    By the engine's own command, which kind needs as well: the SDK loses the first bytes of
    an answer that comes together with the response's head, once in a thousand calls. Values
    go by the environment, so that no list of processes shows them. Raises CommandFailed after
    `timeout` seconds, tasks.Ended when the task of this thread was ended meanwhile; what then
    still runs in the container ends with its own work.
    """
    tasks.check()
    values = variables or {}
    names = [word for variable in values for word in ("--env", variable)]
    words = ["docker", "exec", *names, name, *command]
    process = subprocess.Popen(
        words,
        env={**os.environ, **values},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with tasks.stopping(lambda: end_group(process)):
            out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        end_group(process)
        raise CommandFailed(
            f"`docker exec {name} {command[0]} …` gave up after {timeout:.0f}s",
            status=-1,
            output=redact((error.stdout or b"").decode(errors="replace")),
            hint="./lab status, then the same command again",
        ) from error
    except BaseException:
        end_group(process)
        raise
    tasks.check()
    return subprocess.CompletedProcess(words, process.returncode, out, err)
