"""A user's own images: reading, refusals before anything starts, and the identity of runs."""

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from harness import run, verify
from harness.config.data import DataConfig, LocatedData
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data import folders, image_folder, pixels
from harness.data.batches import load
from harness.data.datasets import check, source
from harness.planning import sweep
from harness.records import paths, states
from harness.records.run import Run, create
from harness.system import memory
from harness.system.signals import Stop
from harness.training.interleaving import interleave
from harness.training.train import train, train_interleaved
from support.helpers import KEYS, rarely, tiny
from support.images import png

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["device=cpu", "schedule.batch_size=4"]
COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


def draw(colour, generator, size=(40, 48)):
    """Return an image of one colour, brighter or darker, with noise."""
    pixels = np.array(colour) * generator.uniform(0.7, 1.2) + generator.normal(0, 20, (*size, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder of JPEGs of three colours, each with 12 training and 4 test images."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        for name, colour in COLOURS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                image = draw(colour, generator, (40, 48) if number % 2 else (60, 44))
                image.save(root / part / name / f"{number:02}.jpg", quality=95)
    return root


@pytest.fixture
def images(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "images")


def own(root, **more):
    return LocatedData("image_folder", root=str(root), **({"image_size": 32} | more))


def arguments(root, results, *more):
    """Return the command line of a run on the images."""
    given = {argument.split("=")[0] for argument in more}
    keys = [key for key in ["data.image_size=32", "depth=8", *KEYS] if key.split("=")[0] not in given]
    return ["data=image_folder", f"data.root={root}", *more, *keys, f"results={results}"]


def test_the_real_command_learns_three_colours(images, tmp_path):
    more = ["schedule.steps=40", "schedule.batch_size=12", "schedule.learning_rate=0.05", "schedule.eval_every=20"]
    command = [sys.executable, "-m", "harness.run", *arguments(images, tmp_path / "results", *more)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results" / paths.RUNS).iterdir()
    recorded = Run(folder)
    assert (recorded.state, recorded.train_error, recorded.test_error) == ("done", 0.0, 0.0)
    assert recorded.steps["loss"][:3].mean() > 0.8  # chance among three classes: ln 3 = 1.1
    assert recorded.steps["loss"][-3:].mean() < 0.2
    weights = load_file(folder / paths.WEIGHTS)
    assert tuple(weights["linear.weight"].shape) == (3, 16)
    assert tuple(weights["stem.conv.weight"].shape) == (4, 3, 3, 3)
    assert recorded.config["data"]["image_size"] == 32
    assert recorded.config["data"]["content"] == image_folder.check(folders.scan(str(images)))
    assert recorded.environment["data_checksum"].startswith("sha256:")
    assert not any(str(tmp_path) in path.read_text() for path in folder.glob("*.json"))


@pytest.mark.parametrize("depth", [18, *rarely(50)])
def test_the_imagenet_family_trains_on_own_images(depth, images, tmp_path):
    more = ["family=imagenet", f"depth={depth}", "shortcut=projection", "schedule.batch_size=8"]
    assert run.main(arguments(images, tmp_path / "results", *more)) == 0
    (folder,) = (tmp_path / "results" / paths.RUNS).iterdir()
    recorded = Run(folder)
    assert recorded.state == "done"
    assert recorded.layers["layer"].max() == depth
    assert tuple(load_file(folder / paths.WEIGHTS)["stem.conv.weight"].shape) == (4, 3, 7, 7)


def only_one_class(root):
    for part in ("train", "test"):
        for name in ("blue", "green"):
            shutil.rmtree(root / part / name)


def truncate(root):
    path = root / "train" / "green" / "03.jpg"
    path.write_bytes(path.read_bytes()[:-1])


def break_many(root):
    for path in sorted((root / "test").rglob("*.jpg"))[:5]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_class(root):
    for path in (root / "test" / "blue").iterdir():
        path.unlink()


BAD = {
    "no folder": (shutil.rmtree, ["there is no such folder", "train/CLASS"]),
    "a file": (lambda root: (shutil.rmtree(root), root.write_text("")), ["is a file, not a folder"]),
    "no train": (lambda root: (root / "train").rename(root / "training"), ["holds no folder train"]),
    "no test": (lambda root: (root / "test").rename(root / "tests"), ["holds no folder test (nor val)"]),
    "no class": (lambda root: [shutil.rmtree(folder) for folder in (root / "train").iterdir()], ["/train holds no class"]),
    "one class alone": (only_one_class, ["/train holds only one class, red"]),
    "other classes": (
        lambda root: (root / "test" / "red").rename(root / "test" / "rose"),
        ["train and test differ in their classes: red only in train"],
    ),
    "one class more": (
        lambda root: shutil.copytree(root / "test" / "red", root / "test" / "rose"),
        ["test and train differ in their classes: rose only in test"],
    ),
    "an empty class": (empty_class, ["test/blue is empty"]),
    "a truncated image": (truncate, ["1 of 48 images cannot be read: train/green/03.jpg: image file is truncated"]),
    "many": (break_many, ["5 of 48 images cannot be read: test/blue/00.jpg: ", "test/blue/02.jpg: ", ", and 2 more"]),
    "a text": (
        lambda root: (root / "train" / "red" / "notes.jpg").write_text("no image"),
        ["1 of 49 images cannot be read: train/red/notes.jpg: is not an image that Pillow can read (JPEG, PNG, "],
    ),
    "a pipe": (lambda root: os.mkfifo(root / "test" / "red" / "pipe.jpg"), ["test/red/pipe.jpg: is not a regular file"]),
    "one colour": (
        lambda root: [Image.new("RGB", (9, 9), "gray").save(path) for path in (root / "train").rglob("*.jpg")],
        ["all 36 training images are identical, pixel for pixel (train/blue/00.jpg, ...)"],
    ),
    "one test image": (
        lambda root: [shutil.copy(root / "train/red/00.jpg", path) for path in (root / "test").rglob("*.jpg")],
        ["all 12 test images are identical"],
    ),
    "numbers without a range": (
        lambda root: Image.fromarray(np.ones((9, 9), np.float32)).save(root / "train" / "red" / "deep.tif"),
        ["1 of 49 images cannot be read: train/red/deep.tif: holds floating-point numbers, whose range is unknown; convert it"],
    ),
    "an empty file": (lambda root: (root / "train" / "red" / "00.jpg").write_bytes(b""), ["train/red/00.jpg: is not an image"]),
    "a broken link": (
        lambda root: (root / "train" / "red" / "gone.jpg").symlink_to(root / "nowhere"),
        ["train/red/gone.jpg: No such file or directory"],
    ),
    "too few": (
        lambda root: [path.unlink() for path in (root / "train" / "red").glob("0[3-9].jpg")],
        ["schedule.batch_size=32: larger than the data set", "has 29 training images"],
    ),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("multirun", [False, True], ids=["run", "sweep"])
def test_bad_images_are_named_with_exit_code_2_before_anything_is_written(kind, multirun, images, tmp_path, capsys):
    spoil, words = BAD[kind]
    spoil(images)
    several = ["-m", "shortcut=none,identity"] if multirun else []
    assert run.main(arguments(images, tmp_path / "results", *several)) == 2
    error = capsys.readouterr().err
    assert error.startswith("harness.run: ")
    assert all(word in error for word in words), error
    assert "Traceback" not in error
    assert not (tmp_path / "results").exists()


def test_more_images_than_memory_holds_are_refused_before_they_are_read(images, monkeypatch, tmp_path, capsys):
    truncate(images)
    monkeypatch.setattr(memory, "available", lambda: 2 * 48 * 3 * 36 * 36 - 1)
    assert run.main(arguments(images, tmp_path / "results")) == 2
    assert "data=image_folder: 48 images of 32x32 take 0.0 GiB of memory, more than half" in capsys.readouterr().err


def test_a_tenth_of_nine_images_cannot_be_held_back(images):
    for path in (images / "train").rglob("*.jpg"):
        if path.stem > "02":
            path.unlink()
    schedule = ScheduleConfig(steps=1, batch_size=4)
    with pytest.raises(ChoiceError, match=r"data.split=holdout: a tenth of 9 training images is less than one image"):
        check(RunConfig(data=own(images, split="holdout"), schedule=schedule))
    check(RunConfig(data=own(images), schedule=schedule))


def test_classes_and_images_are_those_of_torchvision(images):
    from torchvision.datasets import ImageFolder

    (images / "train" / "red" / "more" / ".thumbnails").mkdir(parents=True)
    for name in ("more/a.jpg", "more/.thumbnails/b", ".DS_Store"):
        shutil.copy(images / "train" / "red" / "00.jpg", images / "train" / "red" / name)
    theirs, ours = ImageFolder(str(images / "train")), folders.scan(str(images))
    assert list(ours.classes) == theirs.classes == ["blue", "green", "red"]
    assert sorted((str(path), label) for path, label in ours.train) == sorted(theirs.samples)
    assert [label for _, label in ours.train] == [0] * 12 + [1] * 12 + [2] * 13


def test_val_replaces_test(images, drawn):
    (images / "test").rename(images / "val")
    read, same = (source(own(root)).read(own(root)) for root in (images, drawn))
    assert read.checksum() == same.checksum()


def test_images_are_read_as_the_middle_square_with_a_margin(images):
    arrays = source(own(images)).read(own(images))
    assert arrays.train_images.shape == (36, 3, 36, 36)  # 32 pixels and a margin of 2 on each side
    assert arrays.test_images.shape == (12, 3, 36, 36)
    assert arrays.test_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for image, label in zip(arrays.train_images, arrays.train_labels, strict=True):
        assert np.argmax(image.mean((1, 2))) == 2 - label  # blue is the third channel
    assert image_folder.margin(224) == 16


def test_the_view_is_that_of_torchvision():
    """Resizing the shorter side and then cropping: equal for squares; otherwise PIL rounds once more, by one level of 255."""
    from torchvision.transforms import CenterCrop, Compose, Resize

    theirs = Compose([Resize(36), CenterCrop(36)])
    generator = np.random.default_rng(0)
    for size, levels in (((72, 72), 0), ((20, 20), 0), ((100, 100), 0), ((72, 144), 1), ((144, 72), 1), ((216, 72), 1)):
        image = Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8))
        expected = np.asarray(theirs(image)).transpose(2, 0, 1).astype(int)
        assert np.abs(image_folder.resized_square(pixels.to_rgb(image), 36) - expected).max() <= levels, size


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_images_of_other_modes_become_rgb(mode, tmp_path):
    image = Image.new("RGB", (50, 40), (255, 255, 255)).convert(mode)
    image.save(tmp_path / "image", format="TIFF")
    with Image.open(tmp_path / "image") as saved:
        assert saved.mode == mode
        assert image_folder.resized_square(pixels.to_rgb(saved), 8).tolist() == np.full((3, 8, 8), 255).tolist()


def test_the_holdout_mean_and_test_images_are_of_the_size_asked_for(images):
    data = load(own(images, split="holdout"), torch.device("cpu"))
    assert (len(data.train), len(data.holdout), len(data.test)) == (33, 3, 12)
    assert data.holdout.labels.tolist() == [0, 1, 2]
    assert data.train.mean.shape == (3, 36, 36)
    assert torch.allclose(data.train.mean, data.train.images.double().mean(0).float())
    (batch,) = data.test.in_batches(500)
    assert batch.images.shape == (12, 3, 32, 32)
    assert data.facts.chance_error == pytest.approx(200 / 3)


def squares(root, generator, parts=(("train", 4), ("test", 2)), side=32):
    """Write PNGs of random pixels of two classes; return train and test in order, uint8 [N, 3, side, side]."""
    drawn = {}
    for part, count in parts:
        drawn[part] = generator.integers(0, 256, (2 * count, side, side, 3), dtype=np.uint8)
        for number, image in enumerate(drawn[part]):
            folder = root / part / "ab"[number // count]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
    return {part: images.transpose(0, 3, 1, 2) for part, images in drawn.items()}


@pytest.mark.parametrize("resize", [None, 32])
def test_images_of_the_size_asked_for_are_left_as_they_are(tmp_path, resize):
    """They are cropped like CIFAR-10, from the image and a border of 4."""
    drawn = squares(tmp_path, np.random.default_rng(0))
    config = own(tmp_path, resize=resize)
    arrays, facts = source(config).read(config), source(config).facts(config)
    assert np.array_equal(arrays.train_images, drawn["train"])
    assert np.array_equal(arrays.test_images, drawn["test"])
    assert (facts.size, facts.margin, facts.padding) == (32, 0, 4)
    (batch,) = load(config, torch.device("cpu")).test.in_batches(10)
    assert batch.images.shape == (4, 3, 32, 32)


def test_an_image_of_the_size_asked_for_is_left_as_it_is_among_larger_ones(tmp_path):
    drawn = squares(tmp_path, np.random.default_rng(0))
    Image.new("RGB", (64, 64), (10, 20, 30)).save(tmp_path / "train" / "a" / "large.png")
    arrays = source(own(tmp_path)).read(own(tmp_path))
    assert arrays.train_images.shape == (9, 3, 36, 36)
    assert np.array_equal(arrays.train_images[:4, :, 2:-2, 2:-2], drawn["train"][:4])
    assert np.array_equal(arrays.train_images[0, :, 0, 2:-2], drawn["train"][0, :, 0])  # the border repeats the outermost pixels
    assert (arrays.train_images[4] == np.array([10, 20, 30])[:, None, None]).all()


def test_the_shorter_side_is_resized_as_asked(tmp_path):
    """In 8x16 pixels where column c has level 10 c, the central square has 40 to 110; halved, its inner columns are 65 and 85."""
    rows = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8), (8, 16))
    squares(tmp_path, np.random.default_rng(0), side=8)
    for part in ("train", "test"):
        Image.fromarray(rows).save(tmp_path / part / "a" / "0.png")
    config = own(tmp_path, image_size=2, resize=4)
    seen, facts = source(config).read(config), source(config).facts(config)
    assert (facts.size, facts.margin, facts.padding) == (2, 1, 0)
    inner = seen.test_images[0, 0, :, 1:3]
    assert inner.tolist() == [[65, 85]] * 4  # inside a ramp no filter matters; at the sides the cut does
    config = own(tmp_path, image_size=8, resize=8)
    square = source(config).read(config).test_images[0, 0]
    assert square.tolist() == [[40, 50, 60, 70, 80, 90, 100, 110]] * 8
    odd = own(tmp_path, image_size=4, resize=5)
    assert source(odd).read(odd).test_images.shape == (4, 3, 4, 4)


def test_resize_is_part_of_a_runs_identity(images):
    config = RunConfig(data=own(images, content=f"sha256:{0:016}"), device="cpu")
    other = replace(config, data=replace(config.data, resize=40))
    assert config.identity() != other.identity()
    assert other.flat()["data.resize"] == 40
    without = {key: value for key, value in config.choices()["data"].items() if key != "resize"}
    assert RunConfig.from_mapping({**config.choices(), "data": without}).identity() == config.identity()


def test_training_images_that_are_identical_after_cropping_are_refused(tmp_path):
    """They differ only in their outermost columns, outside the central square."""
    for part in ("train", "test"):
        for number, name in enumerate("ab"):
            pixels = np.zeros((8, 40, 3), np.uint8)
            pixels[:, 0] = number
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / part / name / "1.png")
    config = own(tmp_path, image_size=8)
    assert source(config).check(config).startswith("sha256:")
    with pytest.raises(ChoiceError, match="all 2 training images are identical, pixel for pixel"):
        load(config, torch.device("cpu"))


