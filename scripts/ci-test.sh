#!/usr/bin/env bash
# Runs `make $1` (test or race). Packages that fail are run once more, alone: our
# tests talk over real sockets in real time, and a machine that does other work
# may starve one. What fails twice fails; a data race fails at once, and so does
# what does not build. It says which packages needed it.
set -uo pipefail
cd "$(dirname "$0")/.."
flag=""; [ "$1" = race ] && flag="-race"
out=$(mktemp); trap 'rm -f "$out"' EXIT
make "$1" 2>&1 | tee "$out"
[ "${PIPESTATUS[0]}" -eq 0 ] && exit 0
grep -q 'DATA RACE\|\[build failed\]\|\[setup failed\]' "$out" && exit 1
failed=$(awk '$1 == "FAIL" && $2 ~ /^sidecar/ { print $2 }' "$out" | sort -u)
[ -z "$failed" ] && exit 1
echo "== once more, alone: $failed"
# shellcheck disable=SC2086
go test $flag -count=1 -p 1 -timeout 30m $failed
