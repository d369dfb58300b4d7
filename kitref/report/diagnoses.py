"""Diagnoses, for a person as a compiler writes them, and for programs: JSON and SARIF."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

import kitref
from kitref.diagnose import CAUSES
from kitref.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kitref.diagnose import Diagnosis, Row
    from kitref.linuxkit import Setting
    from kitref.linuxkit.binary import Check

_WIDTH: Final = 200  # of a terminal that has none; lines are never cut
_VERIFIED: Final = {
    "live": "verified by a look-up",
    "model": "by the model of the engine's store",
    "no": "not verified",
}
_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def show(
    diagnoses: Sequence[Diagnosis],
    setting: Setting,
    notes: Sequence[str] = (),
    check: Check | None = None,
) -> None:
    """Print diagnoses for a person: each name with its place, the line, and what comes of it.

    Args:
        diagnoses: The diagnoses.
        setting: The build that they are about.
        notes: What LinuxKit passes over.
        check: What a real linuxkit did beside it, where one was run.
    """
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, soft_wrap=True)
    with console.capture() as page:
        for note in notes:
            console.print(Text(printable(note), style="yellow"))
        for each in diagnoses:
            if each.cause:
                console.print(_finding(each))
        if check:
            console.print(_checked(check), markup=False, highlight=False)
        console.print(summary(diagnoses, setting), markup=False, highlight=False)
    # Not by rich: it would end the program itself, as with a finding, when nobody reads on.
    sys.stdout.write(page.get())


def summary(diagnoses: Sequence[Diagnosis], setting: Setting) -> str:
    """Return how the names end, in a sentence."""
    ends = [each.path.ends for each in diagnoses if not each.cause]
    counts = {end: ends.count(end) for end in ("engine", "cache", "registry")}
    good = ", ".join(f"{n} in the {end}" for end, n in counts.items() if n)
    wrong = sum(each.cause is not None for each in diagnoses)
    should = "it should" if wrong == 1 else "they should"
    names = "1 name" if len(diagnoses) == 1 else f"{len(diagnoses)} names"
    said = f"{names}: {good or 'none'} found; {wrong} not as {should} be"
    hosts = "".join(f"; {host} mapped to {to}" for host, to in setting.host_map.items())
    return f"{setting.client.title}, {said}{printable(hosts)}"


def as_json(
    diagnoses: Sequence[Diagnosis],
    setting: Setting,
    notes: Sequence[str] = (),
    check: Check | None = None,
) -> str:
    """Return diagnoses in JSON, one object; the arguments are those of `show`."""
    record = {
        "linuxkit": setting.client.title,
        "rule": setting.client.rule.name,
        "docker": setting.asks_docker,
        "architecture": setting.arch,
        "host_map": dict(setting.host_map),
        "notes": list(notes),
        "names": [_record(each) for each in diagnoses],
    }
    if check:
        record["binary"] = {"version": check.version, "differences": list(check.differences)}
    return json.dumps(record, indent=2) + "\n"


def as_sarif(
    diagnoses: Sequence[Diagnosis],
    setting: Setting,
    notes: Sequence[str] = (),
    check: Check | None = None,
) -> str:
    """Return diagnoses as SARIF 2.1.0 (OASIS), for code review; the arguments are those of `show`.

    What LinuxKit passes over, and where a real one differs, stand with the run, as notifications.
    """
    told = [("note", note) for note in notes]
    told += [("warning", line) for line in (_checked(check).splitlines() if check else ())]
    results = [_result(each) for each in diagnoses if each.cause]
    driver = {
        "name": "kitref",
        "version": kitref.__version__,
        "rules": [
            {"id": code, "shortDescription": {"text": _sentence(what)}}
            for code, what in CAUSES.items()
        ],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": text}} for level, text in told
                ],
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"linuxkit": setting.client.title, "hostMap": dict(setting.host_map)},
    }
    log = {"$schema": _SARIF, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def rows_as_json(rows: Sequence[Row]) -> str:
    """Return what each release finds, one JSON object a line."""
    return "".join(
        json.dumps(
            {
                "release": row.release.name,
                "date": row.release.date,
                "rule": row.release.rule,
                "api_version": row.release.docker_client_api,
                "found": row.found,
                "not_asked": row.not_asked,
                "names": len(row.steps),
                "flips": row.flips,
                "gained": row.gained,
                "lost": row.lost,
                "steps": {text: dataclasses.asdict(step) for text, step in row.steps.items()},
            }
        )
        + "\n"
        for row in rows
    )


def show_rows(rows: Sequence[Row]) -> None:
    """Print what each release finds, a row a release, and where it flips."""
    lines = [("release", "date", "rule", "API", "found", "")]
    for row in rows:
        single = next(iter(row.steps.values())) if len(row.steps) == 1 else None
        found = f"{row.found} of {len(row.steps)}" if single is None else single.outcome
        if single is None and row.not_asked:
            found += f", {row.not_asked} not asked"
        told = (("found from here on", row.gained), ("lost", row.lost))
        flips = ", ".join(
            what if single else f"{len(names)} {what}" for what, names in told if names
        )
        asked = single.asked if single else ""
        release = row.release
        lines.append(
            (
                release.version, release.date, release.rule, release.docker_client_api or "-",
                found, f"{asked}  {f'<- {flips}' if flips else ''}".strip(),
            )
        )  # fmt: skip
    widths = [max(len(line[at]) for line in lines) for at in range(5)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        sys.stdout.write("  ".join([*cells, printable(line[5])]).rstrip() + "\n")


def _finding(each: Diagnosis) -> Text:
    """Return one diagnosis: place, name and cause; the line with a caret; evidence; remedies."""
    name, cause = each.name, each.cause
    assert cause is not None  # noqa: S101 - the caller has looked
    said = Text()
    said.append(f"{printable(name.place)}: ", style="bold")
    said.append(printable(name.text))
    said.append(": ")
    said.append(CAUSES[cause.code], style="bold red")
    said.append(f" [{cause.code}]\n", style="dim")
    source, start = name.source, name.column - 1
    end = name.end_column - 1 if name.end_line == name.line else len(source)
    before, itself = printable(source[:start]), printable(source[start:end])
    said.append(f"    {before}{itself}{printable(source[end:])}\n")
    said.append(f"    {' ' * len(before)}{'^' * max(1, len(itself))}\n", style="red")
    said.append(f"  why: {printable(cause.why)}\n")
    for line in cause.evidence:
        said.append("  evidence: ", style="dim").append(f"{printable(line)}\n")
    if cause.missing:
        said.append(f"  not known: {printable(cause.missing)}\n")
    for remedy in each.remedies:
        said.append("  remedy: ", style="green").append(printable(remedy.what))
        said.append(f" ({_VERIFIED[remedy.verified]})\n", style="dim")
        if remedy.command:
            said.append(f"      {printable(remedy.command)}\n", style="bold")
        if remedy.proof:
            said.append(f"      {printable(remedy.proof)}\n", style="dim")
    return said


def _record(each: Diagnosis) -> dict[str, Any]:
    path = each.path
    return {
        "name": each.name.text,
        "file": each.name.file,
        "line": each.name.line,
        "column": each.name.column,
        "section": each.name.section,
        "asked": path.asked,
        "ends": path.ends,
        "steps": [dataclasses.asdict(step) for step in path.steps],
        "cause": dataclasses.asdict(each.cause) if each.cause else None,
        "remedies": [dataclasses.asdict(remedy) for remedy in each.remedies],
    }


def _result(each: Diagnosis) -> dict[str, Any]:
    name, cause = each.name, each.cause
    assert cause is not None  # noqa: S101 - the caller has looked
    remedies = "".join(
        f"\n- {remedy.what} ({_VERIFIED[remedy.verified]})"
        + (f": {remedy.command}" if remedy.command else "")
        for remedy in each.remedies
    )
    said = f"{name.text}: {CAUSES[cause.code]}. {_sentence(cause.why)}"
    place: dict[str, Any] = {"logicalLocations": [{"name": name.text}]}
    if not name.file.startswith("<"):
        place["physicalLocation"] = {
            "artifactLocation": {"uri": quote(os.fsencode(name.file))},
            "region": {
                "startLine": name.line,
                "startColumn": name.column,
                "endLine": name.end_line,
                "endColumn": name.end_column,
            },
        }
    return {
        "ruleId": cause.code,
        "ruleIndex": list(CAUSES).index(cause.code),
        "level": "error" if each.path.ends == "nowhere" else "warning",
        "message": {"text": said + (f"\nRemedies:{remedies}" if remedies else "")},
        "locations": [place],
        "properties": {"evidence": list(cause.evidence), "asked": each.path.asked},
    }


def _checked(check: Check) -> str:
    """Return what a real linuxkit did beside the prediction."""
    if not check.differences:
        return f"{check.version}: asks as predicted"
    return "\n".join(f"{check.version}: {line}" for line in check.differences)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
