"""The command line: every stage of dvc.yaml is one of these commands, and runs without DVC too.

python -m bench plan
python -m bench data wild
python -m bench train-tokenizer base
"""

from __future__ import annotations

import os

# One thread unless the caller says otherwise, and set before torch is imported: at these sizes a
# second thread gains little, and where something else runs too, two threads that spin while they
# wait for each other are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import sys

from bench.preloaded import run_forwarded

# Before anything else is loaded: a stage that another process runs needs no more than this.
if __name__ == "__main__" and (code := run_forwarded(sys.argv[1:])) is not None:
    sys.exit(code)

from pathlib import Path
from typing import Any

import click

from bench.ending import run_to_end
from bench.jobs import BUILD, PROVENANCE, RESULTS, left_out, read_job
from bench.params import read_yaml
from bench.plan import build_jobs, write_plan
from bench.plan_checks import read_variants
from bench.provenance import describe, recorded
from genhmr.types import UserError

# What torchrun may start: of the others every process would do, and overwrite, the whole work.
SHARED = ("pretrain", "train-lifter", "train-transformer")


class Bench(click.Group):
    """A click group that turns bad input into one sentence and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except UserError as error:
            click.echo(f"bench: {error}", err=True)
            sys.exit(2)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and name not in SHARED:
            raise UserError(f"'{name}' runs in one process: start it without torchrun.")
        return name, command, rest


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """GenHMR benchmark and ablation suite; see README.md."""


@cli.command()
@click.option("--profile", help="print what that profile would cost, and plan nothing")
@click.option("--source", type=click.Choice(["open", "licensed"]),
              help="of the data in that cost: licensed for profile paper, which is made for "
                   "nothing else, and for the others what params.yaml says, unless given here")
def plan(profile: str | None, source: str | None) -> None:
    """Merge params.yaml, variants.yaml and the profile into one JSON per job."""
    from bench.forecast import forecast
    from bench.forecast_text import headline, table

    params, variants = read_yaml(Path("params.yaml")), read_yaml(Path("variants.yaml"))
    if source and not profile:
        raise UserError("--source says what --profile is printed for: edit data.source of "
                        "params.yaml to plan other data.")  # fmt: skip
    if profile:
        params = params | {"profile": profile}
        if source := source or ("licensed" if profile == "paper" else None):
            params["data"] = params["data"] | {"source": source}
    jobs = build_jobs(params, variants)
    lines = forecast(jobs)
    if not profile:
        write_plan(jobs, BUILD / "plan")
    click.echo(headline(params, variants, jobs, lines))
    if profile:
        click.echo(table(lines))


@cli.command()
@click.argument("role")
def data(role: str) -> None:
    """Prepare one data set: generate it (open world) and write its shards."""
    job = read_job("data", role)
    if job["optional"] and not Path(job["raw"]).is_dir() and left_out(
        {"skip": f"{job['raw']} is missing, and only some variants are trained on {job['name']}"},
        BUILD / "data" / role,
        f"data-{role}",
    ):
        return
    from bench.data import prepare

    with recorded(PROVENANCE, "data", job, role):
        prepare(job, BUILD / "data" / role)


@cli.command()
@click.argument("group", type=click.Choice(["world", "motion", "images"]))
def inputs(group: str) -> None:
    """Note what goes into each job of a group, as one small file that DVC compares."""
    from bench.inputs import write_inputs

    count = write_inputs(group, BUILD)
    click.echo(f"inputs of {count} jobs in {BUILD / 'inputs'}")


@cli.command()
def pretrain() -> None:
    """Pre-train the ViT backbone on rendered people, or export the shipped one."""
    from bench.backbone import make_backbone

    job = read_job("backbone", "base")
    scratch = BUILD / "scratch" / "backbone"
    with recorded(PROVENANCE, "pretrain", job, scratch=scratch):
        make_backbone(job, BUILD / "models" / "backbone", scratch)


@cli.command("train-lifter")
def train_lifter() -> None:
    """Train the lifter that the models' guides start with, or take the shipped one."""
    job, out = read_job("lifter", "base"), BUILD / "models" / "lifter"
    if left_out(job, out, "train-lifter"):
        return
    from bench.lifter import make_lifter

    scratch = BUILD / "scratch" / "lifter"
    with recorded(PROVENANCE, "train-lifter", job, scratch=scratch):
        make_lifter(job, BUILD / "data", out, scratch)


