"""The lab's chapters, and the files of its pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness import layout, records
from harness.config import RunConfig, available_cores
from harness.devices import exactly
from harness.lab import bottleneck, depth, hand, inference, mistakes, norms, page, toy, variants
from harness.lab.contents import Chapter, Chart, said
from harness.lab.runs import SCHEDULE, SEEDS, Plan, Records
from harness.lab.texts import LANGUAGES
from harness.plots.style import save


def chapters(plan: Plan, of: Records, shape: tuple[int, int, int, int] = hand.SHAPE) -> list[Chapter]:
    """Return everything that the lab says; `shape` is that of the block of tensors."""
    with exactly(RunConfig(device="cpu", threads=available_cores())):
        worked = [hand.numbers(), hand.sliders(), hand.tensors(shape)]
    with exactly(RunConfig(device="cpu", threads=1)):
        measured = [mistakes.chapter(of), toy.chapter()]
    return [
        Chapter("about", [said("about.words", steps=SCHEDULE.steps, seeds=len(SEEDS), batch=SCHEDULE.batch_size)]),
        *worked,
        measured[0],
        depth.shortcut(of),
        depth.improved(of),
        depth.survive(of),
        variants.version2(of),
        variants.budgets(of, plan),
        variants.dense(of, plan),
        inference.chapter(of),
        measured[1],
        norms.chapter(of),
        bottleneck.chapter(of, plan),
    ]


def write(results: Path, plan: Plan, of: Records, languages: Sequence[str]) -> list[Path]:
    """Write the page of each language below `results`; return their paths."""
    found = chapters(plan, of)
    charts = [part for chapter in found for part in chapter.parts if isinstance(part, Chart)]
    drawn = {chart.name: save(chart.figure)["svg"].decode() for chart in charts}
    paths = []
    for language in languages:
        path = results / layout.LAB / LANGUAGES[language]
        records.write_text(path, page.render(found, drawn, language, [other for other in languages if other != language]))
        paths.append(path)
    return paths
