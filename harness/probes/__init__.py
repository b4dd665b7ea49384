"""Measurements during training. A probe watches training steps from outside and changes nothing."""

from harness.probes import blocks, layers, lesions

__all__ = ["blocks", "layers", "lesions"]
