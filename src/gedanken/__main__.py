"""`python -m gedanken` is the command `gedanken`."""

import sys

from gedanken.cli.main import main

sys.exit(main())
