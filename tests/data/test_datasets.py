"""Images, splits and batches; CIFAR-10 and CIFAR-100 from their official distributions."""

import gzip
import hashlib
import http.server
import os
import pickle
import shutil
import tarfile
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.config.data import DataConfig, LocatedData
from harness.config.execution import ExecutionConfig
from harness.config.registry import ChoiceError
from harness.config.run import RunConfig
from harness.config.schedule import ScheduleConfig
from harness.data import cifar, datasets
from harness.data.batches import Batches, Subset, load
from harness.data.datasets import check, proportional, source, stratified_split
from harness.models.evaluation import batch_size
from harness.system import memory

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig(), CPU)


def batches(data, seed=0, augment=True, size=128):
    return Batches(data.train, data.facts, size, seed, augment)


def test_digits_are_split_into_1437_and_360_of_every_class_alike(digits):
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert set(Counter(digits.test.labels.tolist()).values()) <= {35, 36, 37}
    counts = torch.bincount(digits.train.labels) + torch.bincount(digits.test.labels)
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as UCI states of its test set


def test_digits_are_the_file_that_scikit_learn_distributes(digits):
    file = Path(datasets.__file__).with_name("digits.csv.gz").read_bytes()
    assert hashlib.sha256(file).hexdigest() == "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
    lines = [tuple(map(int, line.split(b","))) for line in gzip.decompress(file).split()]
    read = [torch.cat([subset.images.flatten(1), subset.labels[:, None]], dim=1) for subset in (digits.train, digits.test)]
    assert sorted(map(tuple, torch.cat(read).tolist())) == sorted(lines)


def test_the_holdout_is_a_tenth_of_the_training_images(digits):
    held = load(DataConfig(split="holdout"), CPU)
    assert (len(held.train), len(held.holdout), len(held.test)) == (1294, 143, 360)
    assert digits.holdout is None
    assert torch.equal(held.test.images, digits.test.images)
    assert not torch.equal(held.train.mean, digits.train.mean)


def test_a_sample_is_stratified_and_always_the_same(digits):
    sample = digits.train.sample(143)
    assert len(sample) == 143
    expected = torch.bincount(digits.train.labels) * 143 / 1437
    assert (torch.bincount(sample.labels) - expected).abs().max() < 1
    assert torch.equal(sample.images, load(DataConfig(), CPU).train.sample(143).images)
    assert digits.train.sample(None) is digits.train.sample(1437) is digits.train


def test_a_stratified_split_takes_every_index_once():
    labels = np.array([0, 1, 2] * 10, dtype=np.int64)
    rest, taken = stratified_split(labels, proportional(labels, 7), "some name")
    assert sorted([*rest, *taken]) == list(range(30))
    assert sorted(np.bincount(labels[taken])) == [2, 2, 3]


def test_normalised_images_have_mean_zero_in_every_pixel_and_overall_variance_one(digits):
    images = torch.cat([images for images, _ in digits.train.in_batches(500)])
    assert images.mean(0).abs().max() < 1e-5
    assert float(images.std()) == pytest.approx(1.0, abs=1e-3)
    assert torch.cat([labels for _, labels in digits.test.in_batches(100)]).equal(digits.test.labels)


def test_an_epoch_shows_every_image_at_most_once_and_the_last_partial_batch_is_dropped(digits):
    cut = batches(digits, augment=False)
    assert cut.per_epoch == 11
    seen = torch.cat([cut.at(step).images for step in range(11)]).flatten(1)
    assert len(seen) == 1408
    plain = {tuple(image) for image in torch.cat([i for i, _ in digits.train.in_batches(500)]).flatten(1).tolist()}
    assert {tuple(image) for image in seen.tolist()} <= plain
    assert len({tuple(image) for image in seen.tolist()}) == len(seen)


def test_batches_depend_on_seed_and_step_and_on_nothing_else(digits):
    first, again, other = batches(digits), batches(digits), batches(digits, seed=1)
    later = first.at(30).images
    for step in (3, 17, 29):
        again.at(step)
    assert torch.equal(again.at(30).images, later)
    assert not torch.equal(other.at(30).images, later)
    assert not torch.equal(first.at(19).images, later)  # the same position in the epoch before


