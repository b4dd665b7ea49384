"""A run's numbers do not depend on its caller's global settings, which are restored afterwards."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import os, sys
import numpy as np, torch
from support.helpers import tiny
import harness, harness.training.train, harness.training.loop
from harness.training.devices import deterministic

B = torch.backends
NAMES = ("", "cudnn", "mkldnn", "cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn")

def below(name):
    return eval("B." + name) if name else B

def attempt(read):
    try:
        return read()
    except RuntimeError:
        return "refused"

def settings():
    least, one = 5e-324, float("1")
    return {
        **{name: getattr(below(name), "fp32_precision", None) for name in NAMES},
        "flush": least * one == 0.0,
        "cudnn.allow": attempt(lambda: B.cudnn.allow_tf32),
        "matmul.allow": attempt(lambda: B.cuda.matmul.allow_tf32),
        "matmul": attempt(torch.get_float32_matmul_precision),
        "default": (torch.get_default_dtype(), torch.get_default_device()),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")),
        "mkldnn.enabled": B.mkldnn.enabled,
        "numpy": np.geterr(),
        "threads": torch.get_num_threads(),
        "anomalies": torch.is_anomaly_enabled(),
    }

def train(caller, results):
    config = tiny(norm="none")
    exec(caller)
    before = settings()
    harness.train(config, results)
    assert settings() == before, {name: (before[name], now) for name, now in settings().items() if now != before[name]}
    with deterministic(tiny(threads=2)):
        least = torch.ones(2**18, dtype=torch.int32).view(torch.float32) * 1.0  # the smallest denormal number
        assert (least.view(torch.int32) == 1).all(), "a denormal number became zero"

for number, caller in enumerate(sys.argv[2:]):
    if os.fork() == 0:  # each caller is a separate process that shares these imports
        train(caller, f"{sys.argv[1]}/{number}")
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f"with {caller}")
"""
CALLERS = {
    "denormals are zero": "torch.set_flush_denormal(True)",
    "those of other threads are, too": "torch.set_num_threads(2); torch.set_flush_denormal(True); torch.rand(2000, 2000).relu()",
    "anomalies are looked for": "torch.autograd.set_detect_anomaly(True)",
    "TF32 everywhere": "B.fp32_precision = 'tf32'",
    "exact everywhere": "B.fp32_precision = 'ieee'",
    "bfloat16 in oneDNN": "B.mkldnn.fp32_precision = 'bf16'",
    "TF32 but in cuDNN": "B.cudnn.fp32_precision = 'ieee'; B.fp32_precision = 'tf32'",
    "products of bfloat16": "torch.set_float32_matmul_precision('medium')",
    "both interfaces": "torch.set_float32_matmul_precision('high'); B.cuda.matmul.fp32_precision = 'ieee'",
    "the older interface": "B.cudnn.allow_tf32 = False; B.cuda.matmul.allow_tf32 = True",
    "float64": "torch.set_default_dtype(torch.float64)",
    "another device": "torch.set_default_device('meta')",
    "no gradients": "torch.set_grad_enabled(False)",
    "inference": "torch.inference_mode().__enter__()",
    "autocast": "torch.autocast('cpu').__enter__()",
    "only warnings": "torch.use_deterministic_algorithms(True, warn_only=True)",
    "no oneDNN": "B.mkldnn.enabled = False",
    "NumPy raises": "np.seterr(all='raise')",
}


def test_the_callers_settings_change_no_number_and_are_left_as_they_were(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", CHILD, str(tmp_path), "", *CALLERS.values()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    undisturbed = written(tmp_path / "0")
    assert [name for number, name in enumerate(CALLERS, 1) if written(tmp_path / str(number)) != undisturbed] == []


def written(results):
    (folder,) = (results / "runs").iterdir()
    return {name: (folder / name).read_bytes() for name in ("weights.safetensors", "layers.csv.gz", "steps.csv")}
