#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ./dev lint BUILD_DIR [--all | --changed | --fast]: every check runs, also after one has failed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
dir=$1
scope=${2:-library}
failed=()

run() {
  local name=$1 started=$SECONDS
  shift
  if "$@"; then
    printf 'ok      %s (%d s)\n' "$name" $((SECONDS - started))
  else
    printf 'FAILED  %s (%d s)\n' "$name" $((SECONDS - started))
    failed+=("$name")
  fi
}

tree_files() {
  git ls-files --cached --others --exclude-standard -- "$@" |
    while IFS= read -r file; do if [[ -f $file ]]; then echo "$file"; fi; done
}

check_format() {
  tree_files '*.cpp' '*.hpp' '*.c' '*.h' | xargs -r clang-format-19 --dry-run -Werror ||
    { echo "run ./dev format" && return 1; }
}

check_shell() {
  local scripts status=0 script
  mapfile -t scripts < <(printf '%s\n' dev .ci/run && tree_files '*.sh')
  for script in "${scripts[@]}"; do bash -n "$script" || status=1; done
  if command -v shellcheck >/dev/null; then shellcheck --severity=warning "${scripts[@]}" || status=1; fi
  return $status
}

check_python() {
  tree_files '*.py' | xargs -r flake8 --max-line-length 128 --extend-ignore=E203,W503
}

check_types() (
  cd horus/py && mypy --strict --no-error-summary --cache-dir /dev/null -p horus -m horus_async_helpers || return
  # A user's program sees types, not Any.
  cd ../../tests/py && MYPYPATH=../../horus/py mypy --strict --no-error-summary --cache-dir /dev/null typed_program.py
)

check_tidy() {
  local files checks=(--checks=-bugprone-suspicious-include)  # a unit includes sources
  case $scope in
    --all)
      checks=('--checks=-bugprone-suspicious-include,clang-analyzer-core.*,clang-analyzer-cplusplus.*,clang-analyzer-unix.*')
      mapfile -t files < <(tree_files 'horus/*.cpp' 'tests/*.cpp' 'examples/*.cpp' 'benchmarks/*.cpp')
      ;;
    --changed) mapfile -t files < <({ git diff --name-only HEAD -- '*.cpp' && git ls-files --others --exclude-standard -- '*.cpp'; } | sort -u) ;;
    *) mapfile -t files < <(tree_files 'horus/*.cpp') ;;
  esac
  ((${#files[@]})) || return 0
  local units=$dir/tidy
  python3 tools/tidy_units.py "$dir" "$units" "${files[@]}" |
    xargs -r -P "$(nproc)" -n 1 clang-tidy-19 -p "$units" --config-file=.clang-tidy --quiet "${checks[@]}" \
      2> >(grep -vE 'warnings? generated|^Suppressed|^Use -' >&2)
}

run format check_format
run layers python3 tools/check_layers.py
run determinism python3 tools/check_determinism.py
run seam python3 tools/check_seam.py
run coroutines python3 tools/check_coroutines.py
run weight python3 tools/check_weight.py
run spdx python3 tools/check_spdx.py
run commands python3 tools/check_commands.py
run documents python3 tools/check_documents.py
run shell check_shell
run python check_python
run types check_types
run headers python3 tools/check_headers.py
if [[ $scope != --fast ]]; then run clang-tidy check_tidy; fi

if ((${#failed[@]})); then
  printf 'lint failed: %s\n' "${failed[*]}"
  exit 1
fi
