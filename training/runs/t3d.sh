#!/usr/bin/env bash
# T3D at full size, from CT-RATE (scans and reports) to a bundle: both objectives, then its ablations and text-free twins.
# Meant for one machine with eight GPUs of 80 GB. Every stage goes on where it stopped: run it again after a failure.
#   CT_RATE=... t3d.sh [FOLDER] [RECIPE ...]       DRY_RUN=1 prints the commands
# RECIPE: t3d if none is named; t3d_contrast, t3d_restoration, t3d_views, and t3d_textfree, ..._textfree for the twins.
# TEXT_ENCODER: a folder with model.safetensors and vocab.txt, or a hub id; CXR-BERT if unset.
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
[[ -z ${DRY_RUN:-} ]] || : "${CT_RATE:=CT_RATE}"
: "${CT_RATE:?folder of CT-RATE, version 2, with its tables}"
out=${1:-out/t3d}
shift || true
recipes=("${@:-t3d}")
gpus=${GPUS:-8}
workers=${WORKERS:-$(nproc)}
text=${TEXT_ENCODER:-microsoft/BiomedVLP-CXR-BERT-specialized}

run mkdir -p "$out"
run colipri-train manifest ct-rate-v2 "$CT_RATE" --output "$out/ct-rate.parquet"
run colipri-train prepare "$out/ct-rate.parquet" --recipe t3d --output "$out/ct-rate-1mm" --workers "$workers"
for recipe in "${recipes[@]}"; do
    run torchrun --standalone --nproc-per-node "$gpus" --no-python \
        colipri-train pretrain --recipe "$recipe" --output "$out/$recipe" --data "$out/ct-rate-1mm" --init-text "$text"
    run colipri-train structures --output "$out/$recipe"
    run colipri-train export --output "$out/$recipe" "$out/$recipe/bundle" --overwrite --licence CC-BY-NC-SA-4.0
done
run python -m benchmarks.t3d_text "${recipes[@]/#/$out/}" --scans 500 --output "$out/t3d_text.json"
