#!/usr/bin/env bash
# The peers' virtual environments, outside the repository: bash benchmarks/quantize_peers/install.sh [PYTHON]
#
# One each, since their pins exclude one another; kept under ${XDG_CACHE_HOME:-~/.cache}/paring/peers. An environment
# that is there is left alone. ONNX Runtime's own quantizer needs none: it comes with the engine.
set -euo pipefail
python=${1:-python3}
here=$(cd "$(dirname "$0")" && pwd)
home=${XDG_CACHE_HOME:-$HOME/.cache}/paring/peers
mkdir -p "$home"
for requirements in "$here"/*.txt; do
    name=$(basename "$requirements" .txt)
    [ -f "$home/$name/done" ] && cmp -s "$requirements" "$home/$name/done" && continue
    rm -rf "${home:?}/$name"
    "$python" -m venv "$home/$name"
    if grep -q '^torch==' "$requirements"; then # first, so that nothing pulls another build
        "$home/$name/bin/pip" install -q "$(grep '^torch==' "$requirements")"
    fi
    "$home/$name/bin/pip" install -q -r "$requirements"
    cp "$requirements" "$home/$name/done"
    echo "$home/$name"
done
