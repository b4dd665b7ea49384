"""The open choices: names that a user may add to (shortcut, norm, init, data, probe).

A built-in name is declared here with the sentence that describes it, so that it can be checked without importing
torch; the module that implements it attaches itself with `register`. A user's module adds a new name the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")
MANY = 12
"""Names that a message still lists when one of them is close."""


class ChoiceError(ValueError):
    """A choice that cannot be run; the message says what was given, what is allowed and what is nearest."""


def unknown(key: str, given: object, allowed: Iterable[str]) -> ChoiceError:
    """Return the error for a name outside `allowed`, with the nearest valid name where one is close, or else all of them."""
    names = list(allowed)
    close = get_close_matches(str(given), names, n=1)
    words = [] if close and len(names) > MANY else [f"allowed: {', '.join(names)}"]
    if close:
        words.append(f"did you mean {close[0]}?")
    return ChoiceError(f"{key}={given}: unknown; {'; '.join(words)}")


class Choice:
    """One open choice: its names, a sentence for each (`built_in`: the project's own), and, once loaded, what implements them."""

    def __init__(self, key: str, home: str, sentences: Mapping[str, str]) -> None:
        self.key = key
        self.sentences = dict(sentences)
        self.built_in = dict(sentences)
        self._home = home
        self._implementations: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sentences)

    def register(self, name: str, sentence: str = "") -> Callable[[T], T]:
        """Return a decorator that makes its function or class the implementation of `name`.

        Raises ChoiceError if `name` already has another implementation.
        """

        def attach(implementation: T) -> T:
            present = self._implementations.get(name)
            if present is not None and _source(present) != _source(implementation):
                raise ChoiceError(f"{self.key}={name}: registered twice, by {_source(present)} and {_source(implementation)}")
            self.sentences.setdefault(name, sentence or (implementation.__doc__ or "").split("\n")[0])
            self._implementations[name] = implementation
            return implementation

        return attach

    def check(self, given: object) -> str:
        """Return `given` if it is one of the names; raises ChoiceError otherwise."""
        if not isinstance(given, str) or given not in self.sentences:
            raise unknown(self.key, given, self.names)
        return given

    def __getitem__(self, name: str) -> Any:
        """Return the implementation of `name`, importing the built-in ones first; raises ChoiceError if unknown."""
        self.check(name)
        import_module(self._home)
        return self._implementations[name]


def _source(implementation: Any) -> tuple[str, str]:
    return implementation.__module__, implementation.__qualname__


SHORTCUT = Choice(
    "shortcut",
    "harness.models.shortcuts",
    {
        "identity": "option A: identity; where the shape changes, subsampling and zero channels (no parameters)",
        "none": "no shortcut: the plain net",
        "projection": "option B: 1x1 convolution and norm where the shape changes, identity elsewhere",
        "projection_all": "option C: 1x1 convolution and norm at every block (the 1x1 convolution of He et al. 2016, 3)",
        "scaling": "shortcut_scale times option A, plus branch_scale times the branch",
        "exclusive_gate": "g times the branch plus (1 - g) times option A; g is a 1x1 convolution's sigmoid, its bias gate_bias",
        "shortcut_only_gate": "the branch plus (1 - g) times option A",
        "dropout": "option A with dropout, of rate shortcut_dropout",
        "concatenation": "the branch's channels join those of its input (family densenet alone)",
    },
)
NORM = Choice(
    "norm",
    "harness.models.norms",
    {
        "batch": "batch normalisation after every convolution",
        "none": "no normalisation; convolutions get biases",
    },
)
INIT = Choice(
    "init",
    "harness.models.initialisation",
    {
        "he": "He normal, fan-out: std = sqrt(2 / (k*k*out_channels))",
        "he_fan_in": "He normal, fan-in: std = sqrt(2 / (k*k*in_channels))",
        "xavier": "Glorot uniform: variance 2 / (fan_in + fan_out)",
        "torch": "PyTorch's default: uniform within 1/sqrt(fan_in), biases too",
    },
)
DATA = Choice(
    "data",
    "harness.data.sources",
    {
        "digits": "1,797 real 8x8 images of handwritten digits, embedded (scikit-learn)",
        "cifar10": "60,000 real 32x32 colour images in 10 classes, read below data.root",
        "cifar100": "60,000 real 32x32 colour images in 100 classes, read below data.root",
        "image_folder": "your own images, data.root/train/CLASS/* and data.root/test/CLASS/*, cut to data.image_size",
    },
)
PROBE = Choice(
    "probes",
    "harness.probes.builtin",
    {
        "layers": "each weighted layer's gradient, weight and update norms, nonzero count and response std",
        "blocks": "each block's output norm and the norm of the loss gradient with respect to it",
        "lesions": "loss and error on the test images without each block in turn, at the end",
    },
)
BUILT_IN = (SHORTCUT, NORM, INIT, DATA, PROBE)
