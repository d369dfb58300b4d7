"""Records into pandas tables: the only room that does so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from kitref.errors import printable
from kitref.stores import CLASSES, MARKS

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Mapping

    from kitref.compare import Asked, Comparison
    from kitref.corpus import Case
    from kitref.diagnose import Diagnosis
    from kitref.engines import Lookup, Survey
    from kitref.linuxkit import Build, Path
    from kitref.rules import Rule

LOOKUPS = [
    "engine", "version", "store", "rule", "tagged_as", "image", "asked", "outcome", "image_id",
    "detail",
]  # fmt: skip
"""The columns of a table of look-ups, one row a look-up."""

ENGINE = ["engine", "version", "store", "image"]
"""The columns of a matrix that say which engine was asked about which image."""

STEP_MARKS = MARKS | {"named": "→", "login-needed": "!", "unreachable": "?"}
"""A mark for each outcome of a step of a path."""


def lookups(records: Iterable[Lookup]) -> pd.DataFrame:
    """Return look-ups as a table.

    Args:
        records: The look-ups.

    Returns:
        A table with the columns `LOOKUPS`, all text; ``rule`` is ``fixed`` or an old rule's
        commit, ``image`` the name as the user wrote it.
    """
    rows = [
        {
            "engine": record.engine.name,
            "version": record.engine.version,
            "store": record.engine.store,
            "rule": record.expansion.rule,
            "tagged_as": record.tagged_as,
            "image": record.image,
            "asked": record.expansion.asked,
            "outcome": record.outcome,
            "image_id": record.image_id or "",
            "detail": record.detail,
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=LOOKUPS, dtype=str)


def names(build: Build) -> pd.DataFrame:
    """Return a build's names as a table, with the place of each."""
    rows = [
        {"place": name.place, "section": name.section, "name": printable(name.text)}
        for name in build.names
    ]
    return pd.DataFrame(rows, columns=["place", "section", "name"], dtype=str)


