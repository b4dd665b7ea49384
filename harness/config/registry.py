"""Open choices, to which plugins may add names: family, shortcut, norm, init, data, probes, ...; and the keys of plugins.

A built-in name is declared here with the sentence that describes it, so that it can be checked without importing torch. The
module that implements it attaches itself with `register`. A plugin adds a new name the same way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
MANY = 12
"""Maximum number of names that a message lists although one of them is close."""
LONGEST = 80
"""Characters of a given value that a message repeats."""
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""A registered name becomes part of folder and file names, and is typed on the command line."""


class ChoiceError(ValueError):
    """A choice that cannot be run. The message names the given value, the allowed ones and the nearest."""


def shown(value: object) -> str:
    """Return a value as a message repeats it: in one line of at most `LONGEST` characters."""
    try:
        text = "null" if value is None else str(value)
    except Exception:  # more digits than Python prints, a list nested too deeply, or a faulty __str__
        return f"(a value that cannot be printed, {type(value).__name__})"
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: LONGEST + 1])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def unknown(key: str, given: object, allowed: Iterable[str]) -> ChoiceError:
    """Return the error for a name outside `allowed`. It has the nearest name if one is close, and all names if they are few."""
    names = list(allowed)
    close = get_close_matches(shown(given), names, n=1)
    words = [] if close and len(names) > MANY else [f"allowed: {', '.join(names)}"]
    if close:
        words.append(f"did you mean {close[0]}?")
    return ChoiceError(f"{shown(key)}={shown(given)}: unknown; {'; '.join(words)}")


class Choice:
    """One open choice: its names, with a sentence for each, and their implementations.

    Args:
        key: the key of the command line.
        home: the module that registers the implementations of the built-in names; {} stands for the name.
        sentences: built-in names, each with a sentence that describes it.
        reserved: names that cannot be registered.
        method: a method that implementations must have.
    """

    def __init__(
        self, key: str, home: str, sentences: Mapping[str, str], reserved: Collection[str] = (), method: str = ""
    ) -> None:
        self.key, self._home, self._method = key, home, method
        self.reserved = frozenset(reserved)
        self.sentences = dict(sentences)
        self.built_in = dict(sentences)
        self._implementations: dict[str, Any] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.sentences)

    def declare(self, sentences: Mapping[str, str]) -> None:
        """Add built-in names that another module of this package describes."""
        self.sentences.update(sentences)
        self.built_in.update(sentences)

    def register(self, name: str, sentence: str = "") -> Callable[[T], T]:
        """Return a decorator that makes a function or class the implementation of `name`.

        Args:
            sentence: describes the name; by default the first line of the implementation's docstring.

        Raises:
            ChoiceError: if the name does not match `NAME`, is built in, reserved or already registered, or if the implementation
                is neither a function nor a class.
        """
        self._check_name(name)

        def attach(implementation: T) -> T:
            if not isinstance(implementation, type | FunctionType):
                kind = type(implementation).__name__
                raise ChoiceError(f"{self.key}={name}: must be implemented by a function or a class, not by {kind}")
            if name in self.built_in and implementation.__module__.partition(".")[0] != "harness":
                raise ChoiceError(f"{self.key}={name}: is built in and cannot be registered twice; give yours another name")
            present = self._implementations.get(name)
            if present is not None and _source(present) != _source(implementation):
                raise ChoiceError(f"{self.key}={name}: registered twice, by {_source(present)} and {_source(implementation)}")
            if self._method and not callable(getattr(implementation, self._method, None)):
                raise ChoiceError(f"{self.key}={name}: must be a class with the method {self._method}")
            self.sentences.setdefault(name, sentence or (implementation.__doc__ or "").split("\n")[0])
            self._implementations[name] = implementation
            return implementation

        return attach

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name) or _not_text(name):
            raise ChoiceError(
                f"{self.key}={shown(name)}: cannot be a name; a name is of at most 64 letters, digits, _, - and ., "
                "begins with none of the last two, and is neither a number nor true, false or null"
            )
        if name in self.reserved:
            raise ChoiceError(f"{self.key}={name}: is the name of a table that every run has; give yours another name")

    def check(self, given: object) -> str:
        """Return `given` if it is one of the names; raises ChoiceError otherwise."""
        if not isinstance(given, str) or given not in self.sentences:
            raise unknown(self.key, given, self.names)
        return given

    def __getitem__(self, name: str) -> Any:
        """Return the implementation of `name`, importing the built-in ones first; raises ChoiceError if unknown."""
        self.check(name)
        if name in self.built_in:
            import_module(self._home.format(name))
        return self._implementations[name]


