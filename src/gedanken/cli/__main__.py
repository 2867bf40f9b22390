"""`python -m gedanken.cli` is `gedanken`."""

import sys

from gedanken.cli.main import main

sys.exit(main())
