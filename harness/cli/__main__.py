"""`python -m harness.cli`: what the script `lab` hands over to."""

import sys

from harness.cli.main import main

sys.exit(main())
