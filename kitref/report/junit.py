"""junit.xml: a run as continuous integration reads it, a case a check; and each check's command."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from itertools import groupby
from typing import TYPE_CHECKING

from kitref import stores
from kitref.errors import printable
from kitref.report.record import Change

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kitref import runs
    from kitref.report.record import Had, Record

_OUR_OWN = frozenset({"engine", "engines", "store", "output"})
"""The parameters that a run gives every notebook by itself."""

_ESCAPE_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])"
)
"""ECMA-48: control sequences, operating system commands and the shorter ones."""

_TAGS = {"failed": "failure", "error": "error", "skipped": "skipped"}


def write(record: Record, path: Path) -> None:
    """Write a record as JUnit's XML.

    Each notebook run is a suite with one case; each behaviour class and engine whose answers were
    compared with the baseline is a suite with a case an answer. What was not asked is skipped.

    Args:
        record: The record.
        path: The file.
    """
    suites = [_notebook(record, result) for result in record.results]
    ordered = sorted(record.changes, key=_suite_of)
    for (behaviour, engine), changes in groupby(ordered, key=_suite_of):
        name = f"baseline {behaviour}" + (f" on {engine}" if engine else "")
        cases = [_case(record, change) for change in changes]
        suites.append(_suite(name, cases, record.start, 0.0))
    seconds = sum(result.seconds for result in record.results)
    root = _element("testsuites", name="kitref", **_counts(suites), time=f"{seconds:.3f}")
    root.extend(suites)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def clean(text: str) -> str:
    """Return a text without what a terminal obeys and what XML and HTML forbid or hide.

    Args:
        text: Any text, in lines.

    Returns:
        The same without escape sequences; every other character that cannot be printed, but for
        line feeds, is written as Python does.
    """
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n")).replace("\t", "    ")
    # A mark that turns the direction of writing is not printable either.
    return "".join(c if c.isprintable() or c == "\n" else printable(c) for c in text)


def rerun(record: Record, what: runs.Result | Change) -> str:
    """Return the command that runs the kit again for what did not pass.

    Args:
        record: The record.
        what: A notebook run, or an answer of the baseline.

    Returns:
        A line for bash. It names the engine that answered; where an answer is gone, every engine of
        its behaviour class.
    """
    words = ["kitref", "regress"]
    for had in record.engines:
        words += ["--engine", had.title] if _concerns(had, what) else []
    # A run with other parameters than the default ones is not compared with the baseline.
    parameters = {} if isinstance(what, Change) else what.job.parameters
    for name, value in parameters.items():
        words += ["-p", name, str(value)] if name not in _OUR_OWN else []
    return " ".join(map(_word, words))


def papermill(job: runs.Job) -> str:
    """Return the command that runs a notebook by itself.

    Args:
        job: The notebook and its parameters.

    Returns:
        A line for bash, to be run in a clone of the kit.
    """
    words = ["papermill", f"notebooks/{job.notebook.name}", "out.ipynb"]
    for name, value in job.parameters.items():
        if name != "output":
            words += ["-r" if _misread(value) else "-p", name, str(value)]
    return " ".join(map(_word, words))


def not_asked(record: Record, change: Change) -> str:
    """Return why an answer of the baseline was not asked for, in a sentence.

    Args:
        record: The record.
        change: An answer of the baseline that is ``not-asked``.

    Returns:
        What the run has of it, or each engine with such a store that was skipped and its reason.
    """
    said = f"no engine of behaviour class {change.behaviour} gave an answer"
    if change.now:
        said = f"{change.engine} gave no answer: {change.now}"
    missing = [
        f"{had.title} was skipped: {had.reason}"
        for had in record.engines
        if not had.engine and (had.store in change.behaviour or had.store == "any")
    ]
    return "; ".join([said, *([] if change.engine else missing)])


def _notebook(record: Record, result: runs.Result) -> ET.Element:
    """Return the suite of a notebook run: its one case."""
    notebook = result.job.notebook.stem
    case = _element("testcase", classname=f"kitref.notebooks.{notebook}", name=result.job.title)
    case.set("time", f"{result.seconds:.3f}")
    if tag := _TAGS.get(result.status):
        reason = result.reason or "no reason was given"
        said = _sub(case, tag, message=_first_line(reason))
        if result.status != "skipped":
            said.set("type", result.status)
            commands = [f"reproduce: {rerun(record, result)}", f"or: {papermill(result.job)}"]
            said.text = clean("\n".join([reason, "", *commands]))
        elif required := record.required.intersection(
            had.title for had in record.engines if had.has(result.job)
        ):
            said.set("message", clean(f"{min(required)} is required: {_first_line(reason)}"))
    return _suite(result.job.title, [case], record.start, result.seconds)


def _case(record: Record, change: Change) -> ET.Element:
    """Return the case of one answer of the baseline."""
    image, tagged_as = printable(change.image), printable(change.tagged_as)
    name = f"{image} by rule {change.rule}, tagged as {tagged_as}"
    case = _element("testcase", classname=f"kitref.baseline.{change.behaviour}", name=name)
    case.set("time", "0.000")
    if change.differs:
        now = change.now or "no answer"
        was = change.was or "not in the baseline"
        message = f"{change.status}: {image} by rule {change.rule}: was {was}, is {now}"
        said = _sub(case, "failure", message=message, type=change.status)
        said.text = clean(f"{_comparison(change)}\nreproduce: {rerun(record, change)}")
    elif change.status == "not-asked":
        _sub(case, "skipped", message=not_asked(record, change))
    elif change.status == "new":
        _sub(case, "system-out").text = clean(f"new\n{_comparison(change)}")
    return case


def _comparison(change: Change) -> str:
    lines = {
        "image": printable(change.image),
        "tagged as": printable(change.tagged_as),
        "rule": change.rule,
        "behaviour": change.behaviour,
        "engine": change.engine or "none",
        "old value": change.was or "none",
        "new value": change.now or "none",
        "why": change.why or "none",
    }
    return "\n".join(f"{f'{name}:':<11}{value}" for name, value in lines.items())


def _suite(name: str, cases: list[ET.Element], start: str, seconds: float) -> ET.Element:
    suite = _element("testsuite", name=name)
    counts = {
        "tests": len(cases),
        "failures": sum(case.find("failure") is not None for case in cases),
        "errors": sum(case.find("error") is not None for case in cases),
        "skipped": sum(case.find("skipped") is not None for case in cases),
    }
    for attribute, count in counts.items():
        suite.set(attribute, str(count))
    suite.set("time", f"{seconds:.3f}")
    suite.set("timestamp", start)
    suite.extend(cases)
    return suite


def _counts(suites: Iterable[ET.Element]) -> dict[str, str]:
    suites = list(suites)
    return {
        name: str(sum(int(suite.get(name, "0")) for suite in suites))
        for name in ("tests", "failures", "errors", "skipped")
    }


def _element(tag: str, **attributes: str) -> ET.Element:
    return ET.Element(tag, {name: clean(value) for name, value in attributes.items()})


def _sub(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    child = _element(tag, **attributes)
    parent.append(child)
    return child


def _suite_of(change: Change) -> tuple[str, str]:
    return change.behaviour, change.engine


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _concerns(had: Had, what: runs.Result | Change) -> bool:
    """Return whether a notebook was run on an engine, or an answer is one of its own."""
    if not isinstance(what, Change):
        return had.has(what.job)
    if (engine := had.engine) is None:
        return False
    if what.engine:
        return what.engine == f"{engine.title} {engine.version}"
    return stores.classify(engine.kind, engine.store, engine.version).name == what.behaviour


def _misread(value: object) -> bool:
    """Return whether papermill would read a text as something else."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return value in ("True", "False", "None")
    return True


def _word(text: str) -> str:
    """Return a text as one word of bash, in printable ASCII."""
    if text.isascii() and text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_in_ansi_c, text)) + "'"


def _in_ansi_c(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if character.isascii() and character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - bash's
