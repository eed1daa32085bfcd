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
from bench.intervals import median_end
from bench.kept import attach_order, attach_verdicts, read_kept_claims
from bench.keys import clip_of, sequence_of
from bench.ledger import AITI
from bench.stage import whole_folder
from bench.status import (
    DERIVED,
    DIRECTION,
    JUDGES,
    NOT_RUN,
    SUPPORTED,
    WHOLE,
    claims_of_paper,
    in_direction,
)
from bench.tidy import ROW_ONLY, Rerun, chances_in, model_of, read_rerun, samples
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
    chances = chances_in(rerun)

    def measured(cell: Cell) -> Samples | str:
        kind, _, metric = cell.column.partition("_")
        spec = variants["tables"].get(cell.table, {"rows": []})
        wanted = dict(cell.keys)
        rows = [r for r in spec["rows"] if wanted.items() <= r.items()]
        if len(rows) != 1:
            return f"table {int(cell.table)} has no rerun of {cell}"
        row = rows[0]
        model = model_of(row, spec, job)
        if model in job["skipped"]:
            return f"{model} was {job['skipped'][model]}"
        if cell.column == AITI:
            return _rounds(row, model, rerun)
        role = roles[kind]
        if model in job["short"]:
            return f"{model} was trained too briefly to rank"
        found = samples(row, model, role, rerun)
        if found is None or found.empty:
            return f"{cell} was not evaluated on {job['names'][role]}"
        if "seed" in found:
            values = found.pivot(index="key", columns="seed", values=metric)
        else:
            values = found.set_index("key")[[metric]]
        # A diverged image is no number, whatever it is in the other seeds.
        values = values.mask(values.isna().any(axis=1)).sort_index()
        group = clip_of if "tokenizer" in row else sequence_of
        sequences = pd.Series([group(key) for key in values.index], index=values.index)
        steps = job["steps"].get(model)
        training = "shipped weights" if model in job["shipped"] else f"{steps} training steps"
        chance = chances(model, row).get((role, metric))
        what = f"{metric} on {job['names'][role]}"
        return Samples(values, sequences, training, model, what, chance)

    return measured


def _rounds(row: Json, model: str, rerun: Rerun) -> Samples | str:
    """The rounds that an AITI is the median of, in milliseconds; words where they tell nothing."""
    time = rerun.timed(row, model)
    if time is None:
        return f"{model} was not timed"
    if not time.rounds:
        return f"{model} was timed without keeping the rounds"
    if np.isnan(median_end(np.array(time.rounds), 0.025)):
        return f"{model} was timed too few times for an interval, {len(time.rounds)}"
    values = pd.DataFrame({"seconds": time.rounds}) * 1000
    # Only what took turns is compared: the times of one model.
    alike = f"times of {model}"
    return Samples(values, pd.Series(values.index), alike, model, "AITI in ms", timed=True)


def judge(claims: list[Json], ledger: Ledger, measured: Measured, seed: int = 0) -> pd.DataFrame:
    """A line a claim.

    Args:
        claims: see :func:`bench.claims.read_claims`.
        ledger: the paper's tables.
        measured: what was rerun.
        seed: of the draws.

    Returns:
        ``id, table, statement, kind, origin`` ("stated" by the paper or "derived" from what it
        does), ``where`` it stands, ``quote`` (the paper's words; "" of what its tables alone say),
        ``judged`` ("whole", or "direction" where the paper states a size, of which a rerun
        can only confirm the sign), ``paper, paper_detail, rerun, rerun_detail``.
    """
    lines = []
    for claim in claims:
        parts = comparisons(claim, ledger)
        paper = combine([judge_reported(part, ledger) for part in parts])
        rerun = combine([judge_rerun(part, measured, len(parts), seed) for part in parts])
        lines.append(
            {
                **{name: claim[name] for name in ("id", "table", "statement", "kind", "origin")},
                "where": claim["where"],
                "quote": claim.get("quote", ""),
                "judged": DIRECTION if any(part.size for part in parts) else WHOLE,
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
        ``table, column, rerun_on, rows, tau, p`` where at least three rows were rerun: the
        paper's column and what stands in for it, Kendall's tau (1 is the same order, 0 none, -1
        the reverse) and ``p`` of no relation.
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
            pairs = [(paper, own) for paper, own in found if not isinstance(own, str)]
            if len(pairs) < 3:
                continue
            reported = [paper for paper, _ in pairs]
            rerun = [own.values.to_numpy().mean() for _, own in pairs]
            tau = kendalltau(reported, rerun)
            lines.append(
                {
                    "table": number,
                    "column": column,
                    "rerun_on": pairs[0][1].what,
                    "rows": len(pairs),
                    "tau": round(float(tau.statistic), 3),
                    "p": round(float(tau.pvalue), 4),
                }
            )
    return pd.DataFrame(lines, columns=["table", "column", "rerun_on", "rows", "tau", "p"])


def _escape(text: str) -> str:
    for sign in ("\\", "&", "%", "_", "#", "$"):
        text = text.replace(sign, "\\textbackslash{}" if sign == "\\" else f"\\{sign}")
    return text


def latex(verdicts: pd.DataFrame, source: str) -> str:
    """The verdicts as a standalone LaTeX document with booktabs rules."""
    heads = {"paper": "own numbers", "open_run": "open run", "rerun": "rerun"}
    sides = [name for name in heads if name in verdicts]

    def word(line: Json, side: str) -> str:
        mark = "$^{d}$" if side != "paper" and in_direction(line, line[side]) else ""
        return f"{line[side]}{mark}"

    rows = "\n".join(
        " & ".join(
            [
                str(int(line["table"])),
                _escape(line["statement"]) + ("$^{o}$" if line["origin"] == DERIVED else ""),
                *(word(line, side) for side in sides),
            ]
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
        f"bootstrap over sequences, of times the sign test over rounds; {_escape(source)}."
        f"{beside} Between rows of one model a verdict is of the trainings that ran, "
        "often one: another seed may tell otherwise. "
        "$^{d}$ The sign of a stated size, which alone a rerun can confirm. "
        "$^{o}$ Our own reading or check, not counted as the paper's claim.\n\\end{document}\n"
    )


def count(verdicts: pd.DataFrame, side: str) -> str:
    """How many claims of the paper have each verdict by one side; our own checks apart."""
    stated = claims_of_paper(verdicts)
    told = {verdict: f"{n} {verdict}" for verdict, n in stated[side].value_counts().items()}
    signs = sum(in_direction(line, line[side]) for line in stated.to_dict("records"))
    if side != "paper" and signs:
        told[SUPPORTED] += f" ({signs} of them in direction alone)"
    return ", ".join(told.values())


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
    stated = len(claims_of_paper(verdicts))
    own = len(verdicts) - stated
    click.echo(f"{stated} claims of the paper and {own} checks of our own; {source}")
    for side, what in JUDGES.items():
        if side in verdicts:
            click.echo(f"  {what}: {count(verdicts, side)}")
    for line in verdicts[verdicts["rerun"] != NOT_RUN].itertuples():
        beside = f" (open run: {line.open_run})" if "open_run" in verdicts else ""
        click.echo(f"  {line.rerun:12s} {line.id}: {line.statement}{beside}")
    for table, own in order.groupby("table")["tau"]:
        if own.notna().any():
            ends = f"{own.min():+.2f} to {own.max():+.2f}" if len(own) > 1 else f"{own.min():+.2f}"
            click.echo(f"  Kendall's tau of table {int(table)}: {ends}")
    click.echo(f"written to {out}")