@cli.command("train-tokenizer")
@click.argument("name")
def train_tokenizer(name: str) -> None:
    """Train one pose tokenizer, or export the shipped one."""
    job, out = read_job("tokenizer", name), BUILD / "models" / "tokenizer" / name
    if left_out(job, out, f"train-tokenizer-{name}"):
        return
    from bench.seeds import KeptSeeds
    from bench.tokenizers import make_tokenizer

    scratch = BUILD / "scratch" / "tokenizer" / name
    with recorded(PROVENANCE, "train-tokenizer", job, name, scratch) as also:
        kept = KeptSeeds("tokenizer", job, BUILD, scratch)
        make_tokenizer(job, BUILD, out, scratch, kept)
        also |= {"taken": kept.taken} if kept.taken else {}


@cli.command("train-transformer")
@click.argument("name")
def train_transformer(name: str) -> None:
    """Train one image-conditioned masked transformer, or export the shipped one."""
    job, out = read_job("transformer", name), BUILD / "models" / "transformer" / name
    if left_out(job, out, f"train-transformer-{name}",
                (BUILD / "data" / role for role in job.get("train_on", ()))):  # fmt: skip
        return
    from bench.seeds import KeptSeeds
    from bench.transformers import make_transformer

    scratch = BUILD / "scratch" / "transformer" / name
    with recorded(PROVENANCE, "train-transformer", job, name, scratch) as also:
        kept = KeptSeeds("transformer", job, BUILD, scratch)
        make_transformer(job, BUILD, out, scratch, kept)
        also |= {"taken": kept.taken} if kept.taken else {}


@cli.command("evaluate-tokenizer")
@click.argument("name")
def evaluate_tokenizer(name: str) -> None:
    """Score one tokenizer's reconstruction, pose by pose."""
    job, out = read_job("evaluate-tokenizer", name), BUILD / "evaluate-tokenizer" / name
    if left_out(job, out, f"evaluate-tokenizer-{name}"):
        return
    from bench.evaluate_tokenizer import score_tokenizer

    with recorded(PROVENANCE, "evaluate-tokenizer", job, name):
        score_tokenizer(job, BUILD / "models" / "tokenizer" / name, BUILD / "data", out)


@cli.command()
@click.argument("name")
def evaluate(name: str) -> None:
    """Score one trained model under all its inference settings, image by image."""
    job, out = read_job("evaluate", name), BUILD / "evaluate" / name
    if left_out(job, out, f"evaluate-{name}", [BUILD / "models" / "transformer" / name]):
        return
    from bench.evaluate import score_model
    from bench.inputs import inputs_of

    trained, scratch = read_job("transformer", name), BUILD / "scratch" / "evaluate" / name
    jobs = {f"evaluate/{name}.json": job, f"transformer/{name}.json": trained}
    made_from = inputs_of("evaluate", name, jobs, BUILD) | {"packages": describe()["packages"]}
    with recorded(PROVENANCE, "evaluate", job, name):
        score_model(job, trained, BUILD, out, scratch, made_from)


@cli.command()
def tables() -> None:
    """Write the tables, the comparison with the paper and the summary."""
    from bench.tables import write_tables

    variants, job = read_variants(Path("variants.yaml")), read_job("tables")
    with recorded(PROVENANCE, "tables", job):
        write_tables(variants, job, BUILD, Path("bench/reported"), RESULTS)


@cli.command()
def claims() -> None:
    """Judge the paper's claims by its own tables and by the rerun."""
    from bench.claims_report import write_claims

    variants, job = read_variants(Path("variants.yaml")), read_job("tables")
    reported, out, kept = Path("bench/reported"), RESULTS / "claims", RESULTS / "open"
    with recorded(PROVENANCE, "claims", job):
        write_claims(variants, job, BUILD, reported, out, kept)


