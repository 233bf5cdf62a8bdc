"""`python -m sentinel.cli`."""

from __future__ import annotations

import sys

from sentinel.cli.main import main

sys.exit(main())