@pytest.mark.parametrize(("most", "warns"), [(4095, True), (16_000, True), (20_000, False)])
def test_nearly_black_16_bit_images_cause_a_warning(tmp_path, caplog, most, warns):
    """4,095 of 65,535 is level 16 of 255, 16,000 is 62, 20,000 is 78."""
    squares(tmp_path, np.random.default_rng(0))
    for path in tmp_path.rglob("*.png"):
        samples = np.random.default_rng(int(path.stem)).integers(0, most + 1, (32, 32)).astype(np.uint16)
        samples[0, 0] = most
        Image.fromarray(samples).save(path)
    image_folder.check(folders.scan(str(tmp_path)))
    assert ("12 images of more than 8 bits are no brighter than" in caplog.text) == warns


def test_nearly_black_16_bit_colours_cause_a_warning(tmp_path, caplog):
    """Pillow decodes them to 8 bits; 4,095 of 65,535 is level 15."""
    squares(tmp_path, np.random.default_rng(0))
    for path in tmp_path.rglob("*.png"):
        samples = np.random.default_rng(int(path.stem)).integers(0, 4096, (32, 96)).astype(">u2")
        path.write_bytes(png(32, 32, 16, 2, b"".join(b"\0" + row.tobytes() for row in samples)))
    image_folder.check(folders.scan(str(tmp_path)))
    assert "12 images of more than 8 bits are no brighter than 15 of 255" in caplog.text