def test_without_augmentation_the_order_is_the_same(digits):
    assert torch.equal(batches(digits).at(5).labels, batches(digits, augment=False).at(5).labels)


def test_each_image_gets_its_own_crop_of_the_padded_normalised_image_and_digits_are_never_mirrored(digits):
    plain, cropped = batches(digits, augment=False).at(0).images, batches(digits).at(0).images
    padded = torch.nn.functional.pad(plain, (1, 1, 1, 1))
    offsets = Counter()
    for before, after in zip(padded, cropped, strict=True):
        positions = [(r, c) for r in range(3) for c in range(3) if torch.equal(before[:, r : r + 8, c : c + 8], after)]
        assert positions
        offsets[positions[0]] += 1
    assert len(offsets) == 9  # every offset occurs among 128 images


def test_cifar_images_are_mirrored_half_of_the_time():
    facts = datasets.Facts(train=200, test=10, channels=3, size=32, classes=10, padding=4, flip=True)
    ramp = torch.arange(32, dtype=torch.uint8).expand(200, 3, 32, 32).contiguous()
    part = Subset(ramp, torch.zeros(200, dtype=torch.long), torch.zeros(3, 32, 32), 1.0)
    images = Batches(part, facts, 200, 0, True).at(0).images
    rising = sum(bool(image[0, 16, 20] > image[0, 16, 12]) for image in images)
    assert 70 < rising < 130  # 4.2 standard deviations of a fair coin
    assert {float(v) for v in images[:, 0, 16, 16].unique()} > {14.0, 16.0, 18.0}


def test_a_crop_of_images_with_a_margin_is_a_window_of_image_and_mean_alike():
    """10x10 images with a margin of 1, cropped to 8x8; pixel (r, c) is 10 r + c, so a crop shows its position."""
    facts = datasets.Facts(train=90, test=1, channels=1, size=8, classes=2, padding=0, flip=True, margin=1)
    image = torch.arange(100, dtype=torch.uint8).reshape(1, 1, 10, 10)
    mean = (torch.arange(100) % 7).float().reshape(1, 10, 10)
    part = Subset(image.expand(90, 1, 10, 10).contiguous(), torch.zeros(90, dtype=torch.long), mean, 2.0, 1)
    normalised = ((image.float() - mean) / 2)[0]
    windows = {(r, c): normalised[:, r : r + 8, c : c + 8] for r in range(3) for c in range(3)}
    seen = Counter()
    for crop in Batches(part, facts, 90, 0, True).at(0).images:
        (window_and_flip,) = [
            (position, mirrored)
            for position, window in windows.items()
            for mirrored in (False, True)
            if torch.equal(crop, window.flip(-1) if mirrored else window)
        ]
        seen[window_and_flip] += 1
    assert len(seen) == 18  # nine positions, each mirrored or not, among 90 images
    (unchanged,) = part.in_batches(90)
    assert all(torch.equal(image, windows[1, 1]) for image in unchanged.images)
    assert torch.equal(Batches(part, facts, 90, 0, False).at(0).images, unchanged.images)


