"""Which name does a tool ask a container engine for, and does the engine find the image?"""

from kitref.errors import (
    EngineUnavailable,
    InvalidReference,
    KitrefError,
    UnknownRule,
    UsageError,
)
from kitref.normalize import expand
from kitref.reference import Reference, parse
from kitref.rules import RULES, Expansion, Release, Rule, rule

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "EngineUnavailable",
    "Expansion",
    "InvalidReference",
    "KitrefError",
    "Reference",
    "Release",
    "Rule",
    "UnknownRule",
    "UsageError",
    "__version__",
    "expand",
    "parse",
    "rule",
]
