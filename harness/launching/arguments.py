"""The words of a command line: options, and overrides by Hydra's grammar, each checked by itself before anything is composed."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.config.registry import LONGEST, ChoiceError, shown, unknown
from harness.config.execution import KEYS as EXECUTION_KEYS
from harness.config.run import NESTED, RunConfig

log = logging.getLogger("harness")

KEYS = (
    *(f.name for f in fields(RunConfig) if f.name not in ("execution", "plugin")),
    *("results", "variant", "experiment", *EXECUTION_KEYS),
    *(f"{group}.{f.name}" for group, kind in NESTED.items() for f in fields(kind)),
)
RENAMED = {"gang": "runs_per_process"}
"""Keys of earlier versions."""
TEXTS = ("results", "data.root")
"""Keys whose value is a text in which any character may stand."""
DEEPEST = 20
"""Brackets within each other that are read; Hydra's parser needs a Python frame or more for each."""
MOST_WORDS = 600
"""Characters at most of what an error of Hydra's says."""
HYDRA_OPTIONS = (
    *("--cfg", "-c", "--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd", "--info", "-i", "--package", "-p"),
    *("--resolve", "--run", "-r", "--hydra-help", "--shell-completion", "-sc", "--experimental-rerun"),
)
INSTEAD_OF_HYDRA: Mapping[str, str] = {
    "hydra.run": "results=FOLDER says where runs are kept",
    "hydra.sweep": "results=FOLDER says where runs are kept",
    "hydra.output_subdir": "results=FOLDER says where runs are kept",
    "hydra.job.chdir": "every run has a folder of its own below results=FOLDER",
    "hydra.sweeper": "-m runs every combination of the values that are given",
    "hydra.mode": "-m makes a sweep",
    "hydra.verbose": "each run has its log.txt",
    "hydra.job_logging": "each run has its log.txt",
    "hydra.hydra_logging": "each run has its log.txt",
    "hydra.help": "--help prints every key",
    "hydra.searchpath": "a file of yours goes into conf/",
}


def split(given: Sequence[str], options: Mapping[str, str], allowed: Sequence[str] = ()) -> tuple[set[str], list[str]]:
    """Return the options that are given, by their long names, and the overrides.

    `options` has the long name of each word that is an option; words in `allowed` stand among the overrides.
    Raises ChoiceError for any other word that is no override, saying what to type instead.
    """
    found = {options[word] for word in given if word in options}
    overrides = []
    rest = [word for word in given if word not in options]
    for place, word in enumerate(rest):
        if word in allowed:
            overrides.append(word)
            continue
        after = [] if place + 1 == len(rest) or "=" in rest[place + 1].lstrip("=") else rest[place + 1 : place + 3]
        empty = word.endswith("=") and word[:-1] in KEYS and after
        if word.startswith("-") or (not word.startswith("~") and "=" not in word[1:]) or empty:
            _refuse_word(word, after, options)
        overrides.append(word)
    return found, overrides


def _refuse_word(word: str, after: Sequence[str], options: Mapping[str, str]) -> None:
    name, _, value = word.lstrip("-").partition("=")
    if not word:
        raise ChoiceError("'': an empty argument; leave it out, or set the variable that stands there")
    if word.startswith("-"):
        if word.partition("=")[0] in HYDRA_OPTIONS:
            raise ChoiceError(f"{shown(word)}: Hydra's options are not for this command; allowed: {_allowed(options)}, key=value")
        if word == "--version":
            raise ChoiceError("--version: `python -m pip show depth-harness` says which version is installed")
        if (long := word.partition("=")[0]) in options:
            raise ChoiceError(f"{shown(word)}: takes no value; type {long}")
        if name in KEYS:
            raise ChoiceError(f"{shown(word)}: a key is given without dashes; type {_typed(name, value, after)}")
        close = get_close_matches(word, options, n=1)
        nearest = f"; did you mean {close[0]}?" if close else ""
        raise ChoiceError(f"{shown(word)}: no such option; allowed: {_allowed(options)}, key=value{nearest}")
    for sign in (":", "="):
        key, found, value = word.partition(sign)
        if found and key in KEYS:
            raise ChoiceError(f"{shown(word)}: type {_typed(key, value, after)}")
    if word in KEYS:
        given = after[: 2 if after[:1] == ["="] else 1]
        raise ChoiceError(f"{shown(' '.join([word, *given]))}: type {_typed(word, '', after)}")
    close = get_close_matches(word, KEYS, n=1, cutoff=0.8)
    nearest = f"; did you mean {close[0]}=VALUE?" if close else "; --help lists the keys"
    raise ChoiceError(f"{shown(word)}: must be key=value{nearest}")


def _typed(key: str, value: str, after: Sequence[str]) -> str:
    """Return `key=value` as it is to be typed, the value taken from the words that follow where it is not given."""
    words = [word.lstrip("=") for word in [value, *after]]
    found = next((word for word in words if word and not word.startswith("--")), "VALUE")
    return shlex.quote(f"{key}={shown(found)}")


def _allowed(options: Mapping[str, str]) -> str:
    return ", ".join(options)


def is_launcher_override(override: str) -> bool:
    """Return whether an override is about how runs are launched, not which."""
    return re.match(r"[+~]*hydra\b", override) is not None