@pytest.mark.parametrize("classes", [2, 3, 37, 100])
def test_a_holdout_is_stratified_and_chance_error_follows_from_the_classes(classes):
    labels = np.repeat(np.arange(classes), 20)
    rest, taken = stratified_split(labels, proportional(labels, len(labels) // 10), "holdout")
    assert np.bincount(labels[taken]).tolist() == [2] * classes
    assert np.bincount(labels[rest]).tolist() == [18] * classes
    facts = datasets.Facts(train=1, test=1, channels=3, size=8, classes=classes, padding=0, flip=True)
    assert facts.chance_error == pytest.approx(100 * (classes - 1) / classes)


def test_an_evaluation_batch_is_500_of_the_small_images_and_fewer_of_larger_ones():
    assert [batch_size(side) for side in (8, 32, 64, 65, 128, 224, 100_000)] == [500, 500, 500, 484, 125, 40, 1]


def test_more_images_than_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2 * 1797 * 64 - 1)
    with pytest.raises(ChoiceError, match=r"data=digits: 1,797 images of 8x8 take 0\.0 GiB of memory, more than half"):
        check(RunConfig())
    monkeypatch.setattr(memory, "available", lambda: 2 * 1797 * 64)
    check(RunConfig())


def test_available_memory_is_positive_and_at_most_the_machines_memory():
    assert 2**26 < memory.available() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ChoiceError, match="1437 training images"):
        check(RunConfig(schedule=ScheduleConfig(batch_size=1438)))
    with pytest.raises(ChoiceError, match="1294 training images"):
        check(RunConfig(data=DataConfig(split="holdout"), schedule=ScheduleConfig(batch_size=1400)))
    check(RunConfig(schedule=ScheduleConfig(batch_size=1437)))
    check(RunConfig(schedule=ScheduleConfig(precise_norm=1437)))
    with pytest.raises(ChoiceError, match="there are 1437 training images; nearest is 1437"):
        check(RunConfig(schedule=ScheduleConfig(precise_norm=1438)))


def pickled(batch):
    """Return a batch as Python 2 pickled it, like the official files: its keys are neither bytes nor text."""
    data = pickle.dumps(batch)
    for key in batch:
        data = data.replace(b"C" + bytes([len(key)]) + key, b"U" + bytes([len(key)]) + key)
    return data


def write_fake(root, monkeypatch):
    """Write fake distributions of 20 random images per file, expect their MD5 sums, and return the images of CIFAR-10."""
    generator = np.random.default_rng(0)
    for name in cifar.FOLDERS:
        (root / name).mkdir(parents=True)
    content = {}
    for number, (python, binary) in enumerate(zip(cifar.PYTHON, cifar.BINARY, strict=True)):
        images = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        labels = generator.integers(0, 10, 20)
        content[number] = images, labels
        (root / "cifar-10-batches-py" / python).write_bytes(pickled({b"data": images, b"labels": labels.tolist()}))
        records = np.concatenate([labels.astype(np.uint8)[:, None], images], axis=1)
        (root / "cifar-10-batches-bin" / binary).write_bytes(records.tobytes())
    for name in ("train", "test"):
        images = generator.integers(0, 256, (20, 3072), dtype=np.uint8)
        labels = {b"coarse_labels": [7] * 20, b"fine_labels": [99, *range(19)]}
        (root / "cifar-100-python" / name).write_bytes(pickled({b"data": images, **labels}))
    (root / "cifar-100-python" / "meta").write_bytes(pickle.dumps({b"fine_label_names": []}))
    for name, files in cifar.FOLDERS.items():
        for file in files:
            monkeypatch.setitem(files, file, hashlib.md5((root / name / file).read_bytes()).hexdigest())
    return content


def test_both_distributions_give_the_same_arrays(tmp_path, monkeypatch):
    content = write_fake(tmp_path, monkeypatch)
    read = {}
    for name in cifar.DISTRIBUTIONS["CIFAR10"]:
        cifar.check(tmp_path / name)
        read[name] = cifar.read(tmp_path / name)
    for python, binary in zip(*read.values(), strict=True):
        assert np.array_equal(python, binary)
    images, labels, _, test_labels = read["cifar-10-batches-py"]
    assert images.shape == (100, 3, 32, 32)
    assert np.array_equal(images[20:40].reshape(20, -1), content[1][0])
    assert np.array_equal(labels[20:40], content[1][1])
    assert np.array_equal(test_labels, content[5][1])


def test_cifar100_has_the_fine_labels_of_100_classes(tmp_path, monkeypatch):
    write_fake(tmp_path, monkeypatch)
    config = LocatedData("cifar100", root=str(tmp_path))
    source(config).check(config)
    arrays, facts = source(config).read(config), source(config).facts(config)
    assert arrays.train_images.shape == arrays.test_images.shape == (20, 3, 32, 32)
    assert arrays.train_labels.tolist() == [99, *range(19)]
    assert (facts.train, facts.test, facts.classes, facts.chance_error) == (50_000, 10_000, 100, 99.0)


