"""The picture of a run: engines down, rules across, what each engine said in each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kitref import tables

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure

_FACE = {"found": "#1b7f4d", "absent": "#b3261e", "refused": "#8a5a00", "not-asked": "#5f6368"}
"""White text on each has a contrast of 4.5 or more (WCAG 2.2, 1.4.3)."""


def draw(matrix: pd.DataFrame, *, title: str) -> Figure:
    """Draw a matrix of outcomes.

    Args:
        matrix: What `kitref.tables.matrix` returns.
        title: The picture's title.

    Returns:
        A figure; each cell has mark and word, so that colour is never the only signal.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import, and only pictures need it
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    rules = list(matrix.columns[len(tables.ENGINE) :])
    names = [f"{row.engine}  {row.version}  {row.store}" for row in matrix.itertuples()]
    figure = Figure(figsize=(3.6 + 1.7 * len(rules), 1.3 + 0.42 * len(names)), facecolor="white")
    axes = figure.subplots()
    for y, (_, row) in enumerate(matrix.iterrows()):
        for x, rule in enumerate(rules):
            said = str(row[rule])
            axes.add_patch(
                Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, color=_FACE[said.split(" ")[1]])
            )
            axes.text(x + 0.5, y + 0.5, said, ha="center", va="center", color="white")
    axes.set(
        xlim=(0, len(rules)),
        ylim=(len(names), 0),
        xticks=[x + 0.5 for x in range(len(rules))],
        yticks=[y + 0.5 for y in range(len(names))],
    )
    axes.set_xticklabels([f"rule {rule}" for rule in rules])
    axes.set_yticklabels(names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.tight_layout()
    return figure


def save(figure: Figure, path: Path, *, alt: str) -> None:
    """Write a figure as SVG, the same bytes for the same data, with a text alternative.

    Args:
        figure: The figure.
        path: The file.
        alt: What the picture says, for those who do not see it.
    """
    import matplotlib as mpl  # noqa: PLC0415

    # Text stays text, so that it can be searched and read out.
    with mpl.rc_context({"svg.hashsalt": "kitref", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Title": alt, "Description": alt})
