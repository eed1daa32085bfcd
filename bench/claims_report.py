"""`python -m bench claims`: a verdict on every claim, from the paper's tables and from the rerun.

Writes ``claims.csv`` (a line a claim), ``ranking.csv`` (Kendall's tau between reported and rerun
order of the rows, table by table) and ``claims.tex``; with what the committed run of profile open
says of the same beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from bench.claims import Cell, Ledger, comparisons, read_claims
from bench.kept import attach_order, attach_verdicts, read_kept_claims
from bench.keys import clip_of, sequence_of
from bench.stage import whole_folder
from bench.status import JUDGES, METRICS, NOT_RUN, seed_spreads, trained_alike
from bench.tidy import ROW_ONLY, Rerun, model_of, read_rerun, samples
from bench.verdicts import Measured, Samples, combine, judge_reported, judge_rerun

Json = dict[str, Any]


def rerun_samples(variants: Json, job: Json, rerun: Rerun) -> Measured:
    """Looks up what a rerun measured for a cell of the paper, image by image.

    Args:
        variants: content of variants.yaml.
        job: ``build/plan/tables.json``.
        rerun: see ``bench.tidy.read_rerun``.

    Returns:
        A function of a cell; it returns words where the cell has no rerun that may rank.
    """
    roles = {entry["kind"]: role for role, entry in variants["datasets"].items()}
    spreads: dict[str, dict[tuple[str, str], float]] = {}  # by model, once each

    def measured(cell: Cell) -> Samples | str:
        kind, _, metric = cell.column.partition("_")
        if metric not in METRICS or kind not in roles:
            return "times are one number a setting, without an interval"
        spec = variants["tables"].get(cell.table, {"rows": []})
        wanted = dict(cell.keys)
        rows = [r for r in spec["rows"] if wanted.items() <= r.items()]
        if len(rows) != 1:
            return f"table {int(cell.table)} has no rerun of {cell}"
        row, role = rows[0], roles[kind]
        model = model_of(row, spec, job)
        if model in job["skipped"]:
            return f"{model} was {job['skipped'][model]}"
        if model in job["short"]:
            return f"{model} was trained too briefly to rank"
        found = samples(row, model, role, rerun)
        if found is None or found.empty:
            return f"{cell} was not evaluated on {job['names'][role]}"
        values = found.groupby("key", sort=False)[metric].mean()  # over the seeds
        values[found.loc[found[metric].isna(), "key"].unique()] = np.nan  # pandas leaves it out
        group = clip_of if "tokenizer" in row else sequence_of
        sequences = pd.Series([group(key) for key in values.index], index=values.index)
        steps = job["steps"].get(model)
        training = "shipped weights" if model in job["shipped"] else f"{steps} training steps"
        if model not in spreads:
            alike = trained_alike(rerun.images, rerun.poses, model)
            spreads[model] = seed_spreads(alike, pairs=True)
        spread = spreads[model].get((role, metric))
        return Samples(values, sequences, training, model, spread)

    return measured


def judge(claims: list[Json], ledger: Ledger, measured: Measured, seed: int = 0) -> pd.DataFrame:
    """A line a claim: ``id, table, statement, kind, paper, paper_detail, rerun, rerun_detail``."""
    lines = []
    for claim in claims:
        parts = comparisons(claim, ledger)
        paper = combine([judge_reported(part, ledger) for part in parts])
        rerun = combine([judge_rerun(part, measured, len(parts), seed) for part in parts])
        lines.append(
            {
                **{name: claim[name] for name in ("id", "table", "statement", "kind")},
                "paper": paper.verdict,
                "paper_detail": paper.detail,
                "rerun": rerun.verdict,
                "rerun_detail": rerun.detail,
            }
        )
    return pd.DataFrame(lines)


def ranking(variants: Json, ledger: Ledger, measured: Measured) -> pd.DataFrame:
    """Kendall's tau between the paper's order of a table's rows and the rerun's.

    Returns:
        ``table, column, rows, tau, p`` where at least three rows were rerun; 1 is the same order,
        0 none, -1 the reverse; ``p`` of no relation.
    """
    lines = []
    for number, spec in variants["tables"].items():
        keys = [
            {name: value for name, value in row.items() if name not in ROW_ONLY}
            for row in spec["rows"]
        ]
        for column in ledger.table(number).columns:
            if not column.endswith(("mpjpe", "mve")):
                continue
            cells = [Cell(number, tuple(key.items()), column) for key in keys]
            found = [(ledger.value(cell), measured(cell)) for cell in cells]
            pairs = [(paper, own.values.mean()) for paper, own in found if not isinstance(own, str)]
            if len(pairs) < 3:
                continue
            reported, rerun = np.array(pairs).T
            tau = kendalltau(reported, rerun)
            lines.append(
                {
                    "table": number,
                    "column": column,
                    "rows": len(pairs),
                    "tau": round(float(tau.statistic), 3),
                    "p": round(float(tau.pvalue), 4),
                }
            )
    return pd.DataFrame(lines, columns=["table", "column", "rows", "tau", "p"])


def _escape(text: str) -> str:
    for sign in ("\\", "&", "%", "_", "#", "$"):
        text = text.replace(sign, "\\textbackslash{}" if sign == "\\" else f"\\{sign}")
    return text


def latex(verdicts: pd.DataFrame, source: str) -> str:
    """The verdicts as a standalone LaTeX document with booktabs rules."""
    heads = {"paper": "own numbers", "open_run": "open run", "rerun": "rerun"}
    sides = [name for name in heads if name in verdicts]
    rows = "\n".join(
        " & ".join(
            [str(int(line["table"])), _escape(line["statement"]), *(line[side] for side in sides)]
        )
        + " \\\\"
        for line in verdicts.to_dict("records")
    )
    head = " & ".join(["Table", "Claim", *(heads[side] for side in sides)])
    beside = " Open run: the committed run of profile open." if "open_run" in sides else ""
    return (
        "\\documentclass{article}\n\\usepackage[a4paper,margin=2cm]{geometry}\n"
        "\\usepackage{booktabs,longtable}\n\\begin{document}\\small\n"
        f"\\begin{{longtable}}{{rp{{{'8.6' if len(sides) > 2 else '10'}cm}}{'l' * len(sides)}}}\n"
        f"\\toprule\n{head} \\\\\n\\midrule\\endhead\n{rows}\n\\bottomrule\n\\end{{longtable}}\n"
        "\\noindent Own numbers: what the paper's table says of its text. Rerun: 95\\,\\% paired "
        f"bootstrap over sequences; {_escape(source)}.{beside}\n\\end{{document}}\n"
    )


def write_claims(
    variants: Json, job: Json, build: Path, reported: Path, out: Path, kept: Path | None = None
) -> None:
    """The command: judges, prints a count of verdicts and what contradicts, writes ``out``.

    Args:
        variants: content of variants.yaml.
        job: ``build/plan/tables.json``.
        build: folder with the per-image metrics.
        reported: folder of the paper's tables and of ``claims.yaml``.
        out: folder to write; replaced whole.
        kept: ``results/open``, whose verdicts are set beside where there are any; None for none.

    Raises:
        UserError: a table, a claim, the metrics or the kept verdicts are missing or damaged.
    """
    ledger = Ledger(reported)
    measured = rerun_samples(variants, job, read_rerun(build, variants, job))
    verdicts = judge(read_claims(reported / "claims.yaml"), ledger, measured)
    order = ranking(variants, ledger, measured)
    if kept is not None and (beside := read_kept_claims(kept)) is not None:
        verdicts, order = attach_verdicts(verdicts, beside[0]), attach_order(order, beside[1])
    world = "open world" if job["source"] == "open" else "licensed data"
    source = f"profile {job['profile']}, {world}"
    with whole_folder(out) as part:
        verdicts.to_csv(part / "claims.csv", index=False)
        order.to_csv(part / "ranking.csv", index=False)
        (part / "claims.tex").write_text(latex(verdicts, source))
    click.echo(f"{len(verdicts)} claims; {source}")
    for side, what in JUDGES.items():
        if side not in verdicts:
            continue
        counts = verdicts[side].value_counts()
        click.echo(f"  {what}: " + ", ".join(f"{n} {v}" for v, n in counts.items()))
    for line in verdicts[verdicts["rerun"] != NOT_RUN].itertuples():
        click.echo(f"  {line.rerun:12s} {line.id}: {line.statement}")
    click.echo(f"written to {out}")
