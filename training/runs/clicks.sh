#!/usr/bin/env bash
# The shipped interactive segmenter: trained on generated scenes with simulated users, then written as a bundle.
# Goes on where it stopped. Bounded by minutes of training, which two CPU cores are enough for; --steps makes it exact.
set -euo pipefail
cd "$(dirname "$0")/../.."

run="${1:-out/clicks}"
minutes="${2:-50}"
bundle="${3:-colipri_core/bundles/clicks}"

resume=()
if [ -f "$run/checkpoints/index.json" ]; then
  resume=(--resume)
fi
colipri-train clicks --output "$run" --minutes "$minutes" --bundle "$bundle" "${resume[@]}"
