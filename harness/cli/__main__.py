"""`python -m harness.cli`: what the script `lab` hands over to."""

import sys

try:
    from harness.cli.main import main

    sys.exit(main())
except KeyboardInterrupt:
    # While Python still read the modules: nothing was begun, nothing is to be said.
    sys.exit(130)
