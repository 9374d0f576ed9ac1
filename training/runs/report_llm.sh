#!/usr/bin/env bash
# Teaches a causal language model to write reports from a bundle's patch tokens: projector and LoRA, the rest frozen.
# Needs a language model in safetensors (folder or hub id) and a folder of prepared phantoms on the bundle's grid.
# The run goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/../.."
language_model=${1:?folder or hub id of a causal language model}
store=${2:?folder of prepared phantoms, such as out/tiny/cases}
output=${3:-out/report_llm}
device=$(python -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
colipri-train report "$store" --model tiny --language-model "$language_model" --output "$output" --device "$device"
