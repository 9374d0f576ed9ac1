#!/usr/bin/env bash
# T3D on phantoms of 1.5 mm, with nothing but this repository: both objectives, their ablations and the text-free twins.
# Minutes a recipe on a GPU, hours on a processor. Every stage goes on where it stopped.
#   t3d_tiny.sh [FOLDER] [RECIPE ...]       DRY_RUN=1 prints the commands
# PHANTOMS: training phantoms (1000). STEPS: optimiser steps (those of the recipe). SEED: 0.
# TEXT_ENCODER: a bundle or hub id whose text encoder reads the reports, frozen (tiny).
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
out=${1:-out/t3d_tiny}
shift || true
if (($# > 0)); then
    recipes=("$@")
else
    recipes=(t3d_tiny t3d_tiny_contrast t3d_tiny_restoration t3d_tiny_views)
    recipes+=(t3d_tiny_textfree t3d_tiny_contrast_textfree t3d_tiny_restoration_textfree)
fi
workers=${WORKERS:-$(nproc)}
phantoms=${PHANTOMS:-1000}
seed=${SEED:-0}

run colipri-train phantoms --output "$out/phantoms" --count "$phantoms" --spacing 1.5 --workers "$workers"
run colipri-train phantoms --output "$out/phantoms" --count 64 --first-seed 1000000 --spacing 1.5 --workers "$workers"
run colipri-train manifest phantoms "$out/phantoms" --output "$out/phantoms.csv"
run colipri-train prepare "$out/phantoms.csv" --recipe t3d_tiny --output "$out/prepared" --workers "$workers"
for recipe in "${recipes[@]}"; do
    run colipri-train pretrain --recipe "$recipe" --output "$out/$recipe-$seed" --data "$out/prepared" \
        --init-text "${TEXT_ENCODER:-tiny}" --set "seed=$seed" ${STEPS:+--set "optimizer.steps=$STEPS"}
    run colipri-train structures --output "$out/$recipe-$seed"
    run colipri-train export --output "$out/$recipe-$seed" "$out/$recipe-$seed/bundle" --overwrite
done
names=("${recipes[@]/#/$out/}")
run python -m benchmarks.t3d_text "${names[@]/%/-$seed}" --output "$out/t3d_text.json"
run python scripts/t3d_picture.py "$out/${recipes[0]}-$seed" "$out/pictures"
