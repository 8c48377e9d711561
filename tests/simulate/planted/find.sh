#!/bin/sh
# Plants each bug in a copy of the project and lets the simulator look for it. Prints the seed that
# found it; ends with 1 where one was not found. Takes minutes: not part of the main job.
set -eu
cd "$(dirname "$0")/../../.."
here=$PWD
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$copy"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$copy/target}" SIMULATE_SEEDS="${SIMULATE_SEEDS:-500}"
missed=0
for patch in "$here"/tests/simulate/planted/*.patch; do
  name=$(basename "$patch" .patch)
  (cd "$copy" && patch -p1 -s <"$patch")
  (cd "$copy" && cargo test --quiet --no-run --test simulate)
  if (cd "$copy" && cargo test --quiet --test simulate nothing_is_lost -- --nocapture) >"$copy/log" 2>&1; then
    echo "$name: NOT FOUND in $SIMULATE_SEEDS seeds"
    missed=1
  else
    found=$(grep -m 1 '^seed [0-9]*: .' "$copy/log" || echo 'no seed is named')
    echo "$name: $found"
    case $found in seed*) ;; *) missed=1 ;; esac
  fi
  (cd "$copy" && patch -p1 -s -R <"$patch")
done
exit $missed
