"""A day without a network: a program that runs in sealed namespaces, started by its test.

Not a test module. It finds a copy of the checkout, a bundle, an empty cache, an engine that is not
there yet, and no way out: what is asked for over the network fails at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time

from harness.base import process
from harness.supply.engine import dockerd, engine

# An address of the documentation's block (RFC 5737): a route to it would be a way out.
ELSEWHERE = ("192.0.2.1", 443)
COMMAND_SECONDS = 600
NAME = "no-network"


def lab(copy: str, *words: str) -> str:
    """`./lab` of the copy with these words; it must end well. Returns its standard output."""
    print(f"{time.strftime('%X')} $ ./lab {' '.join(words)}", flush=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        ["./lab", *words],
        cwd=copy,
        env={**variables, "LAB_ENV": NAME},
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


def main(copy: str, bundle: str, *labs: str) -> None:
    no_way_out()
    lab(copy, "bundle", "load", bundle)
    lab(copy, "fetch", *labs)
    assert dockerd.is_ours()
    lab(copy, "up", *labs)
    for number in labs:
        lab(copy, "run", number)
    told = json.loads(lab(copy, "status", "-o", "json"))
    assert told["supply"].startswith("offline: "), told["supply"]
    done = [each["lab"] for each in told["labs"] if each["done"] == each["steps"]]
    assert done == list(labs), done
    lab(copy, "down", "--engine")
    assert engine.find() is None


if __name__ == "__main__":
    main(*sys.argv[1:])