def test_a_decoders_error_without_a_message_is_reported(images, monkeypatch):
    def fail(image):
        raise MemoryError if image.size == (44, 60) else OSError

    monkeypatch.setattr("harness.data.pixels.to_rgb", fail)
    for ask in (source(own(images)).check, source(own(images)).read):
        with pytest.raises(ChoiceError, match=r"48 of 48 images cannot be read: train/blue/00\.jpg: there is not enough memory"):
            ask(own(images))


def test_images_damaged_before_training_end_the_run_in_one_sentence(images, tmp_path, caplog):
    config = check(tiny(data=own(images)))
    run = create(config, tmp_path)
    (images / "train" / "red" / "00.jpg").write_bytes(b"")
    assert interleave([train_interleaved(config, run, "test", Stop())]) == [states.FAILED]
    assert "1 of 48 images cannot be read: train/red/00.jpg: is not an image" in run.status["error"]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("TIFF", "tif"), ("PPM", "pgm")])
def test_16_bit_images_are_read_like_their_8_bit_copies(kind, suffix, tmp_path):
    generator = np.random.default_rng(0)
    for name in ("deep", "shallow"):
        squares(tmp_path / name, generator, side=16)
    for part, count in (("train", 8), ("test", 4)):
        for number in range(count):
            samples = generator.integers(0, 2**16, (16, 16), dtype=np.uint16)
            stem = f"{part}/{'ab'[number // (count // 2)]}/{number}"
            (tmp_path / "deep" / f"{stem}.png").unlink()
            deep = tmp_path / "deep" / f"{stem}.{suffix}"
            if kind == "PPM":
                deep.write_bytes(b"P5\n16 16\n65535\n" + samples.astype(">u2").tobytes())
            else:
                Image.fromarray(samples).save(deep, kind)
            Image.fromarray(np.round(samples / 257).astype(np.uint8)).save(tmp_path / "shallow" / f"{stem}.png")
    deep, shallow = (source(own(tmp_path / name)).read(own(tmp_path / name, image_size=16)) for name in ("deep", "shallow"))
    assert deep.checksum() == shallow.checksum()
    assert deep.train_images.std() > 50


