"""Exit 0 when the host on this machine says that it runs: the container's health check.

Not whether all is well: who watches containers starts an unhealthy one again, which mends no
revoked token and no store that is away.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    """Ask `/health/live` on HTTP_PORT; 1 and its own words when it answers no, or not at all."""
    port = os.environ.get("HTTP_PORT", "8080").strip("\"'")  # `docker run --env-file` keeps quotes
    url = f"http://127.0.0.1:{port}/health/live"
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=4) as answer:
            print(answer.read(2000).decode(errors="replace"))
    except urllib.error.HTTPError as problem:
        print(problem.read(2000).decode(errors="replace"))
        return 1
    except OSError as problem:
        print(f"{url}: {problem}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
