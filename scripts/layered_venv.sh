#!/usr/bin/env bash
# Make a virtual environment on top of another: it sees the packages of BASE, and BASE never sees its own.
# Usage: layered_venv.sh BASE LAYER
set -euo pipefail

base=$1 layer=$2
"$base/bin/python" -m venv --clear "$layer"
below=$("$base/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
above=$("$layer/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import site; site.addsitedir('$below')" >"$above/base.pth"
