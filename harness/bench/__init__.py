"""How fast a training step is, beside what the machine can do and beside a plain loop: `python -m harness.bench`.

`measure` runs the things to be compared in turn (`timing`) and returns plain numbers; `figures` makes ratios of them, `targets`
judges those, `page` prints them. What is timed is the machine (`rates`), the harness's own step (`steps`), the plain loop
(`reference`) and processes of their own (`child`).
"""
