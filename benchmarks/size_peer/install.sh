#!/usr/bin/env bash
# NNCodec's coder (ISO/IEC 15938-17) in an environment of its own: bash benchmarks/size_peer/install.sh [PYTHON]
#
# Without its dependencies: the coder is an extension that needs numpy alone. Kept under
# ${XDG_CACHE_HOME:-~/.cache}/paring/peers/nncodec; left alone where it is.
set -euo pipefail
home=${XDG_CACHE_HOME:-$HOME/.cache}/paring/peers/nncodec
[ -f "$home/done" ] && exit 0
rm -rf "${home:?}"
"${1:-python3}" -m venv "$home"
"$home/bin/pip" install -q "numpy<2" pybind11 setuptools wheel
"$home/bin/pip" install -q --no-deps --no-build-isolation nncodec==2.1.3
touch "$home/done"
echo "$home"
