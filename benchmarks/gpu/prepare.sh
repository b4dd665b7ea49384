#!/usr/bin/env bash
# Prepare a checkout for a GPU machine without a network: bash benchmarks/gpu/prepare.sh DATA [EARLIER], later --undo.
# DATA holds cifar10/*.medxz and unpack_cifar10.py; EARLIER holds pack-* files of an earlier trip.
set -euo pipefail
aside=$(git rev-parse --git-dir)/findings-aside
if [ "$1" = --undo ]; then
    rm -rf .half1 .half2 .whl
    [ ! -d "$aside" ] || mv "$aside" results/findings
    git reset -q -- results/findings
    git status --porcelain | head -5
    exit
fi
[ -z "$(git status --porcelain -- . ':!results')" ] || echo "note: uncommitted changes travel, too"
for name in /.half1/ /.half2/ /.whl/; do
    grep -qxF "$name" "$(git rev-parse --git-dir)/info/exclude" || echo "$name" >>"$(git rev-parse --git-dir)/info/exclude"
done
rm -rf .half1 .half2
mkdir -p .half1 .half2 .whl
for half in .half1 .half2; do
    cp "$1"/unpack_cifar10.py $half/
    git rev-parse HEAD >$half/commit
done
cp "$1"/cifar10/data_batch_[123].medxz .half1/
cp "$1"/cifar10/data_batch_[45].medxz "$1"/cifar10/test_batch.medxz .half2/
if [ -n "${2:-}" ]; then mkdir .half2/earlier && cp "$2"/pack-* .half2/earlier/; fi
if [ -z "$(ls .whl)" ]; then
    for package in hydra-core==1.3.8 omegaconf==2.3.1 rich pygments markdown-it-py mdurl; do
        python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
            --platform manylinux_2_28_x86_64 -d .whl "$package"
    done
    python3 -m pip wheel -q --no-deps -w .whl antlr4-python3-runtime==4.9.3
fi
if [ -d results/findings ]; then git rm -rq --cached results/findings && mv results/findings "$aside"; fi
tree=$(git ls-files -z --cached --others --exclude-standard | du -cb --files0-from=- | tail -1 | cut -f1)
for trip in ".half1" ".half2 .whl"; do
    carried=$(du -cb --apparent-size $trip | tail -1 | cut -f1)
    echo "trip with $trip: $(((tree + carried) / 1048576)) MiB of 64"
done
