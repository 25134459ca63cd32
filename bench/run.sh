#!/usr/bin/env bash
# Builds this sidecar and mev-boost v1.12.0 and runs them side by side.
set -euo pipefail
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
(cd .. && go build -trimpath -o "$out/sidecar" ./cmd/sidecar)
(cd peer && GOFLAGS=-mod=mod go build -trimpath -o "$out/mev-boost" github.com/flashbots/mev-boost)
go build -o "$out/bench" .
"$out/bench" -sidecar "$out/sidecar" -peer "$out/mev-boost" "$@"
