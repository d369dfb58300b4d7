"""The Python peers, run in a virtual environment of their own: `python peers.py PEER < NAMES`.

Standard input holds names, one a line; standard output is the mean time of a name in nanoseconds.
"""

from __future__ import annotations

import sys
import time
import timeit
from typing import Any, Final

ROUNDS = 5  # as in main.go
REFERENCE = (  # the grammar as a user would write it for an engine without possessive repetition
    r"(?:(?:[A-Za-z0-9]+(?:(?:\.|-+)[A-Za-z0-9]+)*|\[[A-Fa-f0-9:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[./_]|__|-+)[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?"
)
DOMAIN = r"^(?:localhost|[^/]*[.:A-Z][^/]*)/"
CALLS: Final = {
    "docker_image_py": (
        "Reference.parse_normalized_named(name).string()",
        "from docker_image.reference import Reference",
    ),
    "oras": ("Container(name).uri", "from oras.container import Container"),
    "docker": (
        "auth.resolve_repository_name(utils.parse_repository_tag(name)[0])",
        "from docker import auth, utils",
    ),
}
"""The peers that take one name: the call, and what has to be imported for it."""


def expanded(source: str) -> str:
    """Return the statement that expands the column `name` of a source of DuckDB's."""
    return f"""SELECT name, CASE WHEN NOT regexp_full_match(name, '{REFERENCE}') THEN NULL
        WHEN NOT contains(name, '/') THEN
          CASE WHEN length(name) = 64 AND regexp_full_match(name, '[a-f0-9]+') THEN NULL
          ELSE 'docker.io/library/' || name END
        WHEN regexp_matches(name, '{DOMAIN}') THEN name
        ELSE 'docker.io/' || name END AS asked FROM {source}"""  # noqa: S608 - nothing of a user's


def duckdb(names: Any) -> Any:  # noqa: ANN401 - Arrow
    """Expand a column of names by an SQL statement."""
    import duckdb  # noqa: PLC0415

    given = names  # noqa: F841 - DuckDB finds it by its name
    return duckdb.sql(expanded("given")).to_arrow_table()


def duckdb_files(source: str, out: str) -> None:
    """Expand the column of Parquet files into one, by the same statement."""
    import duckdb  # noqa: PLC0415

    statement = expanded(f"read_parquet('{source}')")
    duckdb.sql(f"COPY ({statement}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")


def polars(names: Any) -> Any:  # noqa: ANN401
    """Expand a column of names by expressions, streaming."""
    import polars as pl  # noqa: PLC0415

    name = pl.col("name")
    valid = name.str.contains(f"^(?:{REFERENCE})$") & ~name.str.contains("^[a-f0-9]{64}$")
    asked = (
        pl.when(~valid).then(None)
        .when(~name.str.contains("/", literal=True)).then(pl.lit("docker.io/library/") + name)
        .when(name.str.contains(DOMAIN)).then(name)
        .otherwise(pl.lit("docker.io/") + name)
    )  # fmt: skip
    return pl.from_arrow(names).lazy().select(asked.alias("asked")).collect(engine="streaming")


def one_by_one(names: list[str], call: str, setup: str) -> float:
    """Measure a call for each of some names in a loop, as main.go does.

    Args:
        names: The names.
        call: What is done with `name`, as a user writes it; a function around it would be measured
            with it, most of all where it raises.
        setup: What comes before the loop, and is not measured.

    Returns:
        The mean time of a name in nanoseconds, refusals too, the best of some rounds.
    """
    loop = f"for name in names:\n  try: {call}\n  except Exception: pass"
    setup = f"import gc; gc.enable()\n{setup}"  # timeit takes it away; Go has its own running
    rounds = timeit.repeat(loop, setup, number=1, repeat=ROUNDS, globals={"names": names})
    return min(rounds) / len(names) * 1e9


def _rows(file: str) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415

    return int(pq.ParquetFile(file).metadata.num_rows)


def main(peer: str) -> None:
    """Measure a peer."""
    if peer == "duckdb_files":
        start = time.perf_counter()
        duckdb_files(*sys.argv[2:])
        took = (time.perf_counter() - start) / _rows(sys.argv[3]) * 1e9
    elif peer in ("duckdb", "polars"):
        import pyarrow as pa  # noqa: PLC0415

        names = pa.ipc.open_file(pa.memory_map(sys.argv[2])).read_all()
        answer = globals()[peer]
        answer(names.slice(0, 1000))
        start = time.perf_counter()
        answer(names)
        took = (time.perf_counter() - start) / len(names) * 1e9
    else:
        took = one_by_one(sys.stdin.read().split("\n"), *CALLS[peer])
    sys.stdout.write(f"{took}\n")


if __name__ == "__main__":
    main(sys.argv[1])
