"""Stands in for wrk where it is not installed: sends each search once and prints its figures in wrk's form."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx

SCRIPT = "#!{python}\nimport runpy\nrunpy.run_path({path!r}, run_name='__main__')\n"


def main() -> None:
    place = sys.argv.index("--")
    url, bodies, path = sys.argv[place - 1], *sys.argv[place + 1 :]
    times = []
    with httpx.Client(base_url=url, headers={"content-type": "application/json"}, timeout=120) as client:
        for body in Path(bodies).read_bytes().splitlines():
            started = time.perf_counter()
            client.post(path, content=body).raise_for_status()
            times.append(time.perf_counter() - started)
    times.sort()
    sys.stdout.write("  Latency Distribution\n")
    for share in (50, 75, 90, 99):
        sys.stdout.write(f"     {share}%   {times[len(times) * share // 100] * 1000:.2f}ms\n")
    sys.stdout.write(f"  {len(times)} requests in {sum(times):.2f}s, 1.00MB read\n")


if __name__ == "__main__":
    main()
