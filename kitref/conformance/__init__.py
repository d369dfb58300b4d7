"""Another program's normalizer, run over the corpus: what it claims, held against what is right."""

from __future__ import annotations

from kitref.conformance.contract import PARTS, Reply
from kitref.conformance.known import load as load_known
from kitref.conformance.profiles import Profile, profile
from kitref.conformance.record import load as load_record
from kitref.conformance.runner import SECONDS, run
from kitref.conformance.suite import Conformance, Judged, conform, settle

__all__ = [
    "PARTS",
    "SECONDS",
    "Conformance",
    "Judged",
    "Profile",
    "Reply",
    "conform",
    "load_known",
    "load_record",
    "profile",
    "run",
    "settle",
]
