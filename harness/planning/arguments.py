"""Parse a command line: options, and overrides by Hydra's grammar, each of them checked before anything is composed."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from itertools import accumulate
from typing import NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from harness.config.execution import KEYS as EXECUTION_KEYS
from harness.config.launcher import KEYS as LAUNCHER_KEYS
from harness.config.launcher import LAUNCHERS
from harness.config.registry import LONGEST, ChoiceError, shown, unknown
from harness.config.run import NESTED, RunConfig

log = logging.getLogger("harness")

KEYS = (
    *(f.name for f in fields(RunConfig) if f.name not in ("execution", "plugin")),
    *("results", "variant", "experiment", *LAUNCHER_KEYS, *EXECUTION_KEYS),
    *(f"{group}.{f.name}" for group, kind in NESTED.items() for f in fields(kind)),
)
RENAMED = {"gang": "runs_per_process"}
"""Keys of earlier versions, and their names now."""
TEXTS = ("results", "data.root")
"""Keys whose value is a text with any characters."""
DEEPEST = 20
"""The deepest nesting of brackets that is parsed; Hydra's parser needs at least a Python frame per level."""
LONGEST_MESSAGE = 600
"""The most characters of an error message of Hydra."""
HYDRA_OPTIONS = (
    *("--cfg", "-c", "--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd", "--info", "-i", "--package", "-p"),
    *("--resolve", "--run", "-r", "--hydra-help", "--shell-completion", "-sc", "--experimental-rerun"),
)
INSTEAD_OF_HYDRA: Mapping[str, str] = {
    "hydra.launcher.n_jobs": "type launcher.workers=NUMBER",
    "hydra.launcher": f"type launcher={', launcher='.join(LAUNCHERS)}; their keys are in conf/launcher",
    "hydra.run": "results=FOLDER says where runs are kept",
    "hydra.sweep": "results=FOLDER says where runs are kept",
    "hydra.output_subdir": "results=FOLDER says where runs are kept",
    "hydra.job.chdir": "every run has a folder of its own below results=FOLDER",
    "hydra.sweeper": "-m runs every combination of the values that are given, and python -m harness.search searches ranges",
    "hydra.mode": "-m makes a sweep",
    "hydra.verbose": "each run has its log.txt",
    "hydra.job_logging": "each run has its log.txt",
    "hydra.hydra_logging": "each run has its log.txt",
    "hydra.help": "--help prints every key",
    "hydra.searchpath": "a file of yours goes into conf/",
}


def split(words: Sequence[str], options: Mapping[str, str], allowed: Sequence[str] = ()) -> tuple[set[str], list[str]]:
    """Return the options among the words of a command line, by their long names, and the overrides.

    `options` maps each spelling of an option to its long name; words in `allowed` are kept among the overrides.
    Raises ChoiceError for any other word that is not an override, saying what to type instead.
    """
    overrides = [word for word in words if word not in options]
    for index, word in enumerate(overrides):
        after = overrides[index + 1 : index + 3]
        if after and "=" in after[0].lstrip("="):
            after = []
        is_empty = word.endswith("=") and word[:-1] in KEYS and after
        is_override = ("=" in word[1:] and not word.startswith("-")) or word.startswith("~")
        if word not in allowed and (is_empty or not is_override):
            _refuse_word(word, after, options)
    return {options[word] for word in words if word in options}, overrides


def _refuse_word(word: str, after: Sequence[str], options: Mapping[str, str]) -> NoReturn:
    """Raise ChoiceError for a word that is not an override; `after` are the next words, which may belong to it."""
    allowed = ", ".join(options)
    name, _, value = word.lstrip("-").partition("=")
    if not word:
        raise ChoiceError("'': an empty argument; leave it out, or set the shell variable in its place")
    if word.startswith("-"):
        if word.partition("=")[0] in HYDRA_OPTIONS:
            raise ChoiceError(f"{shown(word)}: Hydra's options are not supported; allowed: {allowed}, key=value")
        if word == "--version":
            raise ChoiceError("--version: `python -m pip show depth-harness` shows the installed version")
        if (long := word.partition("=")[0]) in options:
            raise ChoiceError(f"{shown(word)}: takes no value; type {long}")
        if name in KEYS:
            raise ChoiceError(f"{shown(word)}: a key is given without dashes; type {_suggestion(name, value, after)}")
        close = get_close_matches(word, options, n=1)
        nearest = f"; did you mean {close[0]}?" if close else ""
        raise ChoiceError(f"{shown(word)}: no such option; allowed: {allowed}, key=value{nearest}")
    for sign in (":", "="):
        key, separator, value = word.partition(sign)
        if separator and key in KEYS:
            raise ChoiceError(f"{shown(word)}: type {_suggestion(key, value, after)}")
    if word in KEYS:
        given = after[: 2 if after[:1] == ["="] else 1]
        raise ChoiceError(f"{shown(' '.join([word, *given]))}: type {_suggestion(word, '', after)}")
    close = get_close_matches(word, KEYS, n=1, cutoff=0.8)
    nearest = f"; did you mean {close[0]}=VALUE?" if close else "; --help lists the keys"
    raise ChoiceError(f"{shown(word)}: must be key=value{nearest}")