def test_content_depends_on_names_and_bytes_and_not_on_the_folder(images, drawn):
    def content():
        return image_folder.check(folders.scan(str(images)))

    before = content()
    assert before == image_folder.check(folders.scan(str(drawn)))
    first = images / "train" / "red" / "00.jpg"
    first.rename(first.with_name("000.jpg"))
    renamed = content()
    first.with_name("000.jpg").rename(first)
    assert content() == before
    first.write_bytes((images / "train" / "red" / "02.jpg").read_bytes())
    assert len({before, renamed, content()}) == 3


def test_a_run_has_no_identity_before_its_images_are_known(images):
    config = RunConfig(data=own(images), device="cpu", schedule=ScheduleConfig(steps=1, batch_size=4))
    with pytest.raises(ValueError, match="images must be checked"):
        config.identity()
    checked = check(config)
    again = RunConfig.from_mapping(json.loads(json.dumps(checked.choices())))
    assert again.identity() == checked.identity()
    assert replace(checked, data=replace(checked.data, image_size=36)).identity() != checked.identity()
    assert DataConfig("image_folder").image_size == 224


def test_other_images_make_another_run_and_equal_ones_are_reused_in_any_folder(images, drawn, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "harness"):
        first = train(tiny(data=own(images)), tmp_path)
        assert "reused" not in caplog.text
        assert train(tiny(data=own(drawn)), tmp_path).folder == first.folder
        assert "done before, reused" in caplog.text
    shutil.copy(images / "train" / "red" / "00.jpg", images / "train" / "red" / "99.jpg")
    second = train(tiny(data=own(images)), tmp_path)
    assert second.folder != first.folder
    assert first.config["data"]["content"] != second.config["data"]["content"]
    assert first.environment["data_checksum"] != second.environment["data_checksum"]


