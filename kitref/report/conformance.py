"""A conformance run: results.json, junit.xml, report.html and the terminal, from one record."""

from __future__ import annotations

import json
import shlex
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

import kitref
from kitref.conformance import runner
from kitref.conformance.suite import BROKEN, TROUBLE
from kitref.errors import printable
from kitref.report import html, junit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitref.conformance import Conformance, Judged

_SHOWN: Final = 20
_WIDTH: Final = 160
_SKIPPED: Final = frozenset({"not-claimed", "allowed", "known"})


def write(record: Conformance, folder: Path) -> None:
    """Write results.json, junit.xml and report.html into a folder.

    Args:
        record: What came of the run.
        folder: A folder that exists.
    """
    (folder / "results.json").write_text(_dumps(record))
    (folder / "junit.xml").write_bytes(_junit(record))
    program = runner.function_of(record.command) or " ".join(record.command)
    html.write_page(
        folder / "report.html",
        title=f"Does {program} read names as {record.profile.name} does?",
        sentence=summary(record),
        good=record.exit_code == 0,
        tables=[_families(record), _failures(record)],
    )


def show(record: Conformance) -> None:
    """Print the verdicts by family, and the first of what fails."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    with console.capture() as page:
        verdicts = list(record.counts)
        grid = Table("family", *verdicts, title=f"profile {record.profile.name}")
        for family, counts in record.families.items():
            grid.add_row(family, *(str(counts[each] or "") for each in verdicts))
        grid.add_row("all", *(str(record.counts[each]) for each in verdicts), style="bold")
        console.print(grid)
        wrong = [each for each in record.judged if _is_wrong(each)]
        for each in wrong[:_SHOWN]:
            console.print(
                "\n".join(_lines(record, each)), markup=False, highlight=False, soft_wrap=True
            )
        if len(wrong) > _SHOWN:
            more = f"and {len(wrong) - _SHOWN} more: --output FOLDER keeps all"
            console.print(more, highlight=False, markup=False)
        console.print(summary(record), highlight=False, markup=False, soft_wrap=True)
    sys.stdout.write(page.get())


def dump(record: Conformance) -> None:
    """Print results.json."""
    sys.stdout.write(_dumps(record))


def summary(record: Conformance) -> str:
    """Return the verdicts in a sentence."""
    counts = ", ".join(f"{n} {verdict}" for verdict, n in record.counts.most_common())
    return f"Profile {record.profile.name} ({record.profile.why}): {counts}."


def as_json(record: Conformance) -> dict[str, Any]:
    """Return the record as results.json has it."""
    return {
        "kit": {"name": "kitref", "version": kitref.__version__},
        "start": record.start,
        "end": record.end,
        "exit_code": record.exit_code,
        "command": list(record.command),
        "profile": record.profile.name,
        "engine": record.engine or None,
        "counts": dict(record.counts),
        "families": {family: dict(counts) for family, counts in record.families.items()},
        "cases": [_case_json(record, each) for each in record.judged],
    }


def repeat(record: Conformance, each: Judged) -> str:
    """Return the command that asks one case again."""
    words = ["kitref", "conform", "--profile", record.profile.name]
    words += [*record.options, "--case", each.case.id]
    function = runner.function_of(record.command)
    last = ["--python", function] if function else ["--", *record.command]
    return shlex.join([*words, *last])


def _dumps(record: Conformance) -> str:
    return json.dumps(as_json(record), indent=2) + "\n"


def _whole(text: str | None) -> str | None:
    """Return a text with half characters escaped: not every reader of JSON takes one."""
    return text and text.encode(errors="backslashreplace").decode()


def _is_wrong(each: Judged) -> bool:
    return each.verdict in BROKEN | TROUBLE


def _case_json(record: Conformance, each: Judged) -> dict[str, Any]:
    said = {
        "id": each.question.id,
        "family": each.case.family,
        "text": each.case.text,
        "verdict": each.verdict,
    }
    if each.verdict == "pass":
        return said
    return said | {
        "expected": None if each.expected.parts is None else dict(each.expected.parts),
        "given": {part: _whole(claim) for part, claim in each.reply.claims.items()},
        "error": _whole(each.reply.error) or None,
        "detail": _whole(each.reply.detail) or None,
        "differences": sorted(each.differences),
        "reason": each.reason or None,
        "settled": _whole(each.settled) or None,
        "why": each.case.why,
        "source": each.case.source,
        "repeat": repeat(record, each),
    }


def _lines(record: Conformance, each: Judged) -> list[str]:
    lines = [
        f"{each.verdict}  {each.question.id}: {printable(each.case.text)[:200]}",
        f"  expected: {printable(each.wanted)[:300]}   ({each.expected.source})",
        f"  given:    {printable(each.given)[:300]}",
        f"  why:      {each.case.why}",
        f"  source:   {each.case.source}",
    ]
    if each.reason:
        lines.append(f"  known:    {each.reason}")
    if each.settled:
        lines.append(f"  settled:  {printable(each.settled)}")
    return [*lines, f"  repeat:   {repeat(record, each)}"]


def _junit(record: Conformance) -> bytes:
    root = ET.Element("testsuites", name="kitref conform")
    for family in record.families:
        cases = [each for each in record.judged if each.case.family == family]
        suite = ET.SubElement(root, "testsuite", name=family, timestamp=record.start)
        counts = {"tests": len(cases), "failures": 0, "errors": 0, "skipped": 0}
        for each in cases:
            case = ET.SubElement(
                suite, "testcase", classname=f"kitref.conform.{family}", name=each.question.id
            )
            case.set("time", "0.000")
            if each.verdict == "pass":
                continue
            message = junit.clean(f"{each.verdict}: {printable(each.case.text)[:200]}")
            if each.verdict in _SKIPPED:
                counts["skipped"] += 1
                reason = f": {each.reason}" if each.reason else ""
                ET.SubElement(case, "skipped", message=junit.clean(message + reason))
                continue
            trouble = each.verdict in TROUBLE
            counts["errors" if trouble else "failures"] += 1
            tag = "error" if trouble else "failure"
            said = ET.SubElement(case, tag, message=message, type=each.verdict)
            said.text = junit.clean("\n".join(_lines(record, each)))
        for name, count in counts.items():
            suite.set(name, str(count))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    page: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return page + b"\n"


def _families(record: Conformance) -> html.Table:
    rows: list[Sequence[object]] = [
        [family, verdict, count]
        for family, counts in record.families.items()
        for verdict, count in counts.most_common()
    ]
    columns = [html.Column("family"), html.Column("verdict", "status"), html.Column("n", "number")]
    return html.Table(id="families", caption="Verdicts by family", columns=columns, rows=rows)


def _failures(record: Conformance) -> html.Table:
    columns = [
        html.Column("case"),
        html.Column("text", "name"),
        html.Column("verdict", "status"),
        html.Column("expected", "name"),
        html.Column("given", "name"),
        html.Column("settled live", "prose"),
        html.Column("why", "prose"),
        html.Column("source", "prose"),
        html.Column("repeat", "command"),
    ]
    rows = [
        [
            each.question.id,
            printable(each.case.text)[:300],
            each.verdict,
            printable(each.wanted)[:500],
            printable(each.given)[:500],
            each.settled or each.reason,
            each.case.why,
            each.case.source,
            repeat(record, each),
        ]
        for each in record.judged
        if each.verdict != "pass"
    ]
    return html.Table(
        id="not-passed",
        caption="What did not pass, and what repeats it",
        columns=columns,
        rows=rows,
    )
