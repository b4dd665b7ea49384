"""Put the lab's chapters together, and write its pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.config.run import RunConfig
from harness.lab import depth, inference, misconceptions_chapter, norms, page, toy_fit, variants, worked_examples
from harness.lab.document import Chapters, Message
from harness.lab.runs import SCHEDULE, SEEDS, Plan, Records
from harness.lab.texts import LANGUAGES
from harness.records import paths, writer
from harness.system.cores import available_cores
from harness.training.devices import deterministic


def chapters(plan: Plan, records: Records, shape: tuple[int, int, int, int] = worked_examples.SHAPE) -> Chapters:
    """Return the lab's contents; `shape` is that of the block on images."""
    with deterministic(RunConfig(device="cpu", threads=available_cores())):
        tensors = list(worked_examples.tensors(shape))
    with deterministic(RunConfig(device="cpu", threads=1)):
        return {
            "about": [Message("about.words", steps=SCHEDULE.steps, seeds=len(SEEDS), batch=SCHEDULE.batch_size)],
            "numbers": list(worked_examples.numbers()),
            "sliders": list(worked_examples.sliders()),
            "tensors": tensors,
            "errors": list(misconceptions_chapter.chapter(records)),
            "shortcut": list(depth.shortcut(records)),
            "improved": list(depth.improved(records)),
            "survive": list(depth.survive(records)),
            "version2": list(variants.version2(records)),
            "budgets": list(variants.budgets(records, plan)),
            "dense": list(variants.dense(records, plan)),
            "inference": list(inference.chapter(records)),
            "easier": list(toy_fit.chapter()),
            "norms": list(norms.chapter(records)),
            "bottleneck": list(variants.bottleneck(records, plan)),
        }


def write(results: Path, plan: Plan, records: Records, languages: Sequence[str]) -> list[Path]:
    """Write the page of each language below `results`; return their paths."""
    contents = chapters(plan, records)
    pages = {language: results / paths.LAB / LANGUAGES[language] for language in languages}
    for language, path in pages.items():
        writer.write_text(path, page.html(contents, language, [other for other in languages if other != language]))
    return list(pages.values())
