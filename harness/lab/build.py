"""The lab's chapters, and the files of its pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.run import RunConfig
from harness.lab import bottleneck, depth, inference, misconceptions_chapter, norms, page, toy_fit, variants, worked_examples
from harness.lab.document import Chapter, Chart, said
from harness.lab.runs import SCHEDULE, SEEDS, Plan, Records
from harness.lab.texts import LANGUAGES
from harness.plots.style import save
from harness.records import paths, writer
from harness.system.cores import available_cores
from harness.training.devices import exactly


def chapters(plan: Plan, of: Records, shape: tuple[int, int, int, int] = worked_examples.SHAPE) -> list[Chapter]:
    """Return everything that the lab says; `shape` is that of the block of tensors."""
    with exactly(RunConfig(device="cpu", threads=available_cores())):
        worked = [worked_examples.numbers(), worked_examples.sliders(), worked_examples.tensors(shape)]
    with exactly(RunConfig(device="cpu", threads=1)):
        measured = [misconceptions_chapter.chapter(of), toy_fit.chapter()]
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
    written = []
    for language in languages:
        path = results / paths.LAB / LANGUAGES[language]
        writer.write_text(path, page.html_of(found, drawn, language, [other for other in languages if other != language]))
        written.append(path)
    return written
