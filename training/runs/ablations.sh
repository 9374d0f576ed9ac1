#!/usr/bin/env bash
# C, CM, CR, CRM, and CRM with opposite sentences: three seeds each, on the same phantoms and word pieces, with as many
# steps as cost what STEPS of CRM cost in counted operations. Then, with the encoder frozen, a linear probe of the
# findings and a decoder of organs and lesions. Ends with two tables and their JSON. Every run goes on where it stopped.
#   ablations.sh [FOLDER]       SIZE=small (one CPU core, 100 minutes) | full (one GPU) | smoke (a test)
#                               STEPS, SEEDS="0 1 2"; DRY_RUN=1 prints the commands
# "small": blocks of 96 channels without a stem, 192 tokens a volume, 4 volumes a step to reconstruct; the text encoder
# begins as that of the shipped model, for from random weights reports all look alike and the contrast learns nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
out=${1:-out/ablations}
size=${SIZE:-full}
seeds=${SEEDS:-0 1 2}
start=() settings=() alone=() running=() fitting=()
case $size in
small)
    base=tiny steps=${STEPS:-140}
    start=(--init-text tiny)
    settings=(--set model.image.width=96 --set model.image.depth=4 --set 'model.image.stem=[]'
        --set report.memory_width=96 --set report.width=96 --set report.layers=2 --set report.heads=4
        --set report.hidden=256 --set report.max_length=192 --set reconstruction.width=48 --set reconstruction.heads=2
        --set reconstruction.depth=1 --set reconstruction.paired=false --set data.tokens=192
        --set data.max_report_length=128 --set optimizer.learning_rate=0.001
        --set optimizer.matrix_learning_rate=0.01 --set optimizer.text_share=0.1 --set optimizer.average=0.98)
    alone=(--set data.unpaired=4)
    running=(--set data.validation_cases=100 --set validate_every=100000 --set checkpoint_every=50)
    fitting=(--set 'volumes.size=[96,96,96]' --set 'volumes.spacing_mm=[4,4,4]' --set volumes.train=200
        --set volumes.test=40)
    tasks=(small-segmentation small-findings)
    ;;
smoke)
    base=smoke steps=${STEPS:-1}
    fitting=(--set 'volumes.size=[48,48,48]' --set 'volumes.spacing_mm=[8,8,8]' --set volumes.train=6
        --set volumes.test=3 --set optimizer.steps=2)
    tasks=(small-segmentation small-findings)
    ;;
full)
    base=tiny steps=${STEPS:-2000}
    running=(--set compute.tensorboard=true)
    fitting=(--set 'volumes.size=[96,96,96]' --set 'volumes.spacing_mm=[4,4,4]' --set 'crop=[96,96,96]')
    tasks=(organs-and-lesions findings)
    ;;
*)
    echo "SIZE is small, full or smoke, got $size" >&2
    exit 2
    ;;
esac
letters=(c cm cr crm crm-opposite)
recipes=("${letters[@]/#/$base-}")

run colipri-train prepare --recipe "$base-crm" --output "$out/phantoms" --workers "$(nproc)" \
    ${running[@]+"${running[@]}"}
costs=(colipri-train cost "${recipes[@]}" --like "$base-crm" --steps "$steps" ${settings[@]+"${settings[@]}"}
    ${alone[@]+"${alone[@]}"} --vocabulary)
declare -A of_equal_cost
if [[ -n ${DRY_RUN:-} ]]; then
    run "${costs[@]}" 4096
    for recipe in "${recipes[@]}"; do of_equal_cost[$recipe]=1; done
else
    lines=$("${costs[@]}" "$(wc -l <"$out/phantoms/tokenizer/vocab.txt")")
    while read -r recipe _ number; do of_equal_cost[$recipe]=$number; done <<<"$lines"
fi

folders=()
for seed in $seeds; do
    inits=()
    for recipe in "${recipes[@]}"; do
        folder=$out/$recipe-$seed
        folders+=("$folder")
        inits+=(--init "$recipe=$folder")
        unpaired=()
        if [[ $recipe == "$base"-c*m* ]]; then unpaired=(${alone[@]+"${alone[@]}"}); fi
        run mkdir -p "$folder"
        run ln -sfn "../phantoms/cases" "$folder/cases"
        # A run that has begun keeps its tokenizer, which is that of the text encoder it began with.
        [[ -d $folder/checkpoints ]] || run cp -r "$out/phantoms/tokenizer" "$folder/"
        run colipri-train pretrain --recipe "$recipe" --output "$folder" ${start[@]+"${start[@]}"} \
            --set "optimizer.steps=${of_equal_cost[$recipe]}" --set "seed=$seed" ${settings[@]+"${settings[@]}"} \
            ${unpaired[@]+"${unpaired[@]}"} ${running[@]+"${running[@]}"}
    done
    transfer=(--output "$out/transfer" "${inits[@]}" --seeds 1 --first-seed "$seed" --workers "$(nproc)" "${fitting[@]}")
    run colipri-train transfer classification --recipe "${tasks[1]}" "${transfer[@]}" --encoder probe
    run colipri-train transfer segmentation --recipe "${tasks[0]}" "${transfer[@]}" --encoder frozen
done
run colipri-train compare "${folders[@]}" --output "$out/table.json"
order=()
for recipe in "${recipes[@]}"; do order+=(--order "$recipe"); done
run colipri-train transfer table "$out/transfer" --output "$out/frozen.json" "${order[@]}"
