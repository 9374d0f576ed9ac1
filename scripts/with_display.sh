#!/usr/bin/env bash
# Run a command on the display there is, or on a virtual one. Qt's "offscreen" platform would leave the canvas blank.
set -euo pipefail

if [[ "$(uname -s)" != Linux || -n "${DISPLAY:-}" || -n "${WAYLAND_DISPLAY:-}" ]]; then exec "$@"; fi
unset QT_QPA_PLATFORM
exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1000x24" "$@"
