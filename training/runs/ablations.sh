#!/usr/bin/env bash
# C, CM, CR, CRM, and CRM with opposite sentences: three seeds each, on the same phantoms and word pieces, with as many
# steps as cost what STEPS of CRM cost. Ends with a table. Every run goes on where it stopped.
#   ablations.sh [FOLDER]       BASE=tiny STEPS=2000 SEEDS="0 1 2"; DRY_RUN=1 prints the commands
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
out=${1:-out/ablations}
base=${BASE:-tiny}
seeds=${SEEDS:-0 1 2}
recipes=("$base-c" "$base-cm" "$base-cr" "$base-crm" "$base-crm-opposite")

run colipri-train prepare --recipe "$base-crm" --output "$out/phantoms" --workers "$(nproc)"
costs=(colipri-train cost "${recipes[@]}" --like "$base-crm" --steps "${STEPS:-2000}")
declare -A steps
if [[ -n ${DRY_RUN:-} ]]; then
    run "${costs[@]}"
    for recipe in "${recipes[@]}"; do steps[$recipe]=1; done
else
    lines=$("${costs[@]}")
    while read -r recipe _ number; do steps[$recipe]=$number; done <<<"$lines"
fi

folders=()
for recipe in "${recipes[@]}"; do
    for seed in $seeds; do
        folder=$out/$recipe-$seed
        folders+=("$folder")
        run mkdir -p "$folder"
        run ln -sfn "../phantoms/cases" "$folder/cases"
        run cp -r "$out/phantoms/tokenizer" "$folder/"
        run colipri-train pretrain --recipe "$recipe" --output "$folder" \
            --set "optimizer.steps=${steps[$recipe]}" --set "seed=$seed" --set compute.tensorboard=true
    done
done
run colipri-train compare "${folders[@]}" --output "$out/table.json"
