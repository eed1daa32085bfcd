"""Loss curves of the report: which are drawn where, which are told in words."""

import re
from types import SimpleNamespace

import pandas as pd

from bench.params import read_yaml
from bench.report.models import codebooks
from bench.report.training import _FAMILIES, curve, family, losses
from bench.tidy import ROW_ONLY
from tests.bench.made_up_report import ROOT, Page, keep_run, make_run, report, write_json


def history(count, every=20, **terms):
    """What a training of ``count * every`` steps logged."""
    rows = [{"step": every * (i + 1) - 1, "loss": 3 / (i + 1)} | terms for i in range(count)]
    return pd.DataFrame(rows)


def panels(html):
    """Title and origin of every plot, and the names in its legend."""
    found = []
    for figure in re.findall(r"<figure>.*?</figure>", html, re.DOTALL):
        title = re.search(r"<figcaption>(.*?) <span class=\"chip (\w+)\">", figure)
        names = re.findall(r"</svg> ([^<]*)</li>", figure)
        found.append((title[1], title[2], names))
    return found


def section(html, name):
    """One part of the page."""
    return re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)[0]


def test_every_variant_has_the_plot_of_the_table_that_it_is_trained_for():
    variants = read_yaml(ROOT / "variants.yaml")
    known = {f"{kind}/{name}" for kind in ("tokenizer", "transformer")
             for name in variants[f"{kind}s"]}  # fmt: skip
    assert {family(name) for name in known} <= set(_FAMILIES)
    for number, spec in variants["tables"].items():
        for row in spec["rows"]:
            kind = "tokenizer" if "tokenizer" in row else "transformer"
            name = row.get(kind, spec.get(kind))
            title = _FAMILIES[family(f"{kind}/{name}")]
            if "base" in name or name == "ablation" or number in ("05", "06"):
                continue  # shared by several tables
            assert f"Table {int(number)})" in title, (number, name)
            assert set(row) & set(ROW_ONLY)
    assert family("transformer/base/seed-1") == family("transformer/base")
    assert family("lifter") == "lifter" and family("tokenizer/mixed-t48") == "tokenizer/mixed-t"


def test_variants_of_a_question_share_a_plot_with_their_base():
    own = {f"transformer/{name}": history(30) for name in
           ("ablation", "ablation/seed-1", "tau-0.5-0.1", "tau-0.8-0.01", "layers-2")}  # fmt: skip
    kept = {"transformer/tau-0.5-0.1": history(75), "tokenizer/t48": history(101)}
    html = losses(own, kept, [])
    assert panels(html) == [
        ("Tokenizers by number of tokens (Table 6)", "open", []),
        ("Base of the ablations", "run", []),
        ("Temperature (Table 8)", "run", ["tau-0.5-0.1", "tau-0.8-0.01", "ablation"]),
        ("Temperature (Table 8)", "open", []),
        ("Layers (Table 16)", "run", ["layers-2", "ablation"]),
    ]
    assert "too short" not in html
    assert html.count("committed open run</td>") == 2 and html.count("this run</td>") == 5


def test_ten_curves_of_a_plot_look_different():
    own = {f"transformer/tau-{place}": history(30) for place in range(10)}
    html = losses(own, {}, [])
    line = r'stroke="var\(--(s\d)\)" stroke-width="1.4"><path d="M1 6H27"([^/]*)/>'
    lines = re.findall(line, html)
    assert len(lines) == len(set(lines)) == 10


def test_sums_of_different_terms_stand_beside_a_term_that_all_log():
    own = {"transformer/loss-pose": history(30, mask=6.0), "transformer/ablation": history(30)}
    titles = [title for title, _, _ in panels(losses(own, {}, []))]
    assert titles == ["Base of the ablations", "Losses (Table 10)",
                      "Losses (Table 10): L_mask, minimised or not"]  # fmt: skip


def test_trainings_that_are_too_short_are_told_in_words_and_not_drawn():
    own = {f"transformer/{name}": history(1, every=10) for name in ("ablation", "tau-0.5-0.1")}
    own |= {"tokenizer/t48": history(4, every=25), "transformer/base": history(5)}
    html = losses(own, {}, ["lifter/base"])
    assert [title for title, _, _ in panels(html)] == ["Base"]
    assert (
        "Of this run too short for a curve (fewer than 5 logged points): 1 tokenizer of 100 steps, "
        "2 transformers of 10 steps." in html
    )
    assert "Shipped, hence without a history here: lifter/base." in html
    alone = losses({"transformer/ablation": history(1, every=10)}, {}, [])
    assert "<svg" not in alone and "1 transformer of 10 steps" in alone
    assert "Last logged loss of 1 trainings" in alone
    assert losses({}, {}, ["transformer/base"]) == ""