def _not_text(name: str) -> bool:
    """Return whether the command line reads a name as a number, a truth value or null."""
    try:
        return isinstance(float(name), float)
    except ValueError:
        return name.lower() in ("true", "false", "null")


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
        "scaling": "shortcut_scale * option A + branch_scale * branch",
        "exclusive_gate": "g * branch + (1 - g) * option A; g is the sigmoid of a 1x1 convolution with bias gate_bias",
        "shortcut_only_gate": "branch + (1 - g) * option A, with the same g",
        "dropout": "option A with dropout, of rate shortcut_dropout",
        "concatenation": "the branch's output channels are appended to those of its input (only in family=densenet)",
    },
)
SHORTCUT_KEYS: Mapping[str, tuple[str, ...]] = {
    "scaling": ("shortcut_scale", "branch_scale"),
    "exclusive_gate": ("gate_bias",),
    "shortcut_only_gate": ("gate_bias",),
    "dropout": ("shortcut_dropout",),
}
"""The keys of each shortcut: arguments of its class, and refused with other shortcuts."""
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
DATA = Choice("data", "harness.data.datasets", {})
"""Its built-in names are those of `harness.config.data.DATA_SETS`."""
PROBE = Choice(
    "probes",
    "harness.probes",
    {
        "layers": "each weighted layer's gradient, weight and update norms, nonzero count and response std",
        "blocks": "each block's output norm and the norm of the loss gradient with respect to it",
        "lesions": "loss and error on the test images without each block in turn, at the end",
    },
    reserved=("steps", "epochs", "gradient_norms"),
    method="watch",
)
OPTIMIZER = Choice(
    "optimizer",
    "harness.training.optimizer",
    {
        "sgd": "SGD with momentum; weight decay is added to the gradient (He et al. 2015, 4.2)",
        "adamw": "AdamW: betas are schedule.momentum and schedule.beta2; weight decay is decoupled (Loshchilov and Hutter 2019)",
    },
)
LR_SCHEDULE = Choice(
    "lr_schedule",
    "harness.training.lr_schedule",
    {
        "steps": "the rate falls to a tenth at each of schedule.milestones (He et al. 2015, 4.2)",
        "cosine": "half a cosine from the full rate at the end of the warm-up to 0 at the last step (Loshchilov and Hutter 2017)",
    },
)
FAMILY = Choice(
    "family",
    "harness.models.build",
    {
        "cifar": "3x3 stem, three stages of blocks, global average, linear layer (He et al. 2015, 4.2)",
        "imagenet": "7x7 stem and pooling, four stages of blocks, global average, linear layer (He et al. 2015, Table 1)",
        "densenet": "DenseNet-BC on CIFAR (Huang et al. 2017, sections 3 and 4)",
    },
)
LAUNCHER = Choice(
    "launcher",
    "harness.launching.{}",
    {
        "local": "child processes on this machine, one per core or GPU",
        "slurm": "tasks of a Slurm array, which survive preemption and time limits",
        "ray": "tasks of a Ray cluster",
        "inline": "the command's own process, one run after the other, for debuggers",
    },
)
OBSERVER = Choice("observers", "harness.training.observers", {"log": "a line in the run's log for each evaluation"})
TRACKER = Choice(
    "tracker",
    "harness.tracking.{}",
    {
        "tensorboard": "event files for TensorBoard",
        "mlflow": "an SQLite database for MLflow",
        "wandb": "offline runs of Weights & Biases, for `wandb sync`",
        "trackio": "a local database for Trackio",
    },
    reserved=("none", "parquet"),
    method="write",
)
BUILT_IN = (FAMILY, SHORTCUT, NORM, INIT, DATA, PROBE, OPTIMIZER, LR_SCHEDULE, OBSERVER, TRACKER, LAUNCHER)


class PluginKey(NamedTuple):
    """A key of a plugin: its module, its default, and a function that raises ChoiceError or ValueError for a wrong value."""

    module: str
    default: bool | int | float | str
    check: Callable[[Any], object]


PLUGIN_KEYS: dict[str, PluginKey] = {}


def add_key(name: str, default: bool | int | float | str, check: Callable[[Any], object] = lambda value: None) -> None:
    """Add the key `plugin.NAME` to runs that name the calling module in `plugins`.

    Args:
        name: on the command line `plugin.NAME=value`, in code `config.plugin[NAME]`.
        default: the value if none is given; the key has its type.
        check: raises ChoiceError, or ValueError, for a value that is not allowed.
    """
    module = str(sys._getframe(1).f_globals["__name__"])
    if not isinstance(name, str) or not name.isidentifier() or not isinstance(default, bool | int | float | str):
        raise ChoiceError(f"plugin.{shown(name)}: must be an identifier with a default that is a number, true, false or a text")
    if name in PLUGIN_KEYS and PLUGIN_KEYS[name].module != module:
        raise ChoiceError(f"plugin.{name}: added twice, by {PLUGIN_KEYS[name].module} and {module}")
    PLUGIN_KEYS[name] = PluginKey(module, default, check)
