"""Validation of choices, with the messages of refusals; which choices make two runs the same."""

import copy
import json
import pickle
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config import registry
from harness.config.data import SCHEDULES, DataConfig, LocatedData
from harness.config.execution import ExecutionConfig
from harness.config.flat import flatten
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig, with_defaults
from harness.config.schedule import ScheduleConfig
from harness.system.cores import available_cores
from support.helpers import configs_of


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"depth": 21}, "depth=21: this family has depth 6n+2; nearest are 20 and 26"),
        ({"depth": 2}, "nearest is 8"),
        ({"depth": -2}, "nearest is 8"),
        ({"depth": 8.5}, "depth=8.5: must be a whole number"),
        ({"depth": True}, "depth=True: must be a whole number"),
        ({"shortcut": "identiy"}, "did you mean identity?"),
        ({"shortcut": None}, "allowed: identity, none, projection, projection_all, scaling"),
        ({"norm": "layer"}, "allowed: batch, none"),
        ({"init": "xavir"}, "did you mean xavier?"),
        ({"width": 0}, "width=0: must be a whole number of at least 1"),
        ({"seed": -1}, "seed=-1: must be a whole number of at least 0"),
        ({"precision": "fp16"}, "allowed: fp32, bf16"),
        ({"device": "gpu"}, "must be auto, cpu, cuda or cuda:N"),
        ({"threads": 0}, "of at least 1, or auto"),
        ({"probes": ["gradients"]}, "allowed: layers, blocks"),
        ({"probes": "layers"}, "must be a list of names"),
        ({"plugins": ["no_such_module"]}, "cannot be imported"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_is_allowed(wrong, words):
    with pytest.raises(ChoiceError) as refused:
        RunConfig(**wrong)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "schedule.steps=0: must be a whole number of at least 1"),
        ({"batch_size": 0}, "schedule.batch_size=0"),
        ({"learning_rate": float("nan")}, "schedule.learning_rate=nan: must be a finite number above 0"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"learning_rate": "fast"}, "schedule.learning_rate=fast"),
        ({"steps": 500, "milestones": [250, 500]}, "500 is past the end, schedule.steps=500"),
        ({"milestones": [3, 2]}, "must rise"),
        ({"milestones": 5}, "must be a list of steps"),
        ({"momentum": 1.0}, "below 1"),
        ({"weight_decay": -1e-4}, "at least 0"),
        ({"warmup": "linearly"}, "allowed: none, steps, linear, until_error"),
        ({"steps": 100, "warmup": "steps"}, "schedule.warmup_steps=400: must be below schedule.steps=100"),
        ({"steps": 100, "warmup": "until_error", "warmup_max_steps": 200}, "must be at most schedule.steps=100"),
        ({"warmup_error": 120}, "at most 100"),
        ({"decay_norm": 1}, "must be true or false"),
        ({"eval_every": 0}, "schedule.eval_every=0"),
        ({"eval_images": 0}, "schedule.eval_images=0"),
    ],
)
def test_a_wrong_schedule_is_refused(wrong, words):
    with pytest.raises(ChoiceError) as refused:
        ScheduleConfig(**wrong)
    assert words in str(refused.value)


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(ChoiceError, match="did you mean depth"):
        RunConfig.from_mapping({"depht": 20})
    with pytest.raises(ChoiceError, match=r"did you mean schedule\.steps"):
        RunConfig.from_mapping({"schedule": {"step": 20}})
    with pytest.raises(ChoiceError, match="must be a group of keys"):
        RunConfig.from_mapping({"data": "digits"})


@given(st.integers(-100, 2000))
def test_depth_is_6n_plus_2(depth):
    if depth in {6 * n + 2 for n in range(1, 400)}:
        assert RunConfig(depth=depth).depth == depth
    else:
        with pytest.raises(ChoiceError):
            RunConfig(depth=depth)


def test_schedule_follows_data():
    assert RunConfig(data=DataConfig("cifar10")).schedule == ScheduleConfig()
    assert RunConfig().schedule.steps < 64_000
    assert RunConfig(schedule=ScheduleConfig(steps=7)).schedule.steps == 7