def test_the_expected_md5_sums_are_those_that_torchvision_has():
    from torchvision import datasets

    for data_set, folders in cifar.DISTRIBUTIONS.items():
        theirs = getattr(datasets, data_set)
        listed = dict([*theirs.train_list, *theirs.test_list])
        ours = {name: md5 for name, md5 in cifar.FOLDERS[folders[0]].items() if name != "meta"}
        assert ours == listed
        assert theirs.base_folder == folders[0]
    assert cifar.PYTHON_100["meta"] == datasets.CIFAR100.meta["md5"]


def test_a_batch_file_that_would_run_code_is_refused(tmp_path, monkeypatch):
    write_fake(tmp_path, monkeypatch)
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(print))
    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        cifar.read(tmp_path / "cifar-10-batches-py")


@pytest.mark.parametrize("file", ["cifar-10-batches-bin/data_batch_3.bin", "cifar-100-python/train", "cifar-100-python/meta"])
def test_a_damaged_or_missing_batch_is_named(tmp_path, monkeypatch, file):
    write_fake(tmp_path, monkeypatch)
    damaged = tmp_path / file
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    with pytest.raises(ChoiceError, match=rf"{file} is damaged: its MD5 is [0-9a-f]{{32}}"):
        cifar.check(damaged.parent)
    damaged.unlink()
    with pytest.raises(ChoiceError, match=rf"{file}: missing"):
        cifar.check(damaged.parent)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_download_that_fails_says_so_and_leaves_nothing(tmp_path, monkeypatch, name):
    def offline(root, download):
        raise OSError("no route to host")

    monkeypatch.setattr(f"torchvision.datasets.{name.upper()}", offline)
    config = LocatedData(name, root=str(tmp_path / "new"), download=True)
    with pytest.raises(ChoiceError, match=f"{name.upper()} could not be downloaded: no route to host"):
        source(config).check(config)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: None, "there is no such folder"),
        (lambda root: root.mkdir(), r"holds (neither cifar-10-batches-py nor cifar-10-batches-bin|no cifar-100-python);"),
        (lambda root: root.write_text(""), "is a file"),
    ],
)
def test_a_root_without_data_is_refused(tmp_path, prepare, words):
    root = tmp_path / "root"
    prepare(root)
    for name in ("cifar10", "cifar100"):
        with pytest.raises(ChoiceError, match=words):
            source(DataConfig(name)).check(LocatedData(name, root=str(root)))
        with pytest.raises(ChoiceError, match=rf"data\.root is not given: data={name} "):
            source(DataConfig(name)).check(LocatedData(name))


def fetching(tmp_path, monkeypatch, data_set):
    """Serve the fake distribution to torchvision on localhost; return the server and the methods of its requests."""
    from torchvision import datasets

    kind, folder = getattr(datasets, data_set), cifar.DISTRIBUTIONS[data_set][0]
    write_fake(tmp_path / "official", monkeypatch)
    served = tmp_path / "served"
    served.mkdir()
    meta = kind.meta["filename"]
    (tmp_path / "official" / folder / meta).write_bytes(pickle.dumps({kind.meta["key"]: []}))
    md5 = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (tmp_path / "official" / folder).iterdir()}
    if meta in cifar.FOLDERS[folder]:
        monkeypatch.setitem(cifar.FOLDERS[folder], meta, md5[meta])
    with tarfile.open(served / kind.filename, "w:gz") as archive:
        archive.add(tmp_path / "official" / folder, folder)
    methods = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(served))

        def log_message(self, words, *values):
            methods.append(self.command)

        def copyfile(self, source, output):
            with suppress(OSError):  # the client is gone
                super().copyfile(source, output)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(kind, "url", f"http://127.0.0.1:{server.server_port}/{kind.filename}")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5((served / kind.filename).read_bytes()).hexdigest())
    monkeypatch.setattr(kind, "train_list", [[name, md5[name]] for name, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [[name, md5[name]] for name, _ in kind.test_list])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5[meta]})
    return server, methods


