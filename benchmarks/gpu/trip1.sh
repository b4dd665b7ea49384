#!/usr/bin/env bash
# First trip: check and time steps, profile one, and unpack half of CIFAR-10. Results go to $OUT.
# From outside: CHECK_S (seconds for the checks), DEVICE, QUICK=--quick, PARTS, NETS, DATA, PYTHON.
set -u
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD
device=${DEVICE:-cuda} python=${PYTHON:-python3}
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null
nice $python -m benchmarks.gpu.unpack .half1 "${DATA:-/tmp/cifar}" >"$OUT/unpack.log" 2>&1 &
timeout "${CHECK_S:-200}" $python -m benchmarks.gpu.check --device "$device" ${QUICK:-} --json "$OUT/check.json" \
    --only ${PARTS:-steps interruptions interleaved times} 2>&1 | tee "$OUT/check.log"
timeout 40 $python -m benchmarks.gpu.profile_step --device "$device" ${NETS:-20-identity 110-identity} 2>&1 | tee "$OUT/profile.log"
wait
cat "$OUT/unpack.log"
