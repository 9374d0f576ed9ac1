#!/usr/bin/env bash
# Print the path of a Python 3.11 or newer: $PYTHON if set, else the first one found.
set -euo pipefail

for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  path=$(command -v "$candidate" 2>/dev/null) || continue
  if "$path" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$path"
    exit 0
  fi
done
echo "Expected Python 3.11 or newer, found: $(python3 --version 2>&1 || echo no python3)." >&2
echo "Install one (on Debian 12: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
