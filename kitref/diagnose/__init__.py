"""From the path of each name of a build to one cause, and the remedies that mend it.

LinuxKit ignores every error of its look-up in the Docker engine, so the one line that a user sees,
a failed pull, has many causes. Here a cause is named only with the evidence that it rests on: the
look-ups that LinuxKit makes and the kit's own beside them, literal names included. A remedy is
tried, by look-ups that change nothing on the user's engine, before it is called verified; one that
was tried and mends nothing is not given.
"""

from __future__ import annotations

from kitref.diagnose.causes import diagnose
from kitref.diagnose.history import Row, bisect
from kitref.diagnose.records import CAUSES, Cause, Diagnosis, Elsewhere, Remedy, Verified

__all__ = [
    "CAUSES",
    "Cause",
    "Diagnosis",
    "Elsewhere",
    "Remedy",
    "Row",
    "Verified",
    "bisect",
    "diagnose",
]
