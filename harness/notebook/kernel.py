"""What the labs change in a running notebook kernel: redaction, errors, the step of a cell.

Everything a kernel shows leaves through one function, `Session.send`; secrets are masked
there, so that no kind of output (print, a result, a picture's caption, a traceback, the
help of `?`) needs care of its own. Errors of this project are shown as their
three parts and the line that was running, without the harness's own frames. A cell whose
first line is `# Step 01.3` runs the step's beginning first; when that fails, the cell
does not run. Without IPython nothing is changed.
"""

from __future__ import annotations

import linecache
import re
from collections import defaultdict
from collections.abc import Callable
from types import TracebackType
from typing import Any

from IPython.core.getipython import get_ipython

from harness.base.errors import LabError
from harness.base.redact import StreamRedactor, redact

OnStep = Callable[[str], object]
OnEnd = Callable[[bool], object]

_STEP = re.compile(r"# Step (\d\d\.\d+)\s*")
_BEGIN = "__lab_begin_step__"
_FOLLOWER = "_lab_follower"

# A person's own input comes back to that person only.
_NOT_REDACTED = frozenset({"execute_input", "input_request"})
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def install() -> bool:
    """Change this kernel, once; return whether there is one."""
    shell: Any = get_ipython()
    if shell is None:
        return False
    if not hasattr(shell, _FOLLOWER):
        follow(ignore, ignore)
        shell.input_transformers_cleanup.append(begin_step_first)
        shell.events.register(
            "post_run_cell", lambda result: getattr(shell, _FOLLOWER)(result.success)
        )
        shell.set_custom_exc((LabError,), _show_lab_error)
        kernel = getattr(shell, "kernel", None)
        if kernel is not None:
            redact_session(kernel.session)
    return True


def follow(on_step: OnStep, on_end: OnEnd) -> None:
    """From now on call `on_step("01.3")` before a cell of that step runs, and `on_end` after
    any cell, with whether it ended well. The last call counts.
    """
    shell: Any = get_ipython()
    if shell is not None:
        # Hidden names are those that %who and the variable inspector leave out.
        shell.user_ns_hidden[_BEGIN] = shell.user_ns[_BEGIN] = on_step
        setattr(shell, _FOLLOWER, on_end)


def ignore(_anything: object) -> None:
    """The follower of a kernel whose lab is not open yet."""


def begin_step_first(lines: list[str]) -> list[str]:
    """IPython's input transformer: the comment `# Step 01.3` also begins that step."""
    if lines and (match := _STEP.fullmatch(lines[0])):
        return [f'{_BEGIN}("{match[1]}")\n', *lines[1:]]
    return lines


def redact_session(session: Any) -> None:
    """Mask secrets in every message that `session` sends from now on."""
    send = session.send
    # What is printed comes in pieces, by the name of the stream.
    streams: defaultdict[str, StreamRedactor] = defaultdict(StreamRedactor)

    def masked(kind: str, content: Any) -> Any:
        if kind == "stream" and isinstance(content, dict) and "text" in content:
            return {**content, "text": streams[content.get("name", "")].feed(content["text"])}
        return redact_tree(content)

    def send_redacted(
        stream: Any, message: Any, content: Any = None, *args: Any, **options: Any
    ) -> Any:
        kind = message if isinstance(message, str) else message.get("msg_type")
        if kind not in _NOT_REDACTED:
            content = masked(kind, content)
            if not isinstance(message, str):
                message = {**message, "content": masked(kind, message.get("content"))}
        return send(stream, message, content, *args, **options)

    session.send = send_redacted


def redact_tree(value: Any) -> Any:
    """`value` with every string in it redacted; pictures are left as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {
            key: inner
            if isinstance(key, str) and key.startswith("image/") and key != "image/svg+xml"
            else redact_tree(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_tree(inner) for inner in value]
    return value


def render_error(error: BaseException, where: str = "") -> list[str]:
    """The lines that a person sees: the three parts, notes, the line that was running."""
    first, *rest = redact(str(error)).splitlines() or [type(error).__name__]
    lines = [f"{_RED}✗{_PLAIN} {first}", *rest]
    if where:
        lines.append(f"  ran:   {redact(where)}")
    lines += [redact(note) for note in getattr(error, "__notes__", ())]
    return lines


def running_line(tb: TracebackType | None, namespace: dict[str, Any]) -> str:
    """The innermost line of the notebook itself (code whose globals are `namespace`)."""
    found = ""
    while tb is not None:
        if tb.tb_frame.f_globals is namespace:
            line = linecache.getline(tb.tb_frame.f_code.co_filename, tb.tb_lineno).strip()
            found = f"line {tb.tb_lineno}: {line}" if line else ""
        tb = tb.tb_next
    return found


def _show_lab_error(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    tb: TracebackType | None,
    tb_offset: int | None = None,
) -> list[str]:
    where = running_line(tb, shell.user_ns)
    # In a cell that only calls lab.check(...) the line says nothing new.
    own = any(word in where for word in ("lab.check(", _BEGIN))
    lines = render_error(error, "" if own else where)
    shell._showtraceback(kind, error, ["\n".join(lines)])
    return lines
