"""Shared fixtures: the browser, real CIFAR-10 if it lies beside the checkout, and an end to every process a test starts.

Hypothesis tries the same examples in every run, so that a new failure points to a change. HYPOTHESIS_PROFILE=random tries others.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from support.browser import CHROMIUM

settings.register_profile("repeatable", derandomize=True)
settings.register_profile("random")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the tests start hundreds of processes, which would compile every module again

ROOT = Path(__file__).resolve().parent.parent
UNPACK = ROOT.parent / "shared" / "data" / "unpack_cifar10.py"


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    yield
    if survival := sys.modules.get("benchmarks.survival"):
        survival.end_all()


@pytest.fixture(scope="module")
def browser():
    """Yield headless Chromium (playwright.sync_api.Browser); skip where it or Playwright is missing."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with playwright.sync_playwright() as driver, driver.chromium.launch(executable_path=CHROMIUM) as browser:
        yield browser


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory):
    """Return a folder with the official binary distribution of CIFAR-10."""
    if not UNPACK.is_file():
        pytest.skip("real CIFAR-10 is not beside this checkout (../shared/data)")
    root = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(UNPACK), str(root)], check=True, capture_output=True)
    return root