def test_what_a_schedule_was_not_given_follows_the_data_from_python_as_on_the_command_line():
    (typed,) = configs_of(["schedule.steps=100", "device=cpu"])
    asked = RunConfig(schedule=ScheduleConfig(steps=100), device="cpu")
    assert (asked.schedule.learning_rate, asked.schedule.eval_every) == (0.01, 55)
    assert asked == typed
    assert asked.run_name() == typed.run_name()
    (own,) = configs_of(["data=image_folder", "schedule.learning_rate=0.5", "device=cpu"])
    assert RunConfig(data=DataConfig("image_folder"), schedule=ScheduleConfig(learning_rate=0.5), device="cpu") == own
    assert RunConfig.from_mapping({"schedule": {"steps": 100}, "device": "cpu"}) == asked


def test_a_value_that_was_given_stays_where_it_is_the_papers():
    schedule = RunConfig(schedule=ScheduleConfig(64_000, learning_rate=0.1)).schedule
    assert (schedule.steps, schedule.learning_rate, schedule.eval_every) == (64_000, 0.1, 55)
    with pytest.raises(ChoiceError, match=r"past the end, schedule\.steps=1000"):
        RunConfig(schedule=ScheduleConfig(milestones=(32_000, 48_000)))


def test_milestones_are_those_that_were_given_when_they_were_given():
    given = [30, 40]
    from_list, from_iterator = ScheduleConfig(steps=100, milestones=given), ScheduleConfig(steps=100, milestones=iter((30, 40)))
    given.append(99)
    for schedule in (from_list, from_iterator):
        assert RunConfig(schedule=schedule).schedule.milestones == schedule.milestones == (30, 40)


def test_a_schedule_that_names_no_end_is_checked_against_the_one_of_its_data():
    """The default is 600,000 steps for image_folder and 1,000 for digits."""
    for keys in ({"milestones": (300, 450_000)}, {"warmup": "steps", "warmup_steps": 70_000}):
        schedule = ScheduleConfig(**keys)
        assert RunConfig(data=DataConfig("image_folder"), schedule=schedule).schedule.steps == 600_000
        with pytest.raises(ChoiceError, match=r"schedule\.steps=1000"):
            RunConfig(schedule=schedule)


def test_other_data_bring_their_schedule_where_none_was_given():
    moved = replace(RunConfig(schedule=ScheduleConfig(batch_size=64)), data=DataConfig("cifar10"))
    assert moved.schedule == ScheduleConfig(batch_size=64)
    kept = RunConfig(data=DataConfig("image_folder"), schedule=SCHEDULES["cifar10"])
    assert kept.schedule.steps == 64_000


def test_an_old_record_is_completed_by_the_schedule_of_its_own_data():
    old = {"depth": 20, "data": {"name": "cifar10"}, "schedule": {"steps": 200}}
    assert with_defaults(old)["schedule"]["learning_rate"] == 0.1
    assert with_defaults({"data": {"name": "digits"}})["schedule"]["learning_rate"] == 0.01


def test_a_schedule_that_was_copied_or_pickled_follows_the_data_the_same():
    partly = ScheduleConfig(steps=100)
    for same in (copy.copy(partly), copy.deepcopy(partly), pickle.loads(pickle.dumps(partly))):
        assert RunConfig(schedule=same).schedule == RunConfig(schedule=partly).schedule
    whole = RunConfig(schedule=partly)
    assert replace(whole, depth=56).schedule == whole.schedule


def test_a_config_survives_json():
    config = RunConfig(depth=56, data=DataConfig("cifar10", split="holdout"), device="cpu", precision="bf16")
    again = RunConfig.from_mapping(json.loads(json.dumps(config.choices())))
    assert again == config
    assert again.identity() == config.identity()


CPU = RunConfig(device="cpu")
DIFFERENT = [
    CPU,
    replace(CPU, depth=56),
    replace(CPU, shortcut="none"),
    replace(CPU, norm="none"),
    replace(CPU, init="xavier"),
    replace(CPU, width=8),
    replace(CPU, seed=1),
    replace(CPU, precision="bf16"),
    replace(CPU, threads=2),
    replace(CPU, device="cuda"),
    replace(CPU, probes=("layers",)),
    replace(CPU, update_scaling="layerwise"),
    replace(CPU, start_from=8),
    replace(CPU, start_from=14),
    replace(CPU, data=DataConfig("cifar10")),
    replace(CPU, data=DataConfig(augment=False)),
    replace(CPU, data=DataConfig(split="holdout")),
    replace(CPU, schedule=replace(CPU.schedule, steps=7)),
    replace(CPU, schedule=replace(CPU.schedule, milestones=())),
    replace(CPU, schedule=replace(CPU.schedule, warmup="steps")),
]


