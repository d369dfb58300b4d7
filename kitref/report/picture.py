"""The picture of a run: engines down, rules across, what each engine said in each cell."""

from __future__ import annotations

import io
import textwrap
from typing import IO, TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from kitref import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

_FACE = {
    "found": "#1b7f4d", "absent": "#b3261e", "refused": "#8a5a00", "not-asked": "#5f6368",
    "named": "#2f5d8a", "login-needed": "#8a5a00", "unreachable": "#5f6368",
}  # fmt: skip
"""White text on each has a contrast of 4.5 or more (WCAG 2.2, 1.4.3)."""

_STEPS = ("expansion", "parser", "docker", "cache", "registry")

_SHADES = (
    (0.75, "#7f1d1d", "white"),
    (0.50, "#b3261e", "white"),
    (0.25, "#f2a29b", "#3b0906"),
    (0.00, "#fbdedb", "#3b0906"),
)
"""From which share on a cell has which colour, and that of the text on it."""


def draw(matrix: pd.DataFrame, *, title: str) -> Figure:
    """Draw a matrix of outcomes.

    Args:
        matrix: What `kitref.tables.matrix` returns.
        title: The picture's title.

    Returns:
        A figure; each cell has mark and word, so that colour is never the only signal.
    """
    rules = list(matrix.columns[len(tables.ENGINE) :])
    names = [f"{row.engine}  {row.version}  {row.store}" for row in matrix.itertuples()]
    said = [[str(row[rule]) for rule in rules] for _, row in matrix.iterrows()]
    return _grid(said, names, [f"rule {rule}" for rule in rules], title=title)


def draw_steps(steps: pd.DataFrame, *, title: str) -> Figure:
    """Draw the paths of names: steps down, LinuxKits across, the outcome in each cell.

    Args:
        steps: What `kitref.tables.steps` returns.
        title: The picture's title.

    Returns:
        A figure; each cell has mark and word, and a cell is empty where a path does not come to.
    """
    heads = list(dict.fromkeys(steps["linuxkit"]))
    order = [step for step in _STEPS if step in set(steps["step"])]
    rows = [(name, step) for name in dict.fromkeys(steps["name"]) for step in order]
    outcomes = {
        (row.name, row.step, row.linuxkit): f"{tables.STEP_MARKS[str(row.outcome)]} {row.outcome}"
        for row in steps.itertuples(index=False)
    }
    said = [[outcomes.get((name, step, head), "") for head in heads] for name, step in rows]
    return _grid(said, [f"{name}  {step}" for name, step in rows], heads, title=title)


def draw_shares(counts: pd.DataFrame, *, title: str, labels: Mapping[str, str]) -> Figure:
    """Draw which share of the names of each family each rule asks for wrongly.

    Args:
        counts: What `kitref.tables.wrongly` returns.
        title: The picture's title.
        labels: What to write under a rule's name, such as the releases that carry it.

    Returns:
        A figure; each cell has its figure in words, so that colour is never the only signal.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only pictures need it
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    rules = [str(rule) for rule in counts.columns[1:]]
    size = (2.4 + 1.15 * len(rules), 1.3 + 0.27 * len(counts))
    figure = Figure(figsize=size, facecolor="white")
    axes = figure.subplots()
    for y, (_, row) in enumerate(counts.iterrows()):
        for x, rule in enumerate(rules):
            share = row[rule] / max(row["names"], 1)
            face, ink = _shade(share)
            axes.add_patch(Rectangle((x + 0.02, y + 0.05), 0.96, 0.9, color=face))
            said = _percent(share)
            axes.text(x + 0.5, y + 0.5, said, ha="center", va="center", color=ink, fontsize=9)
    axes.axhline(len(counts) - 1, color="black", linewidth=1)  # all of them stand below
    names = [f"{family}  ({n})" for family, n in counts["names"].items()]
    axes.set(xlim=(0, len(rules)), ylim=(len(names), 0))
    axes.set_xticks(
        [x + 0.5 for x in range(len(rules))],
        [
            "\n".join([*textwrap.wrap(rule, 16, break_long_words=False), labels.get(rule, "")])
            for rule in rules
        ],
        fontsize=8,
    )
    axes.set_yticks([y + 0.5 for y in range(len(names))], names, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.tight_layout()
    return figure


def shares_in_words(counts: pd.DataFrame, *, title: str) -> str:
    """Say what a picture of shares shows, for those who do not see it.

    Args:
        counts: What was drawn.
        title: The picture's title.
    """
    total = counts.iloc[-1]
    shares = (
        f"{rule} {_percent(total[rule] / max(total['names'], 1))}" for rule in total.index[1:]
    )
    return f"{title} Of {total['names']} names in {len(counts) - 1} families: {', '.join(shares)}."


def svg(figure: Figure, *, alt: str) -> str:
    """Return a figure as SVG for a notebook, the same text for the same data.

    Args:
        figure: The figure.
        alt: What the picture says, for those who do not see it.

    Returns:
        The SVG element, with the text as its title and its label.
    """
    with io.StringIO() as sink:
        _write(figure, sink, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        _, start, rest = sink.getvalue().partition("<svg ")
    attributes, end, body = rest.partition(">")
    # No wider than the page, so that no column is out of view.
    words = f'role="img" aria-label={quoteattr(alt)} style="max-width:100%;height:auto"'
    return f"{start}{words} {attributes}{end}\n <title>{escape(alt)}</title>{body}"


def save(figure: Figure, path: Path, *, alt: str) -> None:
    """Write a figure as SVG, the same bytes for the same data, with a text alternative.

    Args:
        figure: The figure.
        path: The file.
        alt: What the picture says, for those who do not see it.
    """
    _write(figure, path, metadata={"Date": None, "Title": alt, "Description": alt})


def _grid(
    said: Sequence[Sequence[str]], names: Sequence[str], heads: Sequence[str], *, title: str
) -> Figure:
    """Draw a grid of outcomes, each with its mark and word."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only pictures need it
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    figure = Figure(figsize=(3.6 + 1.7 * len(heads), 1.3 + 0.42 * len(names)), facecolor="white")
    axes = figure.subplots()
    for y, row in enumerate(said):
        for x, words in enumerate(row):
            if words:
                colour = _FACE[words.split(" ")[1]]
                axes.add_patch(Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, color=colour))
                axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", color="white")
    axes.set(
        xlim=(0, len(heads)),
        ylim=(len(names), 0),
        xticks=[x + 0.5 for x in range(len(heads))],
        yticks=[y + 0.5 for y in range(len(names))],
    )
    axes.set_xticklabels(heads)
    axes.set_yticklabels(names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.tight_layout()
    return figure


def _write(figure: Figure, sink: Path | IO[str], *, metadata: dict[str, str | None]) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    # Text stays text, so that it can be searched and read out.
    with mpl.rc_context({"svg.hashsalt": "kitref", "svg.fonttype": "none"}):
        figure.savefig(sink, format="svg", metadata=metadata)


def _shade(share: float) -> tuple[str, str]:
    """Return the colour of a cell and that of the text on it, with a contrast of 4.5 or more."""
    if share == 0:
        return "#e3efe8", "#14532d"
    return next((face, ink) for least, face, ink in _SHADES if share > least)


def _percent(share: float) -> str:
    # Neither none nor all is said of what is only nearly so.
    return f"{min(max(round(share * 100), 1), 99)} %" if 0 < share < 1 else f"{share * 100:.0f} %"
