#!/usr/bin/env bash
# Second trip, on the same machine: the other half of the data, earlier checkpoints if any, then runs until TRAIN seconds are over.
# From outside: TRAIN, RUNS, MORE, BACK, DATA, RESULTS, SITE, PYTHON. Packed results go to $OUT.
set -u
export PYTHONUNBUFFERED=1 PYTHONPATH=${SITE:=/tmp/site}:$PWD
data=${DATA:-/tmp/cifar} results=${RESULTS:-/tmp/results} python=${PYTHON:-python3}
$python -m benchmarks.gpu.unpack .half2 "$data" | tail -1
[ "$(ls "$data"/cifar-10-batches-bin/*.bin | wc -l)" = 6 ] || { echo "half of the data is missing: send the first half again"; exit 3; }
$python -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$SITE" .whl/*.whl 2>/dev/null
[ -d .half2/earlier ] && $python -m benchmarks.gpu.pack in .half2/earlier "$results"
timeout -s TERM "${TRAIN:-330}" $python -m harness.run -m \
    ${RUNS:-data=cifar10 depth=20,56 shortcut=none,identity precision=bf16 gradient_norms=every runs_per_process=4} \
    ${MORE:-data.root=$data device=cuda} checkpoint_minutes=60 results="$results" launcher=inline 2>&1 | tee "$OUT/run.log" | tail -40
for run in "$results"/runs/*/; do echo "$(basename "$run") $(grep -h '"state"\|"step"' "$run/status.json" | tr -d '\n')"; done
$python -m benchmarks.gpu.pack out "$results" "$OUT" ${BACK:-runs/* sweeps/*/*.csv sweeps/*/*.json sweeps/*/*.md}