def steps(paths: Mapping[str, Mapping[str, Path]]) -> pd.DataFrame:
    """Return paths as a table, one row a step.

    Args:
        paths: By the LinuxKit's title and the name, the path.

    Returns:
        A table with the columns linuxkit, name, step, asked, outcome, detail, all text.
    """
    rows = [
        {
            "linuxkit": title,
            "name": printable(text),
            "step": step.stage,
            "asked": printable(step.asked),
            "outcome": step.outcome,
            "detail": printable(step.detail),
        }
        for title, of_it in paths.items()
        for text, path in of_it.items()
        for step in path.steps
    ]
    columns = ["linuxkit", "name", "step", "asked", "outcome", "detail"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def diagnoses(records: Iterable[Diagnosis]) -> pd.DataFrame:
    """Return diagnoses as a table, one row a name."""
    rows = [
        {
            "place": record.name.place,
            "name": printable(record.name.text),
            "asked": printable(record.path.asked),
            "ends": record.path.ends,
            "cause": record.cause.code if record.cause else "",
            "remedy": printable(record.remedies[0].what) if record.remedies else "",
        }
        for record in records
    ]
    columns = ["place", "name", "asked", "ends", "cause", "remedy"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


def write(table: pd.DataFrame, path: pathlib.Path) -> None:
    """Write a table as CSV, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    table.to_csv(partial, index=False)
    partial.replace(path)


def join(paths: Iterable[pathlib.Path]) -> pd.DataFrame:
    """Return the look-ups of several runs as one table.

    Args:
        paths: CSV files that `write` made.

    Returns:
        One table with the columns `LOOKUPS`; an empty one where there are no files.
    """
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths]
    return (
        pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=LOOKUPS, dtype=str)
    )


def matrix(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each engine says under each rule.

    Args:
        table: Look-ups.

    Returns:
        A row an engine, version, store and image; a column a rule, the fixed one last; each cell
        a mark and the outcome in words.
    """
    said = table.assign(said=table["outcome"].map(MARKS) + " " + table["outcome"])
    wide = said.pivot_table(
        index=ENGINE,
        columns="rule",
        values="said",
        aggfunc="first",
        sort=False,
    )
    return wide[sorted(wide.columns, key=lambda rule: (rule == "fixed", rule))].reset_index()


COMPARISONS = [
    "family", "name", "fault", "differs",
    *(f"{which}_{what}" for which in ("old", "new") for what in ("rule", "asked", "host", "note")),
    *(f"model.{name}.{which}" for name in CLASSES for which in ("old", "new")),
]  # fmt: skip
"""The columns of a table of comparisons, one row a name."""


def comparisons(records: Iterable[Comparison]) -> pd.DataFrame:
    """Return comparisons as a table for programs.

    Args:
        records: The comparisons.

    Returns:
        A table with the columns `COMPARISONS`, all text and as it is; for each behaviour class what
        the model says under either rule, as ``model.docker-graph.old`` and ``.new``.
    """
    rows = []
    for record in records:
        row = {
            "family": record.name.family,
            "name": record.name.text,
            "fault": record.fault,
            "differs": "yes" if record.differs else "no",
        }
        for which, asked in (("old", record.old), ("new", record.new)):
            row |= {
                f"{which}_rule": asked.rule,
                f"{which}_asked": asked.asked or "",
                f"{which}_host": asked.host or "",
                f"{which}_note": asked.note,
            }
        for effect in record.model:
            row |= {
                f"model.{effect.store}.old": effect.old,
                f"model.{effect.store}.new": effect.new,
            }
        rows.append(row)
    return pd.DataFrame(rows, columns=COMPARISONS, dtype=str)


def comparisons_to_read(records: Iterable[Comparison]) -> pd.DataFrame:
    """Return comparisons as a table for people.

    Args:
        records: The comparisons.

    Returns:
        A row a comparison, every name printable, and what the model says of each behaviour class
        in one cell: ``found``, or ``absent → found`` where it changes. A column in which there is
        nothing is left out.
    """
    rows = []
    for record in records:
        row = {"family": record.name.family, "name": printable(record.name.text)}
        for which, asked in (("old", record.old), ("new", record.new)):
            row |= {
                f"{which}: {asked.rule} asks for": printable(asked.asked or ""),
                f"{which}: note": asked.note,
            }
        row["differs"] = "yes" if record.differs else "no"
        row |= {f"model: {effect.store}": str(effect) for effect in record.model}
        rows.append(row)
    table = pd.DataFrame(rows, dtype=str)
    return table.drop(columns=[column for column in table if not table[column].any()])


_SHOWN = 30

EXPANSIONS = [
    "family", "name", "rule", "asked", "verdict", "elsewhere", "meant", "note",
]  # fmt: skip
"""The columns of a table of expansions, one row a name and rule."""


def expansions(records: Iterable[Asked]) -> pd.DataFrame:
    """Return what rules ask for names as a table.

    Args:
        records: What each rule asks for each name.

    Returns:
        A table with the columns `EXPANSIONS`; ``elsewhere`` is true where a pull would go to
        another host than the name's own registry, ``asked`` is missing where the rule refuses
        the name, everything else is printable text.
    """
    rows = [
        {
            "family": record.name.family or "(none)",
            "name": printable(record.name.text),
            "rule": record.rule,
            "asked": None if record.asked is None else printable(record.asked),
            "verdict": record.verdict,
            "elsewhere": record.elsewhere,
            "meant": record.meant,
            "note": record.note,
        }
        for record in records
    ]
    return pd.DataFrame(rows, columns=EXPANSIONS)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Return what every rule does to every name, in few words.

    Args:
        table: What `expansions` returns.

    Returns:
        A row a name, a column a rule; a cell has what the rule puts in front of the name, after
        ``✗`` where Docker reads that as another image or as no name, after ``!`` where a pull would
        go to another host.
    """
    said = table.assign(said=[_in_few_words(row) for _, row in table.iterrows()])
    wide = said.pivot_table(
        index="name", columns="rule", values="said", aggfunc="first", sort=False
    )
    wide = wide[list(dict.fromkeys(table["rule"]))].rename_axis(columns=None)
    return wide.rename(index=lambda name: _clipped(name, 20))


def wrongly(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many valid names of each family each rule asks for wrongly.

    Args:
        table: What `expansions` returns.

    Returns:
        A row a family that has valid names, and one for all of them; the number of its valid
        names, and a column a rule: the names for which Docker reads what the rule asks as another
        image than the name, or as no valid name.
    """
    valid = table[table["verdict"] != "invalid"]
    wrong = valid.assign(wrong=valid["verdict"] == "wrong")
    counts = wrong.pivot_table(index="family", columns="rule", values="wrong", aggfunc="sum")
    counts = counts[[rule for rule in dict.fromkeys(table["rule"]) if rule in counts]].astype(int)
    counts.insert(0, "names", valid.groupby("family").size() // table["rule"].nunique())
    counts.loc["all"] = counts.sum()
    return counts.rename_axis(columns=None)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each rule does wrong, in figures.

    Args:
        table: What `expansions` returns.

    Returns:
        A row a rule: its valid names, those asked for wrongly, those of which a pull would go to
        another host, and its invalid names that it asks for all the same.
    """
    invalid = table["verdict"] == "invalid"
    figures = {
        "valid names": ~invalid,
        "asked for wrongly": table["verdict"] == "wrong",
        "pull from another host": table["elsewhere"],
        "invalid names": invalid,
        "asked for all the same": invalid & table["asked"].notna(),
    }
    return pd.DataFrame(figures).groupby(table["rule"], sort=False).sum()


def astray(table: pd.DataFrame, rule: str) -> pd.DataFrame:
    """Return the valid names for which a rule asks for anything but what Docker reads.

    Args:
        table: What `expansions` returns.
        rule: The rule's name.

    Returns:
        A row a name: what the rule asks for, Docker's reading, and what comes of it. A long name is
        cut.
    """
    valid = table[(table["rule"] == rule) & (table["verdict"] != "invalid")]
    rows = valid[(valid["verdict"] == "wrong") | valid["elsewhere"]]
    rows = rows[["family", "name", "asked", "meant", "note"]].reset_index(drop=True)
    names = ["name", "asked", "meant"]
    return rows.assign(**{column: rows[column].map(_clipped) for column in names})


def releases(rules: Iterable[Rule]) -> pd.DataFrame:
    """Return which releases carry each rule.

    Args:
        rules: The rules.

    Returns:
        A row a rule: the date of its commit, the releases of LinuxKit and of the Nitro CLI that
        have it, and what it does.
    """
    rows = [
        {
            "rule": rule.name,
            "since": rule.date or "",
            "LinuxKit": _span([r.version for r in rule.releases if r.tool == "linuxkit"]),
            "Nitro CLI": _span([r.version for r in rule.releases if r.tool == "nitro-cli"]),
            "what it does": rule.summary,
        }
        for rule in rules
    ]
    return pd.DataFrame(rows, dtype=str)


def implementations(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the implementations of a survey, and how many answers each got right.

    Args:
        record: What ``make conformance`` wrote.

    Returns:
        A row an implementation; ``no answer`` counts time-outs, crashes and the like.
    """
    counted = {"pass": "right", "fail": "wrong", "allowed": "left open", "not-claimed": "not said"}
    rows = []
    for each in record["implementations"]:
        verdicts = each["verdicts"]
        rows.append(
            {key: each[key] for key in ("name", "language", "profile")}
            | {"version": each["version"] or f"skipped: {each['skipped']}"}
            | {column: verdicts.get(verdict, 0) for verdict, column in counted.items()}
            | {"no answer": sum(verdicts[key] for key in verdicts.keys() - counted.keys())}
        )
    return pd.DataFrame(rows).set_index("name").rename_axis(None)


def differing(
    record: Mapping[str, Any], cases: Iterable[Case], *, valid: bool = True
) -> pd.DataFrame:
    """Return how many names of each family each implementation reads as its profile does not.

    Args:
        record: What ``make conformance`` wrote.
        cases: The corpus that it ran over.
        valid: Whether to count valid names, or what is none and has to be refused.

    Returns:
        A row a family that has such names, and one for all; the number of its names, and a column
        an implementation that was run: those that it reads differently, refuses or leaves open.
    """
    names = pd.Series([case.family for case in cases if (case.status != "invalid") == valid])
    counts = pd.DataFrame({"names": names.value_counts().sort_index()})
    for each in record["implementations"]:
        if each["skipped"]:
            continue
        counts[each["name"]] = 0
        for finding in each["findings"]:
            if finding["valid"] == valid:
                counts.loc[finding["family"], each["name"]] += finding["answers"]
    counts.loc["all"] = counts.sum()
    return counts.rename_axis("family")


def findings(record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the ways in which implementations differ, each with its shortest text.

    Args:
        record: What ``make conformance`` wrote.

    Returns:
        A row a way: in how many answers of how many families, and of the shortest one the case's
        id and text, what is given and what is wanted.
    """
    rows = []
    for each in record["implementations"]:
        for what in dict.fromkeys(finding["what"] for finding in each["findings"]):
            alike = [finding for finding in each["findings"] if finding["what"] == what]
            shortest = min(alike, key=lambda finding: len(finding["text"]))
            rows.append(
                {
                    "implementation": each["name"],
                    "what": what,
                    "answers": sum(finding["answers"] for finding in alike),
                    "families": len(alike),
                    "case": shortest["case"],
                    "text": _clipped(printable(shortest["text"])),
                    "given": _clipped(printable(shortest["given"]), 100),
                    "wanted": _clipped(shortest["wanted"], 100),
                }
            )
    return pd.DataFrame(rows).set_index("implementation").rename_axis(None)


def _clipped(name: str, length: int = _SHOWN) -> str:
    return name if len(name) <= length else f"{name[:length]}…"


def _in_few_words(row: pd.Series) -> str:
    if pd.isna(row["asked"]):
        return "refused"
    front = str(row["asked"]).removesuffix(row["name"])
    said = f"{front}…" if front else "as typed"
    if row["verdict"] == "right":
        return f"! {said}" if row["elsewhere"] else said
    return f"✗ {said}"


def _span(versions: list[str]) -> str:
    if not versions:
        return "no release"
    return versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}"


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """Return how often each engine gave each outcome under each rule.

    Args:
        table: Look-ups.

    Returns:
        A row an engine and store, a column a rule and outcome, with counts.
    """
    return table.pivot_table(
        index=["engine", "version", "store"],
        columns=["rule", "outcome"],
        values="asked",
        aggfunc="count",
        fill_value=0,
        sort=False,
    )


def collisions(surveys: Iterable[Survey]) -> pd.DataFrame:
    """Return what became of two names on each engine, a row an engine."""
    return pd.DataFrame(
        {
            "engine": each.engine.title,
            "first": each.collision.names[0],
            "second": each.collision.names[1],
            "both kept": "yes" if each.collision.kept_apart else "no, one took the other's place",
        }
        for each in surveys
    )


def by_id(surveys: Iterable[Survey]) -> pd.DataFrame:
    """Return what each engine answers to an image's ID, a row an engine."""
    return pd.DataFrame({"engine": each.engine.title, **each.by_id} for each in surveys)


def short_names(surveys: Iterable[Survey]) -> pd.DataFrame:
    """Return what Podman answers about the short name ``foo:t``.

    Args:
        surveys: The answers of each engine.

    Returns:
        A row an engine and way to tag the image, a column a name that was asked for; empty where
        it was not, and no row where no engine is Podman.
    """
    rows = [
        {"engine": each.engine.title, "tagged": how, **said}
        for each in surveys
        for how, said in each.short_names.items()
    ]
    columns = dict.fromkeys(["engine", "tagged", *(name for row in rows for name in row)])
    return pd.DataFrame(rows, columns=list(columns), dtype=str).fillna("")
