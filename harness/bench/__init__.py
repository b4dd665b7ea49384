"""Measure how fast a training step is: `python -m harness.bench`. `measure` times, `metrics` computes, `targets` judges."""
