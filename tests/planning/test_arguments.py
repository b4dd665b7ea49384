"""The words of a command line: what is refused, in which words, before anything is composed or written."""

import shlex

import pytest

from harness import describe, run
from harness.config.registry import ChoiceError
from harness.planning.arguments import parse, parse_override, quote
from support.helpers import configs_of

HUGE = "1" + "0" * 400

WORDS = [
    ("depth 20", "depth 20: type depth=20"),
    ("depth = 20", "depth = 20: type depth=20"),
    ("depth =20", "depth =20: type depth=20"),
    ("depth= 20", "type depth=20"),
    ("depth:20", "depth:20: type depth=20"),
    ("gate_bias -3", "type gate_bias=-3"),
    ("--depth 20", "--depth: a key is given without dashes; type depth=20"),
    ("--depth=20", "type depth=20"),
    ("-depth=20", "type depth=20"),
    ("--results '/a b'", "type 'results=/a b'"),
    ("--cfg job", "--cfg: Hydra's options are not supported"),
    ("-c job", "Hydra's options"),
    ("--config-name=x", "Hydra's options"),
    ("--info", "Hydra's options"),
    ("-p", "Hydra's options"),
    ("--version", "pip show depth-harness"),
    ("--multirun=true", "--multirun=true: takes no value; type --multirun"),
    ("--mutirun", "did you mean --multirun?"),
    ("--", "no such option"),
    ("dept", "did you mean depth=VALUE?"),
    ("resnet", "resnet: must be key=value; --help lists the keys"),
    ("''", "an empty argument"),
    ("=5", "must be key=value"),
]
OVERRIDES = [
    ("+depth=20", "type depth=20"),
    ("++depth=20", "type depth=20"),
    ("-m ++results=a,b", "type results=a,b"),
    ("-m ++experiment=a,b", "type experiment=a,b"),
    ("depth@x=20", "type depth=20"),
    ("schedule@x=digits", "type schedule=digits"),
    ("~depth", "a key cannot be removed"),
    ("depth==20", "depth==20: type depth=20"),
    ("schedule/steps=3", "did you mean schedule.steps?"),
    ("data={name:digits}", "allowed: cifar10, cifar100, digits, image_folder"),
    ("schedule={steps:5}", "allowed: cifar10"),
    ("schedule=null", "schedule=null: unknown"),
    ("depth=", "depth=: must be a whole number"),
    ("depth=[20]", "depth=[20]: must be a whole number"),
    ("depth=20.0", "must be a whole number; write depth=20"),
    ("depth='\"20\"'", "must be a whole number; without quotes: depth=20"),
    ("seed=1e3", "seed=1000.0: must be a whole number of at least 0; write seed=1000"),
    ("seed=True", "seed=True: must be a whole number"),
    ("seed=null", "seed=null: must be a whole number"),
    ("schedule.milestones={1:2}", "schedule.milestones={1: 2}: must be a list"),
    ("probes={layers:1}", "probes={layers:1}"),
    ("seed='${nothing}'", "nothing"),
    ("schedule.eval_images='[nan,${.}]'", "schedule.eval_images="),
    ("depth='${depth}'", "depth=${depth}: "),
    (f"seed={'[' * 5000}{']' * 5000}", "nested more than 20 deep"),
]
GRAMMAR = [
    ("data.root=/runs/lr=0.1/data", """'data.root="/runs/lr=0.1/data"'"""),
    ("data.root=/a(b)", """'data.root="/a(b)"'"""),
    ("data.root='{x}'", """'data.root="{x}"'"""),
    ("data.root=/ä", """'data.root="/ä"'"""),
    ("data.root='!x'", """'data.root="!x"'"""),
    ("data.root=~/x", """'data.root="~/x"'"""),
    ("data.root=/a,b", """'data.root="/a,b"'"""),
    ("data.root='\"x'", """data.root='"'"'"x'"'"''"""),
    ("-m results=/a,b", """'results="/a,b"'"""),
    ("results=/lr=0.1", """'results="/lr=0.1"'"""),
    ("depth=[8", "depth=[8: cannot be read"),
    ("-m shortcut=none,", "shortcut=none,: cannot be read"),
]
PRODUCTS = [
    ("-m seed=range(0)", "seed=range(0): has no value"),
    ("-m seed=range(5,1)", "seed=range(5,1): has no value"),
    ("-m seed=range(0,10,0)", "the step of a range must not be 0"),
    ("-m seed=choice()", "seed=choice(): cannot be read"),
    ("-m seed=interval(0,1)", "an interval has no single values"),
    ("-m seed=choice(0,choice(1))", "cannot be part of another value"),
    ("-m seed=[range(3)]", "cannot be part of another value"),
    ("-m seed=glob(*)", "glob is for data, schedule, variant, experiment"),
    ("-m variant=glob(xyz*)", "has no value"),
    ("-m seed=range(0,inf)", "must be finite numbers"),
    ("-m seed=range(0,nan)", "must be finite numbers"),
    ("-m seed=range(0,1,nan)", "must be finite numbers"),
    ("-m seed=range(1000000000)", "asks for 1,000,000,000 combinations; at most 100,000"),
    ("-m seed=range(0,1e9)", "asks for 1,000,000,000 combinations"),
    ("-m seed=shuffle(range(1000000000))", "asks for 1,000,000,000 combinations"),
    ("-m seed=sort(range(1000000000),reverse=true)", "asks for 1,000,000,000 combinations"),
    ("-m seed=range(0,1,1e-300)", "more than 10^15"),
    (f"-m seed=range({HUGE})", "more than 10^15"),
    ("-m seed=range(400) depth=8,14,20 schedule.steps=range(1,101)", "asks for 120,000 combinations"),
    ("-m experiment=degradation schedule.steps=range(10000)", "asks for 180,000 combinations"),
    (f"-m seed=range({10**40},{10**40 + 5},0.5)", "more values than"),
]
SIZES = [
    (f"{key}={value}", f"{key}={value[:20]}")
    for key in (
        "depth",
        "width",
        "growth",
        "seed",
        "threads",
        "runs_per_process",
        "start_from",
        "schedule.steps",
        "schedule.batch_size",
    )
    for value in ("1" + "0" * 30, "9" * 241, HUGE)
]
SIZES += [
    (f"schedule.{key}={10**20}", "must be at most") for key in ("eval_every", "eval_images", "warmup_steps", "warmup_max_steps")
]
SIZES += [
    (f"seed={'9' * 5000}", "seed=999"),
    ("seed=9223372036854775808", "must be at most 9223372036854775807"),
    (f"schedule.milestones=[{10**20}]", "must be at most"),
    (f"schedule.learning_rate={HUGE}", "at most 3.4e+38"),
    ("schedule.learning_rate=1e39", "at most 3.4e+38"),
    ("schedule.learning_rate=-0.0", "above 0"),
    ("schedule.learning_rate=1e-400", "above 0"),
    ("checkpoint_minutes=1e9", "at most 525600"),
    ("checkpoint_minutes=inf", "at most 525600"),
    ("shortcut=exclusive_gate gate_bias=-inf", "finite"),
    ("data=image_folder data.root=. data.image_size=1000000", "must be at most 16384"),
    ("depth=8 width=65536", "GiB of memory"),
]
HYDRA = [
    ("hydra.run.dir=x", "results=FOLDER"),
    ("hydra.sweep.dir=x", "results=FOLDER"),
    ("hydra.sweep.subdir=x", "results=FOLDER"),
    ("hydra.output_subdir=x", "results=FOLDER"),
    ("hydra.job.chdir=true", "every run has a folder of its own"),
    ("hydra/sweeper=optuna", "-m runs every combination"),
    ("-m hydra.sweeper.max_batch_size=3", "-m runs every combination"),
    ("hydra.mode=MULTIRUN", "-m makes a sweep"),
    ("hydra.verbose=true", "Hydra's own settings cannot be set here"),
    ("hydra/job_logging=default", "Hydra's own settings cannot be set here"),
    ("hydra.searchpath=[x]", "Hydra's own settings cannot be set here"),
    ("hydra.callbacks={}", "Hydra's own settings cannot be set here"),
    ("+hydra.job.env_set.A=1", "Hydra's own settings cannot be set here"),
    ("hydra=x", "Hydra's own settings cannot be set here"),
    ("~hydra.launcher", "type launcher=local"),
    ("hydra.launcher={}", "type launcher=local"),
    ("-m hydra/launcher=joblib", "type launcher=local, launcher=slurm, launcher=ray, launcher=inline"),
    ("-m hydra.launcher.n_jobs=2", "type launcher.workers=NUMBER"),
    ("-m launcher.workers=1,2", "a sweep has one launcher.workers"),
    ("launcher.workers=0", "launcher.workers=0: must be a whole number of at least 1, or auto"),
    ("launcher.minutes=5", "launcher.minutes"),
    ("launcher=slurm launcher.minutes=0", "launcher.minutes=0"),
    ("launcher=slurm launcher.minutes=1", "launcher.grace_seconds=60: must be at most half of launcher.minutes=1; nearest is 30"),
    ("launcher=slurm device=cuda:1", "device=cuda:1: the launcher chooses the GPU; nearest is device=cuda"),
    ("launcher=slurm launcher.partition=[a]", "launcher.partition"),
    ("-m launcher=local,slurm", "a sweep has one launcher"),
    ("launcher=ray launcher.address=somewhere", "launcher.address=somewhere: must be auto, or HOST:PORT"),
    ("launcher=ray launcher.address=[1]", "launcher.address"),
    ("launcher=ray launcher.gpus=-1", "launcher.gpus=-1"),
    ("launcher=ray device=cuda:1", "device=cuda:1: the launcher chooses the GPU; nearest is device=cuda"),
    ("launcher.name=slurm", "launcher.name=slurm: is for launchers of plugins; type launcher=slurm"),
    ("launcher.name=nonsense", "launcher=nonsense: unknown"),
    ("launcher=nonsense", "launcher=nonsense: unknown; allowed: inline, local, ray, slurm"),
]
ALL = [*WORDS, *OVERRIDES, *GRAMMAR, *PRODUCTS, *SIZES, *HYDRA]


