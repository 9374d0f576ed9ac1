#!/usr/bin/env bash
# Makes the bundle "tiny" that ships in colipri_core/bundles, from nothing but this repository.
# Every stage goes on where it stopped. On 2 CPU cores: see training/LOG.md for the time it took.
set -euo pipefail
cd "$(dirname "$0")/../.."
run=${1:-out/tiny}
colipri-train prepare --recipe tiny --output "$run" --workers "$(nproc)"
colipri-train stem --recipe tiny --output "$run"
colipri-train pretrain --recipe tiny --output "$run"
colipri-train export --recipe tiny --output "$run" --overwrite "$run/masked"
mkdir -p "$run/whole"
ln -sfn ../cases "$run/whole/cases"
colipri-train pretrain --recipe tiny-whole --output "$run/whole" --init "$run/masked"
colipri-train structures --recipe tiny-whole --output "$run/whole"
colipri-train export --recipe tiny-whole --output "$run/whole" --name tiny --overwrite "$run/silent"
colipri-train writer --init "$run/silent" --store "$run/cases" --output "$run/writer" --bundle "$run/writing"
colipri-train phrases --init "$run/writing" --store "$run/cases" --output "$run/phrases" --half --bundle "$run/bundle"
colipri-train evaluate --model "$run/bundle" --output "$run/evaluation" \
    ${COLIPRI_TEST_DATA:+--data "$COLIPRI_TEST_DATA"}
