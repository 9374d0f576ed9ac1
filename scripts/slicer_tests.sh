#!/usr/bin/env bash
# Run the tests on real MRML in each version of slicer-core for which there is a Python; its environments are made here.
# Usage: slicer_tests.sh PYTHON_THAT_SERVES [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

server=$1
shift
ran=0
while read -r minor version; do
  # pyenv and its like have names on the path that do not run.
  python=$(for name in "python$minor" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$minor".*/bin/python; do
    if "$name" -c "import sys; raise SystemExit('%d.%d' % sys.version_info[:2] != '$minor')" 2>/dev/null; then
      echo "$name"
      break
    fi
  done)
  if [[ -z "$python" ]]; then
    echo "slicer-core $version needs Python $minor, which is not here: left out."
    continue
  fi
  folder=.venv-slicer/$version
  if [[ ! -f "$folder/complete" || tests/slicer/requirements.txt -nt "$folder/complete" ]]; then
    echo "Installing slicer-core $version ... (a minute or two the first time)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    "$folder/bin/python" -m pip --disable-pip-version-check --no-input install -qq \
      -c constraints.txt "slicer-core==$version" -r tests/slicer/requirements.txt
    touch "$folder/complete"
  fi
  echo "== slicer-core $version, Python $minor"
  mkdir -p out
  COLIPRI_SERVER_PYTHON=$server QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1 "$folder/bin/python" -m pytest \
    -c tests/slicer/slicer-core.ini --rootdir . --junitxml "out/slicer-$version.xml" "$@"
  ran=$((ran + 1))
done <<'VERSIONS'
3.11 5.13.31053.0
3.12 5.12.4.0
VERSIONS
if ((ran == 0)); then
  echo "Expected Python 3.11 or 3.12 for slicer-core, found neither. Install one of them." >&2
  exit 1
fi
