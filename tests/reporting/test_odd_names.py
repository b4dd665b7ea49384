"""A user's names may contain anything: figures show them literally, and no page treats them as markup."""

import re
import shutil
import warnings
from itertools import product

import pandas as pd
import pytest

from benchmarks import measure_report
from harness import plots, report, status
from harness.plots.style import panels, save, shared_legend
from harness.records import paths, states, writer
from harness.records.run import Run, conclude
from harness.reporting import document, index, render
from support.fabricate import sweep
from support.helpers import rarely

NAMES = {
    "broken formula": r"$\frac{$",
    "formula": r"$x_1^2$",
    "our own formulas": r"$\mathdefault{\frac{$",
    "dollars": "$$ $ \\$",
    "markup": "<img src=x onerror=alert(1)>",
    "entity": "&lt;b&gt;",
    "link": "[a](javascript:alert(1))",
    "comment": "--><script>alert(1)</script><!--",
    "quotes": "\"' onload='x",
    "table": "a|b`c`*d*_e_",
    "percent": "50% %s %(x)s {x} {0}",
    "lines": "a\nb\r\nc\u2028d",
    "control": "a\x01b\x7f\x1b[31m",
    "long": "w" * 3000,
    "long words": "word " * 400,
    "other letters": "残差 глубина עומק عمق 🙂 é",
    "underscore first": "_nolegend_",
    "number": "1e5",
}


def named(results, key, values):
    """Write a sweep of finished runs, two of which have each of these values of a key; return its folder."""
    number = 2 * len(values) + 2
    names = measure_report.generate(results, measure_report.configs(number, depth=8, steps=12, rates=(0.1,)), [0, 1, 12], [12])
    shutil.rmtree(results / "generated")
    for value, name in zip([*values, *values], names, strict=False):
        run = Run(results / paths.RUNS / name)
        writer.write_json(run.folder / paths.CONFIG, run.config | {key: value})
        conclude(run, states.DONE, step=12, steps=12, seconds=1.0, parameters=1)
    folder = sweep(results, names).folder
    writer.write_json(folder / paths.SWEEP, {"command": f"python -m harness.run {key}={','.join(values)}", "runs": names})
    return folder


def checked(folder):
    assert report.main([str(folder)]) == 0
    html, markdown = (folder / paths.REPORT_HTML).read_text(), (folder / paths.REPORT_MARKDOWN).read_text()
    assert "could not be drawn" not in markdown
    for picture in (plots.ERROR, plots.GRADIENTS, plots.BRANCHES, plots.HEAT_MAPS):
        assert (folder / paths.FIGURES / f"{picture.name}.svg").is_file()
    script = re.sub(r"<script.*?</script>|<style.*?</style>", "", html, flags=re.DOTALL)
    prose = re.sub(r"^    .*$", "", markdown, flags=re.MULTILINE)
    assert not any(markup in page for markup in ("<img src=x", "<script>alert") for page in (script, prose))
    assert "onload='x" not in script
    assert "](javascript" not in prose
    assert not re.search(r"(?<!\\)\$", prose)
    assert "<img src=x" not in index.build(folder.parent.parent).read_text()
    assert status.main([str(folder)]) == 0


OFTEN = [("shortcut", 0), ("init", 6), ("order", 12)]
"""The key and the first of the six names of each test that is run every time."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "first"),
    [*OFTEN, *rarely(*(pair for pair in product(["shortcut", "init", "order"], [0, 6, 12]) if pair not in OFTEN))],
)
def test_any_key_may_have_any_name(key, first, tmp_path):
    checked(named(tmp_path, key, list(NAMES.values())[first : first + 6]))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_text_is_drawn_as_it_is_written(name):
    """Everywhere in a figure, ticks included; numeric ticks are still formulas."""
    figure, (left, right) = panels(1, 2)
    left.plot([1, 2], [1e-9, 1e9], label=f"shortcut={name}")
    left.set(yscale="log", title=name, xlabel=name)
    right.set_yticks([0, 1], [name, "other"])
    right.text(0.5, 0.5, name[:100])
    figure.suptitle(name[:200])
    shared_legend(figure)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(save(figure)) == {"svg", "png"}
    assert any(label.get_parse_math() for label in left.get_yticklabels())
    assert not left.title.get_parse_math()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_terminal_gets_lines_and_nothing_else(name):
    text = document.plain_table(render.frame(pd.DataFrame({"shortcut": [name, "none"], "error": [1.0, 2.0]})))
    assert len(text.split("\n")) == 3
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
