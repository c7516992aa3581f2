"""`python -m bot`: the same as `switchboard`."""

from __future__ import annotations

import sys

from switchboard_bots import main

if __name__ == "__main__":
    sys.exit(main())
