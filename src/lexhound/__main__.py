"""`python -m lexhound`: the command line, where the installed script is not on the path."""

from __future__ import annotations

import sys

from lexhound.serve.cli import main

sys.exit(main())
