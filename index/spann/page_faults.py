"""Whether the calling thread had to wait for the disk when it touched memory that is mapped from a file."""

from __future__ import annotations

import resource

_WHO = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)


def major_faults() -> int:
    """How often it had to so far (where threads are not told apart: any thread of the process)."""
    return resource.getrusage(_WHO).ru_majflt