def refused(main, line, capsys):
    """Return the one line in which a command refuses a command line."""
    assert main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert len(err) < 1000
    return err


@pytest.mark.parametrize(("line", "words"), ALL, ids=lambda value: value[:60])
def test_it_is_refused_in_a_sentence_that_says_what_to_type(line, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = refused(run.main, line, capsys)
    assert error.startswith("harness.run: ")
    assert words in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        *((line, words) for line, words in [*WORDS, *OVERRIDES, *PRODUCTS[:6]] if "-m" not in line and "multirun" not in line),
        ("depth=6000002", "depth=6000002: must be at most 100000"),
        ("family=densenet depth=10000", "up to depth=1000"),
        (f"width={10**20}", "width="),
        (f"classes={10**20}", "classes=100000000000000000000: must be at most"),
        (f"channels={'9' * 5000}", "channels=9"),
        ("image_size=²", "image_size"),
        ("image_size=16384 schedule.batch_size=1048576 width=65536", "make"),
        ("seed=range(1000000000)", "asks for 1,000,000,000 combinations; at most 100"),
        ("depth=range(8,620,6)", "asks for 102 combinations; at most 100"),
        ("classes=2,3", "classes=2,3: must be a whole number"),
        ("+classes=3", "type classes=3"),
        ("-m depth=8", "-m: no such option"),
        ("--cfg", "Hydra's options"),
    ],
    ids=lambda value: value[:60],
)
def test_describe_refuses_it_as_well(line, words, capsys):
    error = refused(describe.main, line, capsys)
    assert error.startswith("harness.describe: ")
    assert words in error


