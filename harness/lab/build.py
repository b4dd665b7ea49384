"""Put the lab's chapters together, and write its pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.run import RunConfig
from harness.lab import bottleneck, depth, inference, misconceptions_chapter, norms, page, toy_fit, variants, worked_examples
from harness.lab.document import Chapters, Chart, message
from harness.lab.runs import SCHEDULE, SEEDS, Plan, Records
from harness.lab.texts import LANGUAGES
from harness.plots.style import save
from harness.records import paths, writer
from harness.system.cores import available_cores
from harness.training.devices import deterministic


def chapters(plan: Plan, records: Records, shape: tuple[int, int, int, int] = worked_examples.SHAPE) -> Chapters:
    """Return the lab's contents; `shape` is that of the block on images."""
    with deterministic(RunConfig(device="cpu", threads=available_cores())):
        worked = {
            "numbers": list(worked_examples.numbers()),
            "sliders": list(worked_examples.sliders()),
            "tensors": list(worked_examples.tensors(shape)),
        }
    with deterministic(RunConfig(device="cpu", threads=1)):
        misconceptions, easier = list(misconceptions_chapter.chapter(records)), list(toy_fit.chapter())
    return {
        "about": [message("about.words", steps=SCHEDULE.steps, seeds=len(SEEDS), batch=SCHEDULE.batch_size)],
        **worked,
        "errors": misconceptions,
        "shortcut": list(depth.shortcut(records)),
        "improved": list(depth.improved(records)),
        "survive": list(depth.survive(records)),
        "version2": list(variants.version2(records)),
        "budgets": list(variants.budgets(records, plan)),
        "dense": list(variants.dense(records, plan)),
        "inference": list(inference.chapter(records)),
        "easier": easier,
        "norms": list(norms.chapter(records)),
        "bottleneck": list(bottleneck.chapter(records, plan)),
    }


def write(results: Path, plan: Plan, records: Records, languages: Sequence[str]) -> list[Path]:
    """Write the page of each language below `results`; return their paths."""
    contents = chapters(plan, records)
    charts = [element for elements in contents.values() for element in elements if isinstance(element, Chart)]
    svgs = {chart.name: save(chart.figure)["svg"].decode() for chart in charts}
    pages = {language: results / paths.LAB / LANGUAGES[language] for language in languages}
    for language, path in pages.items():
        writer.write_text(path, page.html(contents, svgs, language, [other for other in languages if other != language]))
    return list(pages.values())
