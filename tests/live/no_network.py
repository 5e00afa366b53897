"""A day without a network: a program that runs in sealed namespaces, started by its test.

Not a test module. It finds the parts that this machine has built, an engine that is not there
yet, and no way out: what is asked for over the network fails at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from harness.base import process
from harness.base.paths import CHECKOUT
from harness.supply.engine import dockerd, engine

# An address of the documentation's block (RFC 5737): a route to it would be a way out.
ELSEWHERE = ("192.0.2.1", 443)
COMMAND_SECONDS = 600
NAME = "no-network"


def lab(*words: str) -> str:
    """`./lab` with these words; it must end well. Returns its standard output."""
    print(f"$ ./lab {' '.join(words)}", flush=True)
    ended = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words],
        cwd=CHECKOUT,
        env={**os.environ, "LAB_ENV": NAME},
        stdout=subprocess.PIPE,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, f"lab {words} ended with {ended.returncode}\n{ended.stdout}"
    return ended.stdout


def no_way_out() -> None:
    """Neither a route nor a name server, nor this machine's engine."""
    assert process.run(["ip", "route"]).strip() == ""
    assert engine.find() is None, "the namespaces do not hide this machine's engine"
    try:
        socket.create_connection(ELSEWHERE, 2).close()
    except OSError:
        return
    raise AssertionError("there is a way out")


def main(labs: list[str]) -> None:
    no_way_out()
    # The test has asked whether all of it is in the cache: this must not need the network.
    lab("fetch", *labs, "--supply", "offline")
    assert dockerd.is_ours()
    lab("up", *labs)
    for number in labs:
        lab("run", number)
    told = json.loads(lab("status", "-o", "json"))
    assert told["supply"].startswith("offline: "), told["supply"]
    done = [lab["lab"] for lab in told["labs"] if lab["done"] == lab["steps"]]
    assert done == labs, done
    lab("down", "--engine")
    assert engine.find() is None


if __name__ == "__main__":
    main(sys.argv[1:])
