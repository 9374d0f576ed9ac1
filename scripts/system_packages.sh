#!/usr/bin/env bash
# Make sure the Debian packages behind this project are there; "display" adds what the viewer needs to draw, "browser"
# the one that opens the browser view.
#
# As root, missing packages are installed. Otherwise the one command that installs them is printed and the script
# fails. On a system without dpkg nothing can be checked: it says so and goes on.
set -euo pipefail

# Qt's libraries, software OpenGL, and a virtual X display for machines without a screen.
display_packages=(
  libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0 libglx-mesa0
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0
  libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 libxkbcommon-x11-0 xauth xvfb
)

installed() { # some releases name a library with the suffix t64
  local states
  states=$(dpkg-query --show --showformat '${db:Status-Status}\n' "$1" "$1t64" 2>/dev/null) || true
  grep -qx installed <<<"$states"
}

wanted=()
if [[ "${1:-}" == display ]]; then wanted+=("${display_packages[@]}"); fi
if [[ "${1:-}" == browser ]]; then wanted+=(chromium); fi
python=$("$(dirname "$0")/find_python.sh")
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then wanted+=(python3-venv); fi

if ! command -v dpkg-query >/dev/null; then
  if [[ "$(uname -s)" == Linux && ${#wanted[@]} -gt 0 ]]; then
    echo "This is not Debian or Ubuntu: install the counterparts of these packages if a step below fails: ${wanted[*]}" >&2
  fi
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do installed "$package" || missing+=("$package"); done
if [[ ${#missing[@]} -eq 0 ]]; then exit 0; fi

if [[ $EUID -ne 0 ]]; then
  echo "System packages are missing. Run this once, then repeat the make command:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null