def test_what_can_change_the_numbers_changes_the_identity():
    for one, other in combinations(DIFFERENT, 2):
        assert one.identity() != other.identity(), (one, other)


def test_what_cannot_change_the_numbers_does_not():
    same = [
        replace(CPU, execution=ExecutionConfig(data_root="somewhere", data_download=True)),
        replace(CPU, probes=("layers", "blocks", "layers")),
        replace(CPU, schedule=replace(CPU.schedule, milestones=CPU.schedule.milestone_steps())),
        replace(CPU, schedule=replace(CPU.schedule, warmup_steps=7)),
    ]
    assert {config.identity() for config in same} == {CPU.identity()}
    assert replace(CPU, device="cuda:0").identity() == replace(CPU, device="cuda:1").identity()


def test_identities_of_old_runs_are_kept():
    """Hashes recorded on 2026-11-23: a new key with a default must not change them."""
    paper = RunConfig(data=DataConfig("cifar10"), device="cpu")
    assert paper.run_name() == "cifar10-identity-20-seed0-bac375157e"
    plain = replace(paper, depth=110, shortcut="none", seed=3, schedule=ScheduleConfig(warmup="until_error"))
    assert plain.run_name() == "cifar10-none-110-seed3-d14d8b3ecc"
    own = DataConfig("image_folder", image_size=32, content="sha256:0123456789abcdef")
    assert RunConfig(data=own, device="cpu").run_name() == "image_folder-identity-20-seed0-df27495abd"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resize": 32}, "data.resize=32: data=digits has its own images"),
        ({"name": "cifar10", "resize": 32}, "data.resize=32: data=cifar10 has its own images"),
        (
            {"name": "image_folder", "resize": 223},
            "from data.image_size to 8 times that, 224 to 1792, or null; nearest is data.resize=224",
        ),
        ({"name": "image_folder", "image_size": 32, "resize": 257}, "nearest is data.resize=256"),
        ({"name": "image_folder", "resize": 16385}, "data.resize=16385: must be at most 16384"),
        (
            {"name": "image_folder", "resize": 256.0},
            "data.resize=256.0: must be a whole number of at least 1; write data.resize=256",
        ),
        ({"name": "image_folder", "resize": True}, "data.resize=True: must be a whole number"),
        ({"name": "image_folder", "root": ""}, "data.root=: must be a folder's path or null"),
    ],
)
def test_a_wrong_view_of_the_data_is_refused(given, words):
    with pytest.raises(ChoiceError) as refused:
        LocatedData(**given)
    assert words in str(refused.value)


@pytest.mark.parametrize("resize", [None, 32, 256])
def test_a_resize_from_the_size_itself_to_eight_times_that_is_taken(resize):
    assert DataConfig("image_folder", image_size=32, resize=resize).resize == resize


def test_an_unresolved_run_has_no_identity():
    with pytest.raises(ValueError, match="resolved"):
        RunConfig(device="auto").identity()
    with pytest.raises(ValueError, match="resolved"):
        RunConfig(device="auto").identity()


def test_keys_are_named_as_on_the_command_line():
    flat = flatten(CPU.choices())
    assert flat["data"] == "digits"
    assert {"depth", "data.split", "schedule.steps", "schedule.milestones"} <= set(flat)
    assert not {"data.root", "data.download", "results"} & set(flat)


@pytest.mark.parametrize("choice", registry.BUILT_IN, ids=lambda choice: choice.key)
def test_every_declared_name_is_implemented(choice):
    for name in choice.names:
        assert choice[name] is not None
        assert choice.sentences[name]


def test_two_implementations_of_one_name_are_refused():
    assert registry.NORM["batch"] is not None
    with pytest.raises(ChoiceError, match="registered twice"):
        registry.NORM.register("batch")(lambda channels: None)


@pytest.mark.parametrize(
    ("allotted", "cores"),
    [
        (None, 8),
        ("3", 3),
        ("8", 8),
        ("0", 1),
        ("-1", 8),
        ("", 8),
        ("two", 8),
        ("4096", 8),
        ("\u00b2", 8),
        ("1" * 5000, 8),
        (" 2 ", 2),
    ],
)
def test_cores_are_at_least_one_and_at_most_those_of_the_machine(allotted, cores, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if allotted is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", allotted)
    assert available_cores() == cores