def part_of_the_archive(root, folder, archive):
    (root / archive).write_bytes(b"\x1f\x8b\x08\x00 and no more")


def empty_folder(root, folder, archive):
    (root / folder).mkdir()


def one_file_cut_short(root, folder, archive):
    shutil.copytree(root.parent / "official" / folder, root / folder)
    path = root / folder / sorted(cifar.FOLDERS[folder])[0]  # meta of CIFAR-100, which torchvision does not check
    path.write_bytes(path.read_bytes()[:-1])


def a_pipe(root, folder, archive):
    (root / folder).mkdir()
    os.mkfifo(root / folder / next(iter(cifar.FOLDERS[folder])))
    os.mkfifo(root / archive)


def whole_archive(root, folder, archive):
    shutil.copy(root.parent / "served" / archive, root / archive)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("left", [None, part_of_the_archive, empty_folder, one_file_cut_short, a_pipe, whole_archive])
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_download_repairs_the_remains_of_an_earlier_one(tmp_path, monkeypatch, name, left):
    server, methods = fetching(tmp_path, monkeypatch, name.upper())
    folder = cifar.DISTRIBUTIONS[name.upper()][0]
    root = tmp_path / "root"
    if left:
        root.mkdir()
        from torchvision import datasets

        left(root, folder, getattr(datasets, name.upper()).filename)
    config = LocatedData(name, root=str(root), download=True)
    try:
        source(config).check(config)
        assert ("GET" in methods) == (left is not whole_archive)
        methods.clear()
        source(config).check(config)
    finally:
        server.shutdown()
        server.server_close()
    assert methods == []  # nothing is downloaded twice
    cifar.check(root / folder)
    assert not [path for path in root.iterdir() if path.name.startswith(".")]
    assert len(source(config).read(config).train_labels) in (100, 20)


def test_a_download_of_other_bytes_is_refused_and_changes_nothing(tmp_path, monkeypatch):
    server, _ = fetching(tmp_path, monkeypatch, "CIFAR10")
    root = tmp_path / "root"
    own_file = root / "cifar-10-batches-py" / "data_batch_1"
    own_file.parent.mkdir(parents=True)
    own_file.write_bytes(b"mine")
    (archive,) = (tmp_path / "served").iterdir()
    archive.write_bytes(archive.read_bytes()[:1000])
    config = LocatedData("cifar10", root=str(root), download=True)
    with pytest.raises(ChoiceError, match=r"data\.download=true: CIFAR10 could not be downloaded: ") as refused:
        source(config).check(config)
    server.shutdown()
    server.server_close()
    assert "\n" not in str(refused.value)
    assert [path for path in root.rglob("*") if path.is_file()] == [own_file]


@pytest.mark.parametrize("broken", ["cifar-10-batches-py", "cifar-10-batches-bin"])
@pytest.mark.parametrize("download", [False, True])
def test_a_broken_distribution_does_not_hide_a_complete_one(tmp_path, monkeypatch, broken, download):
    content = write_fake(tmp_path, monkeypatch)
    config = LocatedData("cifar10", root=str(tmp_path), download=download)
    for path in sorted((tmp_path / broken).iterdir()):
        path.unlink()  # until the folder is empty
        source(config).check(config)
        assert np.array_equal(source(config).read(config).test_labels, content[5][1])
    (tmp_path / broken).rmdir()
    (tmp_path / broken).write_text("a file")
    source(config).check(config)


def test_two_broken_distributions_are_both_named(tmp_path, monkeypatch):
    write_fake(tmp_path, monkeypatch)
    for file in ("cifar-10-batches-py/data_batch_2", "cifar-10-batches-bin/test_batch.bin"):
        (tmp_path / file).unlink()
    config = LocatedData("cifar10", root=str(tmp_path))
    with pytest.raises(ChoiceError, match=r"py/data_batch_2: missing; .*bin/test_batch\.bin: missing; .*data\.download=true"):
        source(config).check(config)


