#!/usr/bin/env bash
# From scratch, text-free contrast, text-free restoration, masked autoencoding, both without text, and T3D: three seeds
# each, pretrained on the same phantoms with as many steps as cost what STEPS of T3D cost in counted operations, then
# fine-tuned alike with 1 %, 10 % and 100 % of the labels (organs and small lesions), and asked for findings (probe, and
# fine-tuning).
# Ends with one JSON and one table. Every run goes on where it stopped; a signal saves and stops.
#   t3d_ablation.sh [FOLDER]      SIZE=small (2 CPU cores, hours) | full (one GPU, days) | smoke (a test)
#                                 STEPS, SEEDS="0 1 2", PHANTOMS; DRY_RUN=1 prints the commands
#                                 TEXT_ENCODER: whose text encoder reads the reports (tiny, frozen; at "full" CXR-BERT, slowed)
# "small": sub-volumes of 48 voxels at 2 mm, 6 scans of 2 views a step, a residual network of four blocks; tasks on cubes
# of 48 voxels at 2 mm, 200 labelled and 40 to test.
set -euo pipefail
cd "$(dirname "$0")/../.."
source training/runs/commands.sh
out=${1:-out/t3d-ablation}
size=${SIZE:-small}
seeds=${SEEDS:-0 1 2}
case $size in
small)
    base=t3d_tiny spacing=2 shape=(160 160 160) steps=${STEPS:-1000} phantoms=${PHANTOMS:-700} held=12
    tasks=(small-segmentation small-findings)
    settings=(--set 'preprocessing.spacing_mm=[2,2,2]' --set 'preprocessing.size=[160,160,160]' --set data.batch_size=6
        --set 'data.crop=[48,48,48]' --set data.max_report_length=160 --set 'encoder.layers=[1,1,1,1]'
        --set 'encoder.planes=[8,16,32,64]' --set encoder.stem_kernel=3 --set fusion.decoder=8
        --set optimizer.average=0.97)
    running=(--set compute.workers=0 --set "validate_every=$steps" --set data.validation_cases=12 --set checkpoint_every=25)
    words=(--init-text "${TEXT_ENCODER:-tiny}")
    fitting=()
    ;;
smoke)
    base=t3d_smoke spacing=4 shape=(64 64 64) steps=${STEPS:-2} phantoms=${PHANTOMS:-6} held=4
    tasks=(small-segmentation small-findings)
    settings=(--set 'preprocessing.spacing_mm=[2,2,2]')
    running=(--set checkpoint_every=100)
    words=()
    fitting=(--set 'volumes.size=[16,16,16]' --set 'volumes.spacing_mm=[6,6,6]' --set 'crop=[16,16,16]'
        --set volumes.train=20 --set volumes.test=3 --set optimizer.steps=2)
    ;;
full)
    base=t3d spacing=1 shape=(384 384 384) steps=${STEPS:-20000} phantoms=${PHANTOMS:-2000} held=64
    tasks=(organs-and-lesions findings)
    settings=() running=() fitting=()
    words=(--init-text "${TEXT_ENCODER:-microsoft/BiomedVLP-CXR-BERT-specialized}")
    ;;
*)
    echo "SIZE is small, full or smoke, got $size" >&2
    exit 2
    ;;
esac
recipes=("${base}_contrast_textfree" "${base}_restoration_textfree" "${base}_masked_textfree"
    "${base}_textfree" "$base")
labels=(contrast restoration masked-autoencoding both t3d)

draw=(colipri-train phantoms --output "$out/phantoms" --spacing "$spacing" --shape "${shape[@]}" --workers "$(nproc)")
run "${draw[@]}" --count "$phantoms"
run "${draw[@]}" --count "$held" --first-seed 1000000
run colipri-train manifest phantoms "$out/phantoms" --output "$out/manifest.csv"
grid=()
if [[ $size == full ]]; then grid=(--recipe "$base"); fi
run colipri-train prepare "$out/manifest.csv" --output "$out/prepared" --workers "$(nproc)" ${grid[@]+"${grid[@]}"}

costs=(colipri-train cost "${recipes[@]}" --like "$base" --steps "$steps" ${settings[@]+"${settings[@]}"})
declare -A of_equal_cost
run "${costs[@]}"
for recipe in "${recipes[@]}"; do of_equal_cost[$recipe]=1; done
if [[ -z ${DRY_RUN:-} ]]; then
    lines=$("${costs[@]}")
    while read -r recipe _ number; do of_equal_cost[$recipe]=$number; done <<<"$lines"
fi

for seed in $seeds; do
    inits=(--init "scratch=random:$out/t3d-$seed")
    for index in "${!recipes[@]}"; do
        folder=$out/${labels[$index]}-$seed
        run colipri-train pretrain --recipe "${recipes[$index]}" --output "$folder" --data "$out/prepared" \
            ${settings[@]+"${settings[@]}"} ${running[@]+"${running[@]}"} ${words[@]+"${words[@]}"} \
            --set "optimizer.steps=${of_equal_cost[${recipes[$index]}]}" --set "seed=$seed"
        inits+=(--init "${labels[$index]}=$folder")
    done
    transfer=(--output "$out/transfer" "${inits[@]}" --seeds 1 --first-seed "$seed" --workers "$(nproc)"
        ${fitting[@]+"${fitting[@]}"})
    run colipri-train transfer segmentation --recipe "${tasks[0]}" "${transfer[@]}" \
        --fraction 0.01 --fraction 0.1 --fraction 1
    run colipri-train transfer classification --recipe "${tasks[1]}" "${transfer[@]}" --encoder probe --encoder finetuned
done
order=(--order scratch)
for label in "${labels[@]}"; do order+=(--order "$label"); done
run colipri-train transfer table "$out/transfer" --output "$out/table.json" "${order[@]}"
