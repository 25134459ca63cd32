#!/usr/bin/env bash
# Builds this sidecar and mev-boost v1.12.0 and runs them side by side.
set -euo pipefail
cd "$(dirname "$0")"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
(cd .. && go build -trimpath -o "$out/sidecar" ./cmd/sidecar)
(cd peer && GOFLAGS=-mod=mod go build -trimpath -o "$out/mev-boost" github.com/flashbots/mev-boost)
go build -o "$out/bench" .
# A file that was just linked is mapped in larger pieces than one that lies on the
# disk, which reads as some MiB more of resident memory. Both are copied, synced,
# and read from the disk again.
for name in sidecar mev-boost; do
  cp "$out/$name" "$out/$name.copy"
  dd of="$out/$name.copy" oflag=nocache conv=notrunc,fdatasync count=0 status=none
done
"$out/bench" -sidecar "$out/sidecar.copy" -peer "$out/mev-boost.copy" "$@"
