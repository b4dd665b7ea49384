"""Detection of native bfloat16, its effect on precision=auto, and the warning about slow runs."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness import run
from harness.config.run import Precision, RunConfig
from harness.records import paths
from harness.training import auto
from support.helpers import KEYS, tiny

ROOT = Path(__file__).resolve().parents[2]
ZEN_4 = "flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE_RAPIDS = "flags\t\t: fpu sse2 avx2 avx512f amx_bf16 avx512_bf16 amx_tile\n"
HASWELL = "flags\t\t: fpu sse2 avx avx2 fma\n"
SKYLAKE_X = "flags\t\t: fpu sse2 avx avx2 fma avx512f avx512bw avx512vl\n"
ARM = "Features\t: fp asimd bf16\n"
SLOW = "does not compute bfloat16 by itself"


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Return a function that replaces the processor's reported features."""

    def become(facts, most=None):
        path = tmp_path / "cpuinfo"
        path.unlink(missing_ok=True)
        if facts is not None:
            path.write_text(f"processor\t: 0\n{facts}")
        monkeypatch.setattr(auto, "CPU_FACTS", path)
        monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
        if most:
            monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", most)

    return become


@pytest.mark.parametrize(
    ("facts", "limits", "computes"),
    [
        (ZEN_4, {}, True),
        (SAPPHIRE_RAPIDS, {}, True),
        (SAPPHIRE_RAPIDS, {"most": "AVX512_CORE_BF16"}, True),
        (HASWELL, {}, False),
        (SKYLAKE_X, {}, False),
        (ZEN_4, {"most": "AVX2"}, False),
        (ZEN_4, {"most": "avx512_core"}, False),
        (ARM, {}, None),
        (None, {}, None),
    ],
)
def test_which_processors_compute_bfloat16(facts, limits, computes, processor):
    processor(facts, **limits)
    assert auto.computes_bf16("cpu") is computes


@pytest.mark.parametrize(("facts", "becomes"), [(ZEN_4, "bf16"), (SKYLAKE_X, "fp32"), (None, "fp32")])
def test_auto_is_the_run_that_it_becomes(facts, becomes, processor, tmp_path, caplog):
    processor(facts)
    config = tiny(precision="auto")
    assert auto.resolve(config).run_name() == tiny(precision=becomes).run_name()
    caplog.set_level(logging.INFO, "harness")
    assert run.main(["precision=auto", "depth=8", *KEYS, f"results={tmp_path}"]) == 0
    (config,) = (tmp_path / paths.RUNS).glob("*/config.json")
    assert json.loads(config.read_text())["precision"] == becomes
    assert [line for line in caplog.messages if "precision=" in line] == [f"precision=auto: {becomes} on cpu"]


def test_auto_is_no_default_and_no_identity():
    assert RunConfig().precision is Precision.fp32
    with pytest.raises(ValueError, match="precision must be resolved"):
        tiny(precision="auto").identity()


def test_slow_runs_are_announced_once_a_sweep_and_only_where_they_are_to_be_trained(processor, tmp_path, caplog):
    caplog.set_level(logging.INFO, "harness")
    keys = ["precision=bf16", "depth=8", "shortcut=none,identity", "launcher=inline", *KEYS]
    processor(SKYLAKE_X)
    for warnings in (1, 0):  # the second time, both runs are already done
        assert run.main(["-m", *keys, f"results={tmp_path}"]) == 0
        assert [SLOW in line for line in caplog.messages].count(True) == warnings
        caplog.clear()


def test_what_is_not_slow_or_not_known_is_not_announced(processor):
    config = tiny(precision="bf16")
    for facts, warned in ((ZEN_4, False), (None, False), (ARM, False), (HASWELL, True)):
        processor(facts)
        assert bool(auto.slow_precision_warning([config])) is warned
        assert not auto.slow_precision_warning([replace(config, precision="fp32")])


def test_a_sweep_on_the_cpu_is_planned_without_torch():
    code = "import sys\nfrom harness.planning.sweep import plan\nplan(['depth=8,14', 'device=cpu'], True, [])\n"
    subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], cwd=ROOT, check=True)