def test_two_folders_in_a_sweep_are_two_runs_that_differ_in_content(images, drawn, tmp_path):
    (images / "test" / "red" / "00.jpg").unlink()
    planned = sweep.plan(["data=image_folder", f"data.root={drawn},{images}", f"results={tmp_path}", *SMALL], True, [])
    assert len(planned.configs) == 2
    assert planned.folder.name.startswith("data.content-")


def test_images_are_checked_once_for_a_sweep(images, tmp_path, monkeypatch):
    checked = []
    monkeypatch.setattr(image_folder, "check", lambda folder: checked.append(folder) or f"sha256:{0:016}")
    more = ["depth=8,14", "data.split=full,holdout", "data.image_size=16,32"]
    planned = sweep.plan(["data=image_folder", f"data.root={images}", f"results={tmp_path}", *more, *SMALL], True, [])
    assert (len(planned.configs), len(checked)) == (8, 1)


def test_images_must_match_a_given_content(images, drawn, tmp_path, capsys):
    known = image_folder.check(folders.scan(str(drawn)))
    planned = sweep.plan(arguments(drawn, tmp_path, f"data.content={known}"), False, [])
    assert planned.configs[0].data.content == known
    (images / "test" / "red" / "00.jpg").unlink()
    assert run.main(arguments(images, tmp_path / "results", f"data.content={known}")) == 2
    assert f"data.content={known}: the images below data.root have content sha256:" in capsys.readouterr().err
    with pytest.raises(
        ChoiceError, match=r"the images below data\.root have content sha256:"
    ):  # changed between the check and the training
        load(own(images, content=known), torch.device("cpu"))


def test_a_run_is_verified_only_on_its_own_images(images, drawn, tmp_path, capsys):
    folder = train(tiny(data=own(drawn)), tmp_path).folder
    assert verify.main([str(folder), "--root", str(images)]) == 0
    assert "exact check: the same" in capsys.readouterr().out
    (images / "test" / "red" / "00.jpg").unlink()
    assert verify.main([str(folder), "--root", str(images)]) == 2
    assert "cannot be checked: data.content=" in capsys.readouterr().out
