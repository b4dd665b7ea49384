"""Scanning a user's folder: images and their classes, ignored files, and refused layouts."""

import os
import socket

import numpy as np
import pytest
from PIL import Image

from harness.config.registry import ChoiceError
from harness.data import folders, image_folder
from harness.data.folders import scan


def put(root, *names):
    """Write an image of random pixels under each name below `root`."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(abs(hash(name))).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, "PNG")


@pytest.fixture
def root(tmp_path):
    """A folder with two classes, each with one training and one test image."""
    put(tmp_path / "set", *(f"{part}/{name}/1.png" for part in ("train", "test") for name in ("cat", "dog")))
    return tmp_path / "set"


def train_of(root):
    """Return the training images, by name below `root`, and their labels."""
    return [(str(path.relative_to(root)), label) for path, label in scan(str(root)).train]


def refusal(root):
    with pytest.raises(ChoiceError) as refused:
        scan(str(root))
    return str(refused.value)


def test_the_extensions_are_those_of_torchvision():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert folders.EXTENSIONS == IMG_EXTENSIONS


def test_images_are_those_of_torchvision(root):
    from torchvision.datasets import ImageFolder

    put(root, "train/cat/images/a.JPEG", "train/cat/b.jpg.png", "train/dog/deep/er/c.Tif", "train/dog/d.webp")
    put(root, "elsewhere/e.png", "elsewhere/more/f.bmp")
    (root / "train/dog/linked").symlink_to(root / "elsewhere")
    (root / "train/cat/g.ppm").symlink_to(root / "elsewhere/e.png")
    (root / "train/fox").symlink_to(root / "elsewhere")
    put(root, "test/fox/1.png")
    for name in ("cat/cat_boxes.txt", "cat/h.gif", "cat/jpg", "dog/Thumbs.db", "dog/i.png.txt", "loose.png"):
        (root / "train" / name).write_bytes(b"")
    theirs, ours = ImageFolder(str(root / "train")), scan(str(root))
    assert list(ours.classes) == theirs.classes == ["cat", "dog", "fox"]
    assert sorted((str(path), label) for path, label in ours.train) == sorted(theirs.samples)
    assert len(ours.train) == 11


def test_ignored_files_are_listed_in_one_line(root, caplog):
    put(root, "val/cat/1.png", "val/dog/1.png", "test/.hidden/1.png", "train/cat/.thumbnails/1.png")
    for name in ("wnids.txt", "train/cat/cat_boxes.txt", "train/dog/dog_boxes.txt", "train/dog/Thumbs.db", "test/cat/.DS_Store"):
        (root / name).write_bytes(b"")
    image_folder.check(scan(str(root)))
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    ignored = record.getMessage().partition("of a class: ")[2].split(", ")
    assert ignored == [
        "val",
        "wnids.txt",
        "train/cat/.thumbnails",
        "train/cat/cat_boxes.txt (2 such)",
        "train/dog/Thumbs.db",
        "test/.hidden",
        "test/cat/.DS_Store",
    ]


def test_nothing_is_logged_if_nothing_is_ignored(root, caplog):
    image_folder.check(scan(str(root)))
    assert caplog.records == []


@pytest.mark.parametrize("unlabelled", ["test/images/1.png", "test/1.png"])
def test_val_replaces_a_test_without_labels(root, unlabelled):
    (root / "test").rename(root / "val")
    put(root, unlabelled)
    folder = scan(str(root))
    assert {path.parent.parent.name for path, _ in folder.test} == {"val"}
    assert folder.ignored == "test"


def test_the_layout_of_tiny_imagenet_is_explained(root):
    (root / "test/cat/1.png").unlink()
    for name in ("cat", "dog"):
        for path in (root / "test" / name).iterdir():
            path.unlink()
        (root / "test" / name).rmdir()
    (root / "test").rmdir()
    put(root, "val/images/val_0.JPEG", "test/images/test_0.JPEG")
    (root / "val/val_annotations.txt").write_text("val_0.JPEG\tcat\t0\t0\t8\t8\n")
    words = refusal(root)
    assert "val holds none of the classes of train (cat, dog): its images are labelled in val/val_annotations.txt" in words
    assert "move each into val/CLASS/" in words


def test_circular_links_end(root):
    for name in ("a", "b"):
        (root / "train/cat" / name).symlink_to(".")
    put(root, "train/dog/deep/2.png")
    (root / "train/dog/deep/up").symlink_to("..")
    (root / "train/dog/deep/all").symlink_to(root / "train")
    (root / "train/dog/self.txt").symlink_to("self.txt")
    assert train_of(root) == [("train/cat/1.png", 0), ("train/dog/1.png", 1), ("train/dog/deep/2.png", 1)]


def pipe(path):
    os.mkfifo(path)


def unix_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def device(path):
    path.symlink_to("/dev/zero")


def circle(path):
    path.symlink_to(path.name)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [pipe, unix_socket, device, circle])
def test_special_files_are_ignored_or_named_and_never_block(root, make, monkeypatch):
    monkeypatch.chdir(root / "train/cat")
    make((root / "train/cat/odd").relative_to(root / "train/cat"))
    assert train_of(root) == [("train/cat/1.png", 0), ("train/dog/1.png", 1)]
    make((root / "train/cat/odd.png").relative_to(root / "train/cat"))
    with pytest.raises(ChoiceError, match=r"1 of 5 images cannot be read: train/cat/odd\.png: "):
        image_folder.check(scan(str(root)))
    assert image_folder.stored_side(scan(str(root)), 8, None) == 10  # reads the headers of the files


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_without_images_is_named(root, part):
    (root / part / "dog/1.png").rename(root / part / "dog/1.txt")
    assert f"{part}/dog holds no image (.jpg, .jpeg, .png" in refusal(root)
    (root / part / "dog/1.txt").unlink()
    assert f"{part}/dog is empty: every class needs at least one image" in refusal(root)


def test_names_that_are_not_unicode_are_read(root):
    os.rename(os.fsencode(root / "train/cat/1.png"), os.fsencode(root / "train/cat") + b"/\xff\n.png")  # noqa: PTH104  # a Path holds no bytes
    for part in ("train", "test"):
        os.rename(os.fsencode(root / part / "cat"), os.fsencode(root / part) + b"/c\xe9")  # noqa: PTH104  # a Path holds no bytes
    folder = scan(str(root))
    assert image_folder.check(folder).startswith("sha256:")
    assert [label for _, label in folder.train] == [0, 1]


@pytest.mark.parametrize("subfolder", [".", "train", "train/cat"])
def test_a_folder_that_may_not_be_read_is_named(root, subfolder, monkeypatch):
    """The refusal is simulated, since the superuser may read everything."""
    forbidden, listed = (root / subfolder).resolve(), os.scandir

    def refuse(path="."):
        if os.path.realpath(path) == str(forbidden):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    def names(path="."):
        with refuse(path) as entries:
            return [entry.name for entry in entries]

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", names)
    words = refusal(root)
    assert words.startswith(f"data.root={root}: cannot be read: {root / subfolder}: Permission denied")