def as_folder(path):
    path.mkdir()


def as_device(path):
    path.symlink_to("/dev/zero")


def as_circle(path):
    path.symlink_to(path.name)


def oversize(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def as_code(path):
    path.write_bytes(pickle.dumps(print))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [os.mkfifo, as_folder, as_device, as_circle, oversize, as_code])
@pytest.mark.parametrize("file", ["cifar-10-batches-py/data_batch_1", "cifar-100-python/train"])
def test_anything_but_a_batch_file_is_refused_by_name(tmp_path, monkeypatch, make, file):
    write_fake(tmp_path, monkeypatch)
    shutil.rmtree(tmp_path / "cifar-10-batches-bin")
    (tmp_path / file).unlink()
    make(tmp_path / file)
    config = LocatedData("cifar100" if "100" in file else "cifar10", root=str(tmp_path))
    for ask in (source(config).check, source(config).read):
        with pytest.raises(ChoiceError, match=rf"{file}: (is|cannot)|{file} is damaged"):
            ask(config)


def link_in_a_circle(folder):
    (folder / "x").symlink_to("x")
    return folder / "x"


def below_a_file(folder):
    (folder / "x").write_text("")
    return folder / "x" / "y"


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "image_folder"])
@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: "~nosuchuser/x", "data.root=~nosuchuser/x: cannot be read: "),
        (lambda folder: "a\0b", r"data.root=a\x00b: cannot be read: "),
        (link_in_a_circle, "Too many levels of symbolic links"),
        (below_a_file, "Not a directory"),
        (lambda folder: "x" * 5000, "File name too long"),
        (lambda folder: __file__, "is a file, not a folder"),
    ],
)
def test_an_invalid_root_is_refused_in_one_sentence(tmp_path, monkeypatch, name, download, make, words):
    if name == "image_folder" and download:
        return
    config = RunConfig(data=DataConfig(name), execution=ExecutionConfig(data_root=str(make(tmp_path)), data_download=download))
    with pytest.raises(ChoiceError) as refused:
        check(config)
    assert words in str(refused.value)
    with pytest.raises(ChoiceError):
        load(config.located_data(), CPU)


def test_a_root_that_may_not_be_entered_is_refused(tmp_path, monkeypatch):
    """The refusal is simulated, since the superuser may read everything."""

    def refuse(path, **more):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("harness.data.cifar.Path.lstat", refuse)
        with pytest.raises(
            ChoiceError, match=rf"data\.root={tmp_path}: cannot be read: {tmp_path}/cifar-10-batches-py: Permission"
        ):
            check(RunConfig(data=DataConfig("cifar10"), execution=ExecutionConfig(data_root=str(tmp_path))))
    monkeypatch.setattr("harness.data.filesystem.Path.stat", refuse)
    for name in ("cifar10", "image_folder"):
        with pytest.raises(ChoiceError, match=rf"data\.root={tmp_path}: cannot be read: Permission denied; "):
            check(RunConfig(data=DataConfig(name), execution=ExecutionConfig(data_root=str(tmp_path))))


def test_an_os_error_of_a_source_names_the_path(monkeypatch):
    def refuse(config):
        raise OSError(5, "Input/output error", "/data/file")

    for method in ("facts", "check", "read"):
        with monkeypatch.context() as patch:
            patch.setattr(datasets.Digits, method, staticmethod(refuse))
            with pytest.raises(ChoiceError, match=r"data=digits: cannot be read: /data/file: Input/output error"):
                check(RunConfig()) if method != "read" else load(DataConfig(), CPU)


@pytest.mark.slow
def test_real_cifar10(cifar_root):
    config = LocatedData("cifar10", root=str(cifar_root))
    source(config).check(config)
    data = load(config, CPU)
    assert data.train.images.shape == (50_000, 3, 32, 32)
    assert data.train.labels.bincount().tolist() == [5000] * 10
    assert data.test.labels.bincount().tolist() == [1000] * 10
    means = data.train.mean.mean((1, 2)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)  # the usual channel means
