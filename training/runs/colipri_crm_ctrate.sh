#!/usr/bin/env bash
# COLIPRI-CRM at the published size, from CT-RATE (scans and reports) and NLST (scans) to a bundle and its figures.
# Meant for one machine with four GPUs of 80 GB. Every stage goes on where it stopped: run it again after a failure.
#   CT_RATE=... NLST=... colipri_crm_ctrate.sh [FOLDER]       DRY_RUN=1 prints the commands
# TEXT_ENCODER: a folder with model.safetensors and vocab.txt, or a hub id; CXR-BERT if unset.
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
[[ -z ${DRY_RUN:-} ]] || : "${CT_RATE:=CT_RATE}" "${NLST:=NLST}"
: "${CT_RATE:?folder of CT-RATE, version 2, with its tables}" "${NLST:?folder of NLST, a series a folder}"
out=${1:-out/colipri-crm}
gpus=${GPUS:-4}
workers=${WORKERS:-$(nproc)}
text=${TEXT_ENCODER:-microsoft/BiomedVLP-CXR-BERT-specialized}

run mkdir -p "$out"
run colipri-train manifest ct-rate-v2 "$CT_RATE" --output "$out/ct-rate.parquet"
run colipri-train manifest nlst "$NLST" --output "$out/nlst.parquet"
run colipri-train prepare "$out/ct-rate.parquet" --output "$out/ct-rate" --workers "$workers"
run colipri-train prepare "$out/nlst.parquet" --output "$out/nlst" --workers "$workers"
run torchrun --standalone --nproc-per-node "$gpus" --no-python \
    colipri-train pretrain --recipe colipri-crm --output "$out/run" \
    --data "$out/ct-rate" --data "$out/nlst" --init-text "$text"
run colipri-train export --output "$out/run" "$out/bundle" --overwrite --name colipri-crm-ctrate \
    --licence CC-BY-NC-SA-4.0
run colipri-train evaluate --model "$out/bundle" --output "$out/evaluation" --prepared "$out/ct-rate"
