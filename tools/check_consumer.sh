#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_consumer.sh BUILD_DIR [--installed]: installs Horus from a build directory into a place of its own, builds
# tests/consumer against that through pkg-config and through CMake, and runs both programs; and with the Python package,
# extension modules through CMake, and their tests. Without --installed also inside the builds of other projects, which
# compile the library once more each.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
dir=$(cd "$1" && pwd)
installed_only=${2:-}
cxx=${CXX:-clang++-19}
stage=$dir/consumer
prefix=$stage/usr/local

rm -rf "$stage"
mkdir -p "$stage"
meson install -C "$dir" --quiet --destdir "$stage"
config=$(find "$stage" -name horus.pc)
[[ -n $config ]] || { echo "horus.pc was not installed" >&2 && exit 1; }
libdir=$(dirname "$(dirname "$config")")
library=$libdir/libhorus.so.0.1

# What the library defines and shows is Horus' own; templates of other libraries are weak and left aside.
foreign=$(nm -D --defined-only --demangle "$library" | grep -E ' [TDB] ' | grep -v 'horus::' || true)
[[ -z $foreign ]] || { printf 'symbols that should be hidden:\n%s\n' "$foreign" >&2 && exit 1; }
# All of it has the version in its name, so that two versions do not mix in one process.
unversioned=$(nm -D --defined-only --demangle "$library" | grep -E ' [TDBWV] ' | grep 'horus::' | grep -v 'horus::v0_1::' || true)
[[ -z $unversioned ]] || { printf 'symbols without the version (namespace horus::HORUS_ABI):\n%s\n' "$unversioned" >&2 && exit 1; }
soname=$(objdump -p "$library" | awk '$1 == "SONAME" { print $2 }')
[[ $soname == libhorus.so.0.1 ]] || { echo "soname is $soname" >&2 && exit 1; }

cache=$(command -v ccache || true)
# An old GCC is refused by the headers; here it is allowed so that it is tested too.
allow=()
if [[ $("$cxx" --version) != *clang* ]]; then allow=(-DHORUS_ALLOW_OLD_GCC); fi

echo "== pkg-config"
export PKG_CONFIG_PATH=${config%/*}
started=$(date +%s%N)
# shellcheck disable=SC2046 # a list of flags
"$cxx" -std=c++20 -O1 "${allow[@]}" "$root/tests/consumer/main.cpp" -o "$stage/consumer" \
  $(pkg-config --cflags --libs horus) "-Wl,-rpath,$libdir"
echo "one-file node compiled in $((($(date +%s%N) - started) / 1000000)) ms"
"$stage/consumer"

echo "== headers of another version"
mkdir -p "$stage/other"
cp -r "$prefix/include/horus" "$stage/other/horus"
sed -i 's/inline v0_1/inline v0_2/' "$stage/other/horus/base/compiler.hpp"
echo '#include <horus/base/version.hpp>
int main() {}' >"$stage/other/main.cpp"
if "$cxx" -std=c++20 "${allow[@]}" "-I$stage/other" "$stage/other/main.cpp" -o "$stage/other/main" "$library" 2>"$stage/other/log"; then
  echo "a program with headers of another version links" >&2 && exit 1
fi
grep -q 'horus::v0_2::detail::version_of_these_headers' "$stage/other/log" || { cat "$stage/other/log" && exit 1; }

# with_cmake FOLDER NAME [OPTIONS]: builds it in $stage/NAME; the log is shown where that fails.
with_cmake() {
  local log=$stage/$2.log
  {
    cmake -G Ninja -S "$root/$1" -B "$stage/$2" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix" \
      "-DCMAKE_CXX_COMPILER_LAUNCHER=$cache" -DCMAKE_CXX_FLAGS="${allow[*]}" -DCMAKE_BUILD_TYPE=Release "${@:3}" &&
      cmake --build "$stage/$2"
  } >"$log" 2>&1 || { cat "$log" && exit 1; }
}

echo "== CMake"
with_cmake tests/consumer cmake
"$stage/cmake/consumer"

# Horus inside another project's build: the library alone, in joined units and without optimisation, for it only has to
# be shown to build and link.
if [[ $installed_only != --installed ]]; then
  echo "== CMake, add_subdirectory by FetchContent"
  with_cmake tests/consumer/subdirectory inside "-DHORUS_SOURCE=$root" -DCMAKE_UNITY_BUILD=ON \
    -DCMAKE_UNITY_BUILD_BATCH_SIZE=30 -DCMAKE_BUILD_TYPE=None
  "$stage/inside/consumer"

  echo "== Meson subproject"
  mkdir -p "$stage/subproject/subprojects"
  cp "$root/tests/consumer/subproject/meson.build" "$root/tests/consumer/main.cpp" "$stage/subproject"
  # A link would be followed back to here; what a subproject reads is copied.
  mkdir "$stage/subproject/subprojects/horus"
  tar -C "$root" -c meson.build meson_options.txt horus tools/list_files.py tools/public_headers.py tools/cmake | tar -C "$stage/subproject/subprojects/horus" -x
  {
    CXX="$cache $cxx" meson setup "$stage/subproject/build" "$stage/subproject" -Doptimization=0 -Ddebug=false \
      -Dhorus:jumbo=true -Dcpp_args="${allow[*]}" && ninja -C "$stage/subproject/build"
  } >"$stage/subproject.log" 2>&1 || { cat "$stage/subproject.log" && exit 1; }
  "$stage/subproject/build/consumer"
  if grep -qE 'tests/|examples/' "$stage/subproject/build/build.ninja"; then
    echo "a subproject builds Horus' tests or examples" >&2 && exit 1
  fi
fi

core=$(find "$stage" -path '*/horus/_core*.so' | head -n 1)
if [[ -n $core ]]; then
  echo "== Python, extension modules by CMake"
  python=/usr/bin/python3  # whose headers the package was built with; another may come first in PATH
  with_cmake tests/consumer/python python -DPYTHON_EXECUTABLE=$python
  for test in bridge cpp_node; do
    LD_LIBRARY_PATH=$libdir PYTHONPATH=$(dirname "$(dirname "$core")"):$stage/python \
      $python "$root/tests/py/${test}_test.py"
  done
fi
