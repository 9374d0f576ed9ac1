#!/usr/bin/env bash
# Run `COLIPRI demo` in a window, or render the same window to PICTURE where there is no display.
# Usage: demo.sh COLIPRI PICTURE [ARGUMENTS...]
set -euo pipefail

colipri=$1 picture=$2
shift 2
if [[ "$(uname -s)" != Linux || -n "${DISPLAY:-}" || -n "${WAYLAND_DISPLAY:-}" ]]; then exec "$colipri" demo "$@"; fi
mkdir -p "$(dirname "$picture")"
rm -f "$picture"
"$colipri" demo --screenshot "$picture" "$@" # it starts a virtual display of its own
if [[ ! -s "$picture" ]]; then
  echo "Expected the demo to render its window to $picture, but no picture was written." >&2
  exit 1
fi
echo "No display here, so the window was rendered to a picture: $picture"
