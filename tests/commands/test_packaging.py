"""The wheel has what it needs and works from any folder; the metadata, the licence and the citation agree."""

import email
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from support.helpers import KEYS

ROOT = Path(__file__).resolve().parents[2]
BUILD = [] if find_spec("hatchling") is None else ["--no-build-isolation"]
"""Without hatchling, which `make install` brings, pip fetches it."""


def carry_out(*command, cwd, **environment):
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps", *BUILD]
    carry_out(*pip, "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("installed") / "target"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--target"]
    carry_out(*pip, str(target), str(wheel), cwd=target.parent)
    return target


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_the_code_reads_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    expected = {name for name in tracked if name.startswith(("harness/", "experiments/"))}
    expected |= {f"harness/{name}" for name in tracked if name.startswith("conf/")}
    inside = {name for name in names if ".dist-info/" not in name}
    assert expected <= inside
    assert {Path(name).parts[0] for name in inside} == {"harness", "experiments"}
    assert not [name for name in inside if "__pycache__" in name]


@pytest.mark.slow
def test_the_metadata_say_what_the_project_is(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    about = email.message_from_bytes(archive.read(name))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert about["Name"] == citation["title"] == "depth-harness"
    assert about["Version"] == str(citation["version"])
    assert about["License-Expression"] == citation["license"] == "MIT"
    assert about["Author"] == citation["authors"][0]["name"] == "the depth-harness authors"
    assert about["Requires-Python"] == "<3.14,>=3.10"
    assert about.get_payload().startswith((ROOT / "README.md").read_text()[:40])
    licence = archive.read(name.replace("METADATA", "licenses/LICENSE")).decode()
    assert licence == (ROOT / "LICENSE").read_text()
    assert "Copyright (c) 2026 the depth-harness authors" in licence


@pytest.mark.slow
def test_an_installed_wheel_composes_describes_and_trains_from_another_folder(installed, tmp_path):
    def python(*arguments):
        return carry_out(sys.executable, *arguments, cwd=tmp_path, PYTHONPATH=str(installed))

    where = "import harness, sys; print(harness.__file__); sys.exit('torch' in sys.modules)"
    assert python("-c", where).startswith(str(installed))
    assert "schedule=cifar10" in python("-m", "harness.run", "--help")
    assert "1,727,962" in python("-m", "harness.describe", "depth=110")
    printed = python("-m", "harness.run", "depth=8", "variant=he2016_identity", *KEYS)
    (run,) = (tmp_path / "results" / "runs").iterdir()
    (sweep,) = (tmp_path / "results" / "sweeps").iterdir()
    assert str(sweep / "report.html") in printed
    assert "<style>" in (sweep / "report.html").read_text()
    environment = json.loads((run / "environment.json").read_text())
    assert environment["packages"]["depth-harness"] == yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert environment["code"] == {"commit": None, "dirty": None}
    assert "index.html" in python("-m", "harness.report", "--index")


@pytest.mark.slow
def test_a_source_archive_builds_the_same_wheel(wheel, tmp_path):
    """A wheel made from the archive alone holds the same files; findings, tests and results of a user's are not in it."""
    if find_spec("hatchling") is None:
        tools = tmp_path / "tools"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        carry_out(*pip, "install", "--quiet", "--target", str(tools), "hatchling", cwd=tmp_path)
    else:
        tools = Path()
    build = [sys.executable, "-m", "hatchling", "build"]
    carry_out(*build, "-t", "sdist", "-d", str(tmp_path), cwd=ROOT, PYTHONPATH=str(tools))
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("depth_harness-*/")
    assert not {"tests", "results", ".venv"} & {path.name for path in source.iterdir()}
    assert {"LICENSE", "CITATION.cff", "CHANGELOG.md", "docs"} <= {path.name for path in source.iterdir()}
    carry_out(*build, "-t", "wheel", "-d", str(tmp_path), cwd=source, PYTHONPATH=str(tools))
    (again,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_the_citation_file_has_what_the_format_requires():
    """Citation File Format 1.2.0: required keys, of references too; a person has family names, an entity a name."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert {key for key in citation if key not in ALLOWED} == set()
    for work in (citation, *citation["references"]):
        assert work["authors"]
        assert all(set(person) == {"name"} or set(person) == {"given-names", "family-names"} for person in work["authors"])
    assert all({"type", "title", "authors"} <= set(work) for work in citation["references"])
    values = [work["identifiers"][0]["value"] for work in citation["references"]]
    assert values == ["arXiv:1512.03385", "arXiv:1603.05027"]
    assert [work["url"].rpartition("/")[2] for work in citation["references"]] == [value.partition(":")[2] for value in values]


ALLOWED = {
    *("abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers", "keywords", "license"),
    *("license-url", "message", "preferred-citation", "references", "repository", "repository-artifact", "repository-code"),
    *("title", "type", "url", "version"),
}
"""The keys that version 1.2.0 of the format knows."""
