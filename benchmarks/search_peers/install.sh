#!/usr/bin/env bash
# Olive's virtual environment beside those of quantize_peers/install.sh: bash benchmarks/search_peers/install.sh [PYTHON]
set -euo pipefail
python=${1:-python3}
here=$(cd "$(dirname "$0")" && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/paring/peers/olive
cmp -s "$here/olive.txt" "$home/done" && exit 0
rm -rf "${home:?}"
"$python" -m venv "$home"
"$home/bin/pip" install -q "$(grep '^torch==' "$here/olive.txt")" # first, so that nothing pulls another build
"$home/bin/pip" install -q -r "$here/olive.txt"
cp "$here/olive.txt" "$home/done"
