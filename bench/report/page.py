"""`python -m bench report`: one page that shows what a finished run says, beside the paper.

``results/report/index.html`` holds all it needs (styles, plots, pictures) and loads nothing. No
model is loaded, and the same results make the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bench.intervals import FEW
from bench.report import claims, own_plots, plots
from bench.report.header import banner, facts, records
from bench.report.html import details, page, picture, text
from bench.report.inputs import Run, read_run
from bench.report.models import codebooks, headline, tokenizers
from bench.report.tables import MARKS, paper_table, rerun_rows
from bench.report.training import losses
from bench.stage import whole_folder
from bench.status import claims_of_paper

Json = dict[str, Any]

# What the paper's figures show; those that a run drew appear, the others are absent.
FIGURES = {
    "figure04": "2D pose-guided refinement step by step, as Figure 4",
    "figure05": "[MASK] and decoded tokens of one image in each iteration, as Figure 5",
    "figure06": "Confidence of every token of one image after each iteration, as Figure 6",
    "figure09": "Beside the other methods of the suite, in the place of Figure 9",
    "figure10": "Challenging poses, by sampling alone, as Figure 10",
    "figure11": "The effect of 2D pose-guided refinement, as Figure 11",
    "figure12": "Failures, as Figure 12",
}
_GALLERY = (
    "images spread evenly over the test set, none chosen by its error: image, 2D detections, "
    "sampling, refined, refined from the side, ground truth from the side; MPJPE in the corner"
)


def write_report(
    job: Json, results: Path, build: Path, out: Path, reference: Path | None = None
) -> None:
    """The command: reads what a run left and writes ``index.html``.

    Args:
        job: ``build/plan/tables.json``.
        results: folder of tables, comparison, claims, figures and provenance.
        build: folder of the evaluations and models.
        out: folder of the page; replaced whole, or left as it was after an error.
        reference: results folder of a committed run of profile open, laid out as ``results``,
            whose numbers are shown beside; None for none.

    Raises:
        UserError: a file is missing or damaged; the sentence names it and its stage.
    """
    document = render(read_run(job, results, build, reference))
    with whole_folder(out) as part:
        (part / "index.html").write_text(document, encoding="utf-8")
    click.echo(f"written to {out / 'index.html'}, {len(document.encode()) / 1e6:.1f} MB")


def render(run: Run) -> str:
    """The whole document."""
    job = run.job
    parts = [
        ("short", "In short", _in_short(run)),
        ("curves", "Curves", _curves(run)),
        ("tables", "The 16 tables of the paper", _tables(run)),
        ("claims", "The claims of the paper", _claims(run)),
        ("pictures", "Pictures", _pictures(run)),
        ("training", "Training", losses(run.histories, run.kept_histories, job.get("shipped", []))),
        ("protocols", "Evaluation protocols", _protocols(run)),
        ("ran", "What ran", _ran(run)),
    ]
    parts = [(name, title, body) for name, title, body in parts if body]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    sections = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{title}</h2>\n{body}</section>\n'
        for name, title, body in parts
    )
    world = "open world" if job["source"] == "open" else "licensed data"
    title = f"GenHMR benchmark: profile {job['profile']}, {world}"
    return page(
        title,
        f"<header>\n<h1>GenHMR benchmark</h1>\n{facts(run, world)}{banner(run)}"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n'
        f"<main>\n{sections}</main>\n",
    )


def _in_short(run: Run) -> str:
    done = [rerun_rows(compared) for compared in run.tables.values()]
    some, rows = sum(n > 0 for n, _ in done), [sum(column) for column in zip(*done)]
    said = [f"{some} of {len(done)} tables rerun in whole or in part, {rows[0]} of {rows[1]} rows."]
    stated = claims_of_paper(run.claims)
    for side, whose in reversed(claims.sides(run.claims).items()):
        found = claims.counts(stated, side).items()
        listed = ", ".join(f"{n} {word}" for word, n in found)
        said.append(f"{len(stated)} claims of the paper by {whose}: {listed}.")
    body = f'<ul class="said">{"".join(f"<li>{line}</li>" for line in said)}</ul>\n'
    if "base" in run.summary:
        body += "<h3>Errors of the base model</h3>\n" + headline(run)
        body += '<p class="note">Means in millimetres, 95 % intervals by bootstrap over sequences '
        body += f"(over images where there are fewer than {FEW})."
        body += f" {_speed(run)}</p>\n"
    return body


def _speed(run: Run) -> str:
    if run.timing is None:
        return ""
    lines = {
        loop: f"{1000 * run.timing[loop]['intercept_s']:.1f} + "
        f"{1000 * run.timing[loop]['per_iteration_s']:.1f} T ms"
        for loop in ("sampling", "refinement")
    }
    backbone = 1000 * run.timing["backbone_s"]
    return (
        f"On this machine ({text(run.timing.get('device', 'unknown'))}) an image costs the "
        f"backbone {backbone:.1f} ms, T iterations of sampling {lines['sampling']} and of "
        f"refinement {lines['refinement']} (fitted lines)."
    )


def _curves(run: Run) -> str:
    groups = {
        "Sampling iterations and schedules (Tables 2 and 11)": plots.sampling(run.tables),
        "Refinement (Table 3)": plots.refinement(run.tables),
        "Mask schedules (Figure 7)": own_plots.schedules(run.masked),
        "Tokenizer: codebook and number of tokens (Tables 5 and 6)": plots.tokenizers(run.tables),
        "Tokenizer: use of the codebook": codebooks(run),
        "Images below an error": own_plots.distribution(run),
    }
    body = "".join(f"<h3>{title}</h3>\n{group}" for title, group in groups.items() if group)
    every = tokenizers(run)
    title = "Errors of every tokenizer, and use of its codes"
    return body + (details("tokenizers", title, every) if every else "")


def _tables(run: Run) -> str:
    note = "Errors in millimetres. A dash: the paper prints none, or not run."
    return f'<p class="note">{note} {MARKS}</p>\n' + "".join(
        paper_table(digits, entry, run.tables[digits]) for digits, entry in run.ledger.items()
    )


def _claims(run: Run) -> str:
    body = claims.charts(run.claims, run.ranking)
    return body + claims.listing(run.claims)


def _pictures(run: Run) -> str:
    body = []
    for name, path in run.pictures.items():
        if name.startswith("gallery-"):
            title = f"{name.removeprefix('gallery-')}: {_GALLERY}"
            body.append(picture(path, f"Gallery of {title}", title))
    for name, caption in FIGURES.items():
        if name in run.pictures:
            body.append(picture(run.pictures[name], caption, caption))
    return "".join(body)


def _protocols(run: Run) -> str:
    found = own_plots.protocols(run.scores)
    return (
        found
        and f"<p>The same predictions under every protocol they were scored with.</p>\n{found}"
    )


def _ran(run: Run) -> str:
    if not run.records:
        return ""
    return details("records", f"{len(run.records)} stages left a record", records(run))
