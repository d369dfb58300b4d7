"""The record of a run: every output of it is made from this one."""

from __future__ import annotations

import dataclasses
import platform
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import kitref
from kitref import stores
from kitref.report import timeline

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from kitref import engines, runs
    from kitref.report.timeline import Span


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Had:
    """An engine of a run: had, or skipped with a reason.

    Attributes:
        title: Its name and store.
        given: What to give a notebook as its parameter ``engine``.
        store: What to give it as ``store``.
        engine: The engine, or None.
        reason: Why it was skipped.
    """

    title: str
    given: str
    store: str
    engine: engines.Engine | None = None
    reason: str = ""

    @property
    def note(self) -> str:
        """Why it was skipped; or of one that was had, that it is newer than any known."""
        engine = self.engine
        return stores.beyond(engine.kind, engine.store, engine.version) if engine else self.reason

    def has(self, job: runs.Job) -> bool:
        """Return whether a notebook is run on this engine, alone or with others."""
        given = job.parameters
        alone = (given.get("engine"), given.get("store")) == (self.given, self.store)
        return alone or f"{self.given}/{self.store}" in str(given.get("engines", "")).split(",")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one answer of the baseline.

    Attributes:
        status: ``same``; ``changed``; ``new`` (the baseline does not have it); ``gone`` (the run
            does not have it, though it asked such an engine); ``not-asked`` (no such engine could
            be had, or it gave no answer).
        behaviour: The behaviour class that the baseline is keyed by, ``docker-containerd``.
        engine: The engine that answered, with its store and version; empty where none did.
        image: The name as the user wrote it.
        tagged_as: The name under which the image was tagged.
        rule: The rule.
        was: The name that was asked for and the outcome, as the baseline has them.
        now: The same as the run has them.
        why: Where it is changed, new or gone, what did that: the rule, the engine, or the baseline.
    """

    status: Literal["same", "changed", "new", "gone", "not-asked"]
    behaviour: str
    engine: str
    image: str
    tagged_as: str
    rule: str
    was: str
    now: str
    why: str = ""

    @property
    def differs(self) -> bool:
        """Whether that is a finding; a new answer of a user's own engine is none."""
        if self.status == "new":
            return not self.engine.startswith("own-")
        return self.status in ("changed", "gone")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What came out of a run.

    Attributes:
        start: When it started, RFC 3339.
        end: When it ended.
        engines: The engines, those skipped too.
        results: How each notebook ended.
        lookups: Every look-up, as `kitref.tables.lookups` has them.
        reproduced: Those of the reproduction alone: one image, two rules, every engine.
        changes: What became of each answer of the baseline; empty where it was not compared.
        required: The titles of the engines that were required.
        folder: Where its files are.
        spans: What took how long.
        wall: Seconds of all of it.
    """

    start: str
    end: str
    engines: tuple[Had, ...]
    results: tuple[runs.Result, ...]
    lookups: pd.DataFrame
    reproduced: pd.DataFrame
    required: frozenset[str]
    folder: Path
    changes: tuple[Change, ...] = ()
    spans: tuple[Span, ...] = ()
    wall: float = 0.0

    @property
    def exit_code(self) -> int:
        """Return the run's exit code.

        4 where a notebook ended in an error, 3 where there was no engine or not all that was
        required could be had, 1 where there is a finding, else 0.
        """
        ended = {result.status for result in self.results}
        if "error" in ended:
            return 4
        if self.lacking or not any(had.engine for had in self.engines):
            return 3
        broken = any(change.differs for change in self.changes)
        return 1 if "failed" in ended or broken else 0

    @property
    def lacking(self) -> list[str]:
        """The required engines that could not be had, and the notebooks skipped on those had."""
        required = [had for had in self.engines if had.title in self.required]
        skipped = [result.job for result in self.results if result.status == "skipped"]
        return sorted(
            [had.title for had in required if not had.engine]
            + [job.title for job in skipped if any(h.engine and h.has(job) for h in required)]
        )

    def as_json(self) -> dict[str, Any]:
        """Return the record as results.json has it."""
        return {
            "kit": {
                "name": "kitref",
                "version": kitref.__version__,
                "python": platform.python_version(),
            },
            "start": self.start,
            "end": self.end,
            "exit_code": self.exit_code,
            "engines": [_engine_json(had) for had in self.engines],
            "notebooks": [_result_json(result, self.folder) for result in self.results],
            "baseline": dict(Counter(change.status for change in self.changes)),
            "changes": [
                dataclasses.asdict(change) for change in self.changes if change.status != "same"
            ],
            "profile": {
                "seconds": self.wall,
                "unavoidable": timeline.unavoidable(self.spans),
                "spans": [dataclasses.asdict(span) for span in self.spans],
            },
        }


def _engine_json(had: Had) -> dict[str, Any]:
    engine = had.engine
    if engine is None:
        return {
            "title": had.title,
            "name": had.given,
            "store": had.store,
            "status": "skipped",
            "reason": had.reason,
        }
    return {
        "title": had.title,
        "name": engine.name,
        "kind": engine.kind,
        "version": engine.version,
        "api_version": engine.api_version,
        "min_api_version": engine.min_api_version,
        "store": engine.store,
        "source": engine.source,
        "status": "available",
        "reason": had.note,
    }


def _result_json(result: runs.Result, folder: Path) -> dict[str, Any]:
    job = result.job
    return {
        "title": job.title,
        "notebook": job.notebook.name,
        "parameters": {name: value for name, value in job.parameters.items() if name != "output"},
        "status": result.status,
        "seconds": result.seconds,
        "reason": result.reason,
        "executed": str(job.output.relative_to(folder)) if job.output.exists() else None,
    }
