#!/bin/sh
# Create .venv and install the project into it; reuse it while it works and its requirements are the same.
set -eu
python=${1:-python3}
requirements() { # what decides which packages are installed
    sed -n '/^requires-python/p; /^dependencies/,/^]/p; /^dev = /,/^]/p' pyproject.toml
    cat constraints.txt setup.sh
}
wanted="$("$python" --version 2>&1) $(requirements | cksum)"
if [ -x .venv/bin/python ] && [ "$(cat .venv/requirements 2>/dev/null)" = "$wanted" ] &&
    .venv/bin/python -c 'import torch, hydra, harness' 2>/dev/null; then
    exit 0
fi
"$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || {
    echo "Python 3.10 to 3.13 is needed; $python is $("$python" --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2
    exit 1
}
echo "Installing into .venv (about 6 GB with the CUDA build of PyTorch; some minutes) ..." >&2
rm -rf .venv
if ! "$python" -m venv .venv 2>/dev/null; then # Debian's Python without python3-venv: let its pip fill the folder
    rm -rf .venv
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install --quiet pip
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision -e '.[dev]'
printf '%s\n' "$wanted" >.venv/requirements
