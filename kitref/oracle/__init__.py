"""Go's distribution/reference as the judge: the corpus and a million generated texts against it."""

from kitref.oracle.compare import Disagreement, Result, compare
from kitref.oracle.go import Answer, Oracle, build

__all__ = ["Answer", "Disagreement", "Oracle", "Result", "build", "compare"]