def test_long_curves_are_means_of_blocks():
    name, points = curve(history(301))
    assert name == "loss" and len(points) <= 150
    assert points["value"].iloc[0] == (3 + 1.5 + 1) / 3


def test_the_page_draws_what_the_committed_run_has_kept(tmp_path):
    results, build = make_run(tmp_path / "run")
    kept = tmp_path / "open"
    keep_run(results, kept)
    page = report((results, build), tmp_path / "before", reference=kept)
    assert "open" not in {origin for _, origin, _ in panels(section(page, "training"))}
    assert len(re.findall('aria-label="share of the codebook', page)) == 1
    used = [{"codes": 2048, "tokens": 960, "used": 0.25, "perplexity": 128.0}] * 3
    measured = kept / "measured" / "evaluate-tokenizer" / "t48<i>"
    write_json(measured / "codebook.json", {"mocap": used})
    write_json(measured.with_name("t192") / "history.json", history(40).to_dict("records"))
    write_json(kept / "measured" / "evaluate" / "loss-3d" / "history.json",
               history(40).to_dict("records"))  # fmt: skip
    html = report((results, build), tmp_path / "after", reference=kept)
    drawn = [(title, origin) for title, origin, _ in panels(section(html, "training"))]
    assert ("Losses (Table 10)", "open") in drawn
    assert ("Tokenizers by number of tokens (Table 6)", "open") in drawn
    assert ("Tokenizers by number of tokens (Table 6)", "run") in drawn
    told = " ".join(str(attrs.get("aria-label")) for _, attrs in Page(html).elements)
    assert "perplexity over number of codes: t48<i> (2048) 4.858" in told  # 99.5 of 2048
    assert "chosen at all: t48<i> (2048) 25; t48<i> (2048) 25; t48<i> (2048) 25" in told
    assert '<td class="number">25.0 % of 2048</td><td class="number">128</td>' in html
    assert '<td class="number">6.2 % of 2048</td><td class="number">100</td>' in html


def test_tokenizers_whose_codes_were_not_counted_are_named():
    used = {"mocap": [{"codes": 2048, "tokens": 960, "used": 0.25, "perplexity": 128.0}]}
    run = SimpleNamespace(
        job={"names": {"mocap": "open-mocap"}},
        summary={"tokenizers": {"t48": {}}}, codebooks={"t48": used},
        reference={"tokenizers": {"t48": {}, "t<92": {}}}, kept_codebooks={"t48": used},
    )  # fmt: skip
    assert "Not counted for t&lt;92 (committed open run)." in codebooks(run)
    run.kept_codebooks = {}
    assert "Not counted" not in codebooks(run), "of no tokenizer of that run"


def test_curves_of_the_committed_run_stand_between_this_run_and_the_paper(tmp_path):
    results, build = make_run(tmp_path / "run")
    keep_run(results, tmp_path / "open")
    html = report((results, build), tmp_path / "report", reference=tmp_path / "open")
    curves = section(html, "curves")
    found = re.findall(r"<figcaption>([^<]*) <span class=\"chip (\w+)\">", curves)
    for title in (("open-wild", "open-wild", "3DPW"), ("Error",) * 3, ("Table 5",) * 3,
                  ("Table 6",) * 3):  # fmt: skip
        wanted = list(zip(title, ("run", "open", "paper")))
        assert any(found[i : i + 3] == wanted for i in range(len(found))), title
    labels = re.findall(r'aria-label="(MPJPE \(mm\) against refinement iterations[^"]*)"', curves)
    assert "open-wild: 250 at 0, 251 at 10" in labels[0]
    assert "open-wild: 243 at 0, 242 at 10" in labels[1]
    assert "3DPW: 70.5 at 0, 69.5 at 10" in labels[2]
    change = re.search(r'aria-label="(change against[^"]*)"', curves)[1]
    assert "open-wild, open run: 0 at 0, -0.4115 at 10" in change
    assert "Committed open run: not comparable: of open." in curves
