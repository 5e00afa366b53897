"""`python -m standins.injector agent-inject`: start an injector in a pod."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

from standins.common.account import NoAccount
from standins.common.flags import BadFlag
from standins.common.logs import configure
from standins.injector.run import run
from standins.injector.settings import read


def main(arguments: list[str], env: dict[str, str]) -> int:
    """Serve; the exit code is 2 for a setting that cannot be used."""
    # Upstream's only subcommand; a Deployment written for it passes the word.
    if arguments[:1] == ["agent-inject"]:
        arguments = arguments[1:]
    try:
        settings = read(arguments, env)
        configure(settings.log_level, settings.log_format)
        namespace = env.get("NAMESPACE") or "default"
        identity = env.get("POD_NAME") or socket.gethostname()
        asyncio.run(run(settings, namespace, identity))
    except BadFlag as error:
        sys.stderr.write(f"injector: {error}\n")
        return 2
    except NoAccount as error:
        sys.stderr.write(
            f"injector: not in a cluster ({error}); outside of one, give certificate files "
            "with AGENT_INJECT_TLS_CERT_FILE and AGENT_INJECT_TLS_KEY_FILE\n"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
