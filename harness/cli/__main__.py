"""`python -m harness.cli`: what the script `lab` hands over to."""

import sys

try:
    from harness.cli.main import INTERRUPTED, main
except KeyboardInterrupt:
    # Ctrl-C while Python still reads the modules: nothing was begun, nothing is to be said.
    sys.exit(130)

try:
    sys.exit(main())
except KeyboardInterrupt:  # before `main` could listen
    sys.exit(INTERRUPTED)