def check_launcher(overrides: Sequence[str]) -> None:
    """Raise ChoiceError for a setting of Hydra's that is not the launcher's."""
    for override in overrides:
        given = override.partition("=")[0].lstrip("+")
        if given != "hydra/launcher" and not given.startswith("hydra.launcher."):
            key = given.lstrip("~").replace("/", ".")
            known = next((words for name, words in INSTEAD_OF_HYDRA.items() if key == name or key.startswith(f"{name}.")), "")
            instead = f"; {known}" if known else ""
            raise ChoiceError(f"{shown(override)}: only hydra/launcher and hydra.launcher.KEY can be set here{instead}")
        if read(override).is_sweep_override():
            raise ChoiceError(f"{shown(override)}: a sweep has one launcher, each of its settings one value")


def parse(lines: Sequence[str], keys: Sequence[str] = KEYS) -> list[Override]:
    """Return the overrides of a command line, each of one of the keys: of those of one key the last, as Hydra has it.

    What is overridden is said. Raises ChoiceError, naming the override, for anything that is no override of a key.
    """
    given: dict[str, Override] = {}
    for line in lines:
        _check_key(line, keys)
        key, override = line.partition("=")[0], read(line)
        if (before := given.pop(key, override).input_line) != line:
            log.warning("%s is overridden by %s; several values are given as %s=a,b", shown(before), shown(line), key)
        given[key] = override
    return list(given.values())


def _check_key(line: str, keys: Sequence[str]) -> None:
    """Raise ChoiceError, saying what to type, unless an override begins with the plain name of one of the keys."""
    if any(0xD800 <= ord(one) < 0xE000 for one in line):  # what Python makes of bytes that are no text
        raise ChoiceError(f"{shown(line)}: is no text in UTF-8")
    key = line.partition("=")[0]
    plain = key.lstrip("+~").partition("@")[0].strip()
    if key.startswith("~"):
        raise ChoiceError(f"{shown(line)}: no key can be left out; give it a value")
    if plain in RENAMED:
        raise ChoiceError(
            f"{shown(line)}: {plain} is now {RENAMED[plain]}; type {RENAMED[plain]}={shown(line.partition('=')[2])}"
        )
    if plain not in keys and not re.fullmatch(r"plugin\.\w+", plain):  # keys that plugins add are checked once these are imported
        raise unknown("key", plain, keys)
    if line.startswith(f"{key}=="):
        raise ChoiceError(f"{shown(line)}: type {plain}={shown(line[len(key) :].lstrip('='))}")
    if plain != key:
        value = shown(line.partition("=")[2])
        raise ChoiceError(f"{shown(line)}: every key is there already and is given by its plain name; type {plain}={value}")


def read(line: str) -> Override:
    """Return an override as Hydra's grammar reads it; raises ChoiceError, naming it and what to type, where that cannot be."""
    key, _, value = line.partition("=")
    try:
        if max(_depths(value), default=0) > DEEPEST:
            raise ChoiceError(f"{shown(line)}: its brackets are nested more than {DEEPEST} deep")
        override = OverridesParser.create().parse_override(line)
        if any(isinstance(part, Sweep | Glob) for part in _parts(override.value())):
            raise ChoiceError(f"{shown(line)}: a choice, range or glob cannot stand inside another value")
        return override
    except (HydraException, ValueError, ArithmeticError, TypeError, RecursionError, AttributeError) as error:
        if isinstance(error, ChoiceError):
            raise
        why = f"cannot be read: {shown(first_words(error))}"
    if key in TEXTS:
        raise ChoiceError(f"{shown(line)}: {why}; in quotes, for the shell as well, any text can: {quoted(key, value)}")
    raise ChoiceError(f"{shown(line)}: {why}; a value is a number, a name or a list as [a,b], with -m also several, {key}=a,b")


def quoted(key: str, value: str) -> str:
    """Return an override whose value is that text and nothing else, quoted for Hydra and for the shell.

    A text that is too long for a message is left to the reader.
    """
    if len(value) > LONGEST:
        value = "TEXT"
    quote = Quote.single if '"' in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(value, quote).with_quotes()}")


def _parts(value: object) -> Iterator[object]:
    """Give everything that stands inside a value."""
    inner: Iterable[object] = ()
    if isinstance(value, ChoiceSweep | list):
        inner = value if isinstance(value, list) else value.list
    elif isinstance(value, dict):
        inner = [*value, *value.values()]
    for one in inner:
        yield one
        yield from _parts(one)


def _depths(value: str) -> list[int]:
    """Return how many brackets are open after each character."""
    depth, found = 0, []
    for one in value:
        depth += (one in "([{") - (one in ")]}")
        found.append(depth)
    return found


def first_words(error: BaseException) -> str:
    """Return what an error and its cause say, without the lines that Hydra adds about its internals."""
    words = _kept_words(error)
    if (
        isinstance(error.__cause__, HydraException | OmegaConfBaseException)
        and (why := _kept_words(error.__cause__)) not in words
    ):
        words = f"{words} {why}".strip()
    words = " ".join(map(shown, words.split()))  # it may repeat a value of any length
    return words[:MOST_WORDS] or type(error).__name__


def _kept_words(error: BaseException) -> str:
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return ""
    inner = ("full_key", "object_type", "reference_type", "Available options in", "See https://hydra.cc", "Set the environment")
    return " ".join(line for line in lines if not line.startswith(inner))
