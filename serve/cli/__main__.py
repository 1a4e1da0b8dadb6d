"""`python -m lexhound.serve.cli`: the command line where the installed script is not on the path."""

from __future__ import annotations

import sys

from . import main

sys.exit(main())