@cli.command()
def figures() -> None:
    """Draw the galleries and Figures 4 to 7 and 9 to 12 of the paper from our own runs."""
    from bench.figures import draw_figures

    job = read_job("tables")
    with recorded(PROVENANCE, "figures", job):
        draw_figures(job, BUILD / "evaluate" / "base", RESULTS)


@cli.command()
def report() -> None:
    """Write one page that shows what this run says, beside the paper."""
    from bench.kept import NUMBERS
    from bench.report.page import write_report

    job, kept = read_job("tables"), RESULTS / "open"
    reference = kept if (kept / NUMBERS).exists() else None
    with recorded(PROVENANCE, "report", job):
        write_report(job, RESULTS, BUILD, RESULTS / "report", reference)


@cli.command()
@click.option("--drop", is_flag=True, help="let go what was kept with other settings or data")
def keep(drop: bool) -> None:
    """Add a finished run of profile open, or some models of it, to results/open; then commit it."""
    from bench.keep import keep as add

    params, variants = read_yaml(Path("params.yaml")), read_yaml(Path("variants.yaml"))
    kept = add(params, variants, BUILD, Path("bench/reported"), RESULTS, drop)
    click.echo(f"{len(kept)} models in {RESULTS / 'open'}: commit it")


@cli.command()
def ship() -> None:
    """Make a finished base of profile open the shipped weights; then commit them."""
    from bench.plan_models import SHIPPED
    from bench.ship import ship as export

    params, variants = read_yaml(Path("params.yaml")), read_yaml(Path("variants.yaml"))
    size = export(build_jobs(params, variants), BUILD, PROVENANCE, Path(SHIPPED))
    click.echo(f"{size / 1e6:.1f} MB of weights in {SHIPPED}: commit them, and edit their card")


@cli.command()
@click.argument("cell")
def explain(cell: str) -> None:
    """Walk a number back to what made it: 2:5:3dpw:mpjpe, 11:cosine,5:emdb:mve, 2:5:aiti."""
    from bench.explain import explain as walk
    from bench.pipeline import read_pipeline

    variants, pipeline = read_variants(Path("variants.yaml")), read_pipeline(Path("dvc.yaml"))
    click.echo(walk(cell, variants, pipeline, BUILD, RESULTS))


@cli.command()
def doctor() -> None:
    """Say what is installed and which data are here, and what cannot run without the rest."""
    from bench.doctor import examine, report
    from bench.pipeline import read_pipeline

    params, variants = read_yaml(Path("params.yaml")), read_yaml(Path("variants.yaml"))
    pipeline = read_pipeline(Path("dvc.yaml"))
    text, able = report(examine(Path("datasets"), params, variants, pipeline))
    click.echo(text)
    sys.exit(0 if able else 1)


@cli.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, help="3dpw, emdb, h36m, or an open set such as open-wild")
@click.option("--protocol", "protocols", multiple=True, default=("genhmr",), show_default=True,
              help="a preset, repeatable, or all")
@click.option("--against", type=click.Path(path_type=Path), help="a second file, compared in pairs")
@click.option("--joints", help="what the column `joints` holds, for example h36m14")
@click.option("--also", "extras", multiple=True, type=click.Choice(["pa_mve", "accel", "pck"]),
              help="further metrics, repeatable: PA-MVE, acceleration error, 2D PCK")
@click.option("--out", type=click.Path(path_type=Path), help="folder of the result")
def score(
    predictions: Path,
    dataset: str,
    protocols: tuple[str, ...],
    against: Path | None,
    joints: str | None,
    extras: tuple[str, ...],
    out: Path | None,
) -> None:
    """Score the predictions of any method under named protocols (docs/predictions.md)."""
    from bench.score_report import run

    target = out or RESULTS / "scores" / f"{predictions.stem}-{dataset}"
    run(predictions, dataset, protocols, against, joints, extras, target)


if __name__ == "__main__":
    run_to_end(lambda: cli(prog_name="python -m bench"))
