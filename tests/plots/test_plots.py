"""Figures in a page, tested without a browser: embedded tables, tags of runs, alt text, colours."""

import base64
import gzip
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness import plots
from harness.analysis.tables import Tables
from harness.plots.alt_text import describe
from harness.plots.branches import branch_over_input
from harness.plots.errors import error_against, error_by_arm
from harness.plots.run_tags import runs_in
from harness.plots.style import save
from harness.reporting import embedded_tables, svg

RUNS = pd.DataFrame(
    {
        "run": ["plain-20-aa", "plain-110-bb", "residual-20-cc", "residual-110-dd"],
        "x": [20, 110, 20, 110],
        "arm": ["shortcut=none"] * 2 + ["shortcut=identity"] * 2,
        "seed": 0,
        "status": ["done", "diverged", "done", "done"],
        "train_error": [10.0, 90.0, 5.0, np.nan],
        "test_error": [12.0, 90.0, 8.0, 7.5],
    }
)


def unpacked(text):
    return pd.read_csv(io.StringIO(gzip.decompress(base64.b64decode(text)).decode()))


def layers(runs, count=110):
    """Return a gradient norm for each layer of `runs` runs of one arm; that of run r is r."""
    run = np.repeat(np.arange(runs), count)
    table = {"arm": "s", "x": count, "moment": "m", "layer": np.tile(np.arange(count), runs), "run": run, "seed": run}
    return pd.DataFrame(table).assign(grad_norm=run.astype(float))


def test_embedded_tables_have_seven_digits():
    frame = pd.DataFrame({"run": ["a", 'b,"c"'], "grad_norm": [1.23456789e-30, np.inf], "net": [object(), object()]})
    assert embedded_tables.pack(frame) == embedded_tables.pack(frame.copy())
    read = unpacked(embedded_tables.pack(frame))
    assert list(read) == ["run", "grad_norm"]
    assert read["run"].tolist() == ["a", 'b,"c"']
    assert read["grad_norm"].tolist() == [1.234568e-30, np.inf]


def test_long_tables_are_embedded_as_summaries_over_seeds_and_longer_ones_not_at_all():
    few = layers(3)
    assert embedded_tables.shorten("layers", few, "median") == ("layers", few)
    name, short = embedded_tables.shorten("layers", layers(401), "median")
    assert name == "layers-medians"
    assert len(short) == 110
    assert set(short["grad_norm"]) == {200.0}
    assert embedded_tables.shorten("epochs", layers(401), plots.EPOCHS.summary)[0] == "epochs-means"
    assert embedded_tables.shorten("layers", layers(1, embedded_tables.MAX_ROWS + 1), "median") is None


def test_embedded_maps_keep_the_first_and_the_last_of_many_probed_steps():
    steps = np.arange(300)
    norms = pd.DataFrame({"step": np.repeat(steps, 500), "layer": np.tile(np.arange(500), 300), "grad_norm": 1.0})
    kept = embedded_tables.thin_out(norms.assign(run="r", arm="s", x=500, seed=0))
    assert 0.9 * embedded_tables.MAX_NORMS < len(kept) <= embedded_tables.MAX_NORMS
    assert (kept["step"].min(), kept["step"].max()) == (0, 299)
    assert kept.groupby("step").size().unique().tolist() == [500]


@pytest.mark.parametrize("draw", [error_against, error_by_arm])
def test_every_dot_and_line_is_tagged_with_its_runs(draw):
    drawing = save(next(draw(RUNS, "depth")))["svg"].decode()
    assert runs_in(drawing) == {"aa", "bb", "cc", "dd"}
    groups = re.findall(r'<g data-dots="([^"]*)">(.*?)\n   </g>', drawing, flags=re.DOTALL)
    assert len(groups) >= 4
    assert all(len(runs.split()) == content.count("<use ") for runs, content in groups)


def test_alt_text():
    words = describe(next(error_against(RUNS, "depth")))
    assert words.startswith("2 panels. Horizontal: depth (weighted layers), 20 to 110. Vertical: error at the end (%), 5 to 90.")
    assert "Lines: shortcut=none, diverged, shortcut=identity." in words
    assert "none 12.0 → 90.0 %, identity 8.0 → 7.5 %" in words


def brightness(colour):
    """Return the relative luminance of a colour RRGGBB (WCAG 2.1)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_dark_pages_swap_paper_and_ink_and_keep_the_contrast_of_lines():
    assert svg.dark_counterpart("ffffff") == svg.PAPER
    assert svg.dark_counterpart("000000") == svg.INK
    for colour in ("0072b2", "d55e00", "009e73", "cc79a7", "e69f00", "56b4e9", "471365", "287c8e", "6ece58"):
        contrast = (brightness(svg.dark_counterpart(colour)) + 0.05) / (brightness(svg.PAPER) + 0.05)
        assert contrast >= 3  # WCAG 2.1, 1.4.11: graphics


def test_one_over_root_l_is_drawn_for_several_depths():
    """The committed demo: 20, 56 and 110 layers, of which theory knows the residual ones."""
    finding = Path(__file__).resolve().parents[2] / "results" / "findings" / "2026-11-23-demo"
    (figure,) = branch_over_input(Tables(finding).branches, "depth")
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_label() == "1/sqrt(l)"]
    assert line.get_xdata()[-1] == 54  # blocks of 110 layers
    assert line.get_ydata()[3] == 0.5
