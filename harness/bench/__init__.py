"""Measure how fast a training step is, against the machine's own rates and a plain loop: `python -m harness.bench`.

`measure` times what is compared in turn (`timing`) and returns plain numbers; `metrics` computes ratios from them, `targets`
judges those, `report` shows them. Timed are the machine (`machine`), the harness's training step (`workload`), a plain loop
(`baseline`), and fresh processes (`process`).
"""
