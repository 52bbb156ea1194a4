#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_wheel.sh PYTHON: what a user of pip does. A source archive of the tree, from that archive a wheel for PYTHON, the
# wheel in a venv that sees nothing else, and tests of the package there. Archive and wheel stay in dist/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$1
work=$root/build-wheel
backends=(uring epoll)
tests=(import node loop hub config files mistakes)

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$python is $("$python" -V 2>&1): Horus needs Python 3.11 or newer" >&2
  exit 1
}
mkdir -p "$root/dist" "$work"
"$python" -m venv --clear "$work/venv"

echo "== source archive"
archive=$(cd "$root/tools/wheel" && "$python" -Bc "import meson_wheel; print(meson_wheel.build_sdist('$root/dist'))")
# Always in the same place, so that ccache knows its files again.
source=$work/${archive%.tar.gz}
rm -rf "$source"
tar -C "$work" -xf "$root/dist/$archive"

echo "== wheel for $("$python" -V)"
rm -rf "$work/wheel"
"$work/venv/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$work/wheel" "$source"
cp "$work/wheel/"*.whl "$root/dist"
"$work/venv/bin/python" -m pip install --quiet --no-index --no-deps "$work/wheel/"*.whl

site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
cd "$work"
for test in "${tests[@]}"; do
  for backend in "${backends[@]}"; do
    log=$work/$test-$backend.log
    if HORUS_IO=$backend HORUS_SOURCE_ROOT=$root PYTHONPATH=$site PYTHONDONTWRITEBYTECODE=1 \
      timeout 120 "$work/venv/bin/python" "$root/tests/py/${test}_test.py" >"$log" 2>&1; then
      printf 'ok      %s [%s]  %s\n' "$test" "$backend" "$(grep '^Ran ' "$log")"
    else
      cat "$log"
      printf 'FAILED  %s [%s]\n' "$test" "$backend"
      exit 1
    fi
  done
done
echo "dist/$(cd "$work/wheel" && echo ./*.whl | cut -c 3-)"
