"""The depths that a family has: those of a formula, or those of a table in a paper."""

from __future__ import annotations

from typing import NamedTuple


class DepthFormula(NamedTuple):
    """Depths step * n + rest, for n of at least 1: three stages of n blocks each."""

    step: int
    rest: int

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        """Return the number of blocks of each stage; None for a depth that does not exist."""
        n, left = divmod(depth - self.rest, self.step)
        return (n,) * 3 if n >= 1 and not left else None

    def nearest(self, depth: int) -> list[int]:
        """Return the one or two nearest depths that exist."""
        below = (depth - self.rest) // self.step * self.step + self.rest
        least = self.step + self.rest
        return [near for near in (below, below + self.step) if near >= least] or [least]

    def __str__(self) -> str:
        return f"{self.step}n+{self.rest}"


class DepthTable(dict[int, tuple[int, ...]]):
    """Depths listed in a paper, with the number of blocks of each stage."""

    def stage_blocks(self, depth: int) -> tuple[int, ...] | None:
        return self.get(depth)

    def nearest(self, depth: int) -> list[int]:
        return sorted(self, key=lambda near: abs(near - depth))[:2]

    def __str__(self) -> str:
        return " or ".join(map(str, self))


def nearest_text(depths: list[int]) -> str:
    """Return the end of a message: the depths that can be taken instead."""
    return f"nearest {'are' if len(depths) > 1 else 'is'} {' and '.join(map(str, sorted(depths))) or 'none'}"