@pytest.mark.parametrize(
    "text",
    [
        "/runs/lr=0.1",
        "a,b",
        "it's",
        'say "x"',
        "a\\",
        "a\\'b",
        "{a: [b",
        " x ",
        "ä ~ !",
        "${x}",
        "",
        "'",
        '"',
        "\\\\'\"",
        "$HOME",
    ],
)
def test_what_is_said_to_be_typed_is_read_as_the_text(text):
    (word,) = shlex.split(quote("results", text))
    assert parse_override(word).value() == text


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (lambda here: None, '"~nosuchuser/x"', "cannot be written"),
        (lambda here: ((here / "a").symlink_to("b"), (here / "b").symlink_to("a")), "a/x", "cannot be written"),
        (lambda here: None, "x" * 300, "File name too long"),
        (lambda here: None, '"a\0b"', "null byte"),
        (lambda here: None, "\udcff", "is not valid UTF-8"),
        (lambda here: (here / "r").touch(), "r", "cannot be written"),
        (lambda here: ((here / "r").mkdir(), (here / "r" / "runs").touch()), "r", "r/runs: is not a folder"),
        (lambda here: ((here / "r").mkdir(), (here / "r" / "sweeps").symlink_to("gone")), "r", "r/sweeps: is not a folder"),
        (lambda here: None, "", "must be a folder's path"),
        (lambda here: None, "7", "results=./7"),
        (lambda here: None, "[a]", "must be a folder's path"),
    ],
    ids=["no user", "a loop", "too long", "NUL", "no text", "a file", "runs a file", "sweeps a link", "empty", "number", "list"],
)
def test_a_results_folder_that_cannot_be_is_refused(make, given, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run.main(["depth=8", "width=4", "schedule.steps=2", "device=cpu", f"results={given}"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_large_sweep_says_how_many_runs_it_asks_for(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert run.main(["-m", "seed=range(101)", "schedule.batch_size=2000"]) == 2
    assert capsys.readouterr().err.startswith("harness.run: planning 101 runs\n")
    assert run.main(["-m", "seed=range(100)", "schedule.batch_size=2000"]) == 2
    assert "planning" not in capsys.readouterr().err


def test_a_long_planning_says_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr(run, "SILENCE", -1)
    run.progress("planning")(3200, 10_000)
    assert capsys.readouterr().err == "planning: 3,200 of 10,000 runs\n"


def test_an_unreadable_override_is_named_by_itself():
    with pytest.raises(ChoiceError, match=r"^data\.root=/a=b: cannot be read: mismatched input '='"):
        parse_override("data.root=/a=b")


@pytest.mark.parametrize("value", ["9" * 3000, "a " * 3000, "[" + "b," * 3000 + "c]"])
def test_what_is_said_is_short_however_long_the_value(value, capsys):
    for line in (f"depth=[{value},${{.}}]", f"depth={value}", f"data.root={value}${{", f"{value}=3", f"results={value}"):
        assert run.main(["-m", line]) == 2
        assert len(capsys.readouterr().err) < 1500


def test_of_a_key_that_is_given_twice_the_last_counts_as_hydra_has_it_and_that_is_said(caplog):
    found = parse(["depth=20", "seed=1", "depth=8,14", "seed=1"])
    assert [override.input_line for override in found] == ["depth=8,14", "seed=1"]
    (said,) = caplog.messages
    assert said == "depth=20 is overridden by depth=8,14; several values are given as depth=a,b"
    (config,) = configs_of(["data=cifar10", "schedule.steps=5", "data=digits", "schedule.steps=7"])
    assert (config.data.name, config.schedule.steps, config.schedule.learning_rate) == ("digits", 7, 0.01)
