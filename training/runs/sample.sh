#!/usr/bin/env bash
# Makes the generated chest CT that ships as the plugin's sample data (one phantom of a seed no run trains on).
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-out/sample}
colipri-train phantoms --output "$out" --first-seed 3000385 --count 1 --spacing 3 --shape 124 94 110
cp "$out/phantom_3000385_ct.nii.gz" napari_colipri/samples/phantom_chest.nii.gz