def _suggestion(key: str, value: str, after: Sequence[str]) -> str:
    """Return `key=value` quoted for the shell; an empty value is replaced by the next word that can be one."""
    words = (word.lstrip("=") for word in (value, *after))
    value = next((word for word in words if word and not word.startswith("--")), "VALUE")
    return shlex.quote(f"{key}={shown(value)}")


def _refuse_hydra_setting(line: str) -> None:
    """Raise ChoiceError for a setting of Hydra itself, saying what to type instead."""
    key = line.partition("=")[0].lstrip("+~").replace("/", ".") + "."
    instead = "".join(f"; {words}" for name, words in INSTEAD_OF_HYDRA.items() if key.startswith(f"{name}."))
    raise ChoiceError(f"{shown(line)}: Hydra's own settings cannot be set here{instead}")


def parse(lines: Sequence[str], keys: Sequence[str] = KEYS) -> list[Override]:
    """Return the overrides in `lines`, one per key: the last one of each key wins, as in Hydra, with a warning.

    Raises ChoiceError, naming the override, for anything that does not override one of `keys`.
    """
    overrides: dict[str, Override] = {}
    for line in lines:
        _check_key(line, keys)
        key, override = line.partition("=")[0], parse_override(line)
        if (before := overrides.pop(key, override).input_line) != line:
            log.warning("%s is overridden by %s; several values are given as %s=a,b", shown(before), shown(line), key)
        overrides[key] = override
    return list(overrides.values())


def _check_key(line: str, keys: Sequence[str]) -> None:
    """Raise ChoiceError, saying what to type, unless an override starts with the plain name of one of the keys."""
    if any(0xD800 <= ord(char) < 0xE000 for char in line):  # surrogates, by which Python represents undecodable bytes
        raise ChoiceError(f"{shown(line)}: is not valid UTF-8")
    key = line.partition("=")[0]
    plain = key.lstrip("+~").partition("@")[0].strip()
    if re.match(r"hydra\b", plain):
        _refuse_hydra_setting(line)
    if key.startswith("~"):
        raise ChoiceError(f"{shown(line)}: a key cannot be removed; give it a value")
    if plain in RENAMED:
        raise ChoiceError(
            f"{shown(line)}: {plain} is now {RENAMED[plain]}; type {RENAMED[plain]}={shown(line.partition('=')[2])}"
        )
    if plain not in keys and not re.fullmatch(r"plugin\.\w+", plain):  # keys of plugins are checked when these are imported
        raise unknown("key", plain, keys)
    if line.startswith(f"{key}=="):
        raise ChoiceError(f"{shown(line)}: type {plain}={shown(line[len(key) :].lstrip('='))}")
    if plain != key:
        value = shown(line.partition("=")[2])
        raise ChoiceError(f"{shown(line)}: a key is given by its plain name; type {plain}={value}")


def parse_override(line: str) -> Override:
    """Parse an override by Hydra's grammar; raises ChoiceError, naming it and what to type, if that fails."""
    key, _, value = line.partition("=")
    try:
        if max(accumulate((char in "([{") - (char in ")]}") for char in value), default=0) > DEEPEST:
            raise ChoiceError(f"{shown(line)}: its brackets are nested more than {DEEPEST} deep")
        override = OverridesParser.create().parse_override(line)
        if any(isinstance(part, Sweep | Glob) for part in _parts(override.value())):
            raise ChoiceError(f"{shown(line)}: a choice, range or glob cannot be part of another value")
        return override
    except (HydraException, ValueError, ArithmeticError, TypeError, RecursionError, AttributeError) as error:
        if isinstance(error, ChoiceError):
            raise
        reason = f"{shown(line)}: cannot be read: {shown(error_message(error))}"
    if key in TEXTS:
        raise ChoiceError(f"{reason}; quote it, for Hydra and for the shell: {quote(key, value)}")
    raise ChoiceError(f"{reason}; a value is a number, a name or a list like [a,b]; with -m, several values are {key}=a,b")


def quote(key: str, value: str) -> str:
    """Return an override with this text as its value, quoted for Hydra and for the shell; "TEXT" stands for a long text."""
    if len(value) > LONGEST:
        value = "TEXT"
    quote = Quote.single if '"' in value else Quote.double
    return shlex.quote(f"{key}={QuotedString(value, quote).with_quotes()}")


def _parts(value: object) -> Iterator[object]:
    """Yield everything inside a value, at any depth."""
    inner: Iterable[object] = ()
    if isinstance(value, ChoiceSweep | list):
        inner = value if isinstance(value, list) else value.list
    elif isinstance(value, dict):
        inner = [*value, *value.values()]
    for part in inner:
        yield part
        yield from _parts(part)


def error_message(error: BaseException) -> str:
    """Return the message of an error and its cause, without the lines that Hydra adds about its internals."""
    message, cause = _relevant_lines(error), error.__cause__
    if isinstance(cause, HydraException | OmegaConfBaseException) and (reason := _relevant_lines(cause)) not in message:
        message = f"{message} {reason}".strip()
    message = " ".join(map(shown, message.split()))  # it may repeat a value of any length
    return message[:LONGEST_MESSAGE] or type(error).__name__


def _relevant_lines(error: BaseException) -> str:
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return ""
    inner = ("full_key", "object_type", "reference_type", "Available options in", "See https://hydra.cc", "Set the environment")
    return " ".join(line for line in lines if not line.startswith(inner))
