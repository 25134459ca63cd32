#!/usr/bin/env bash
# Sees to it that tests of the shared ledger find a PostgreSQL: the server that
# SIDECAR_TEST_POSTGRES names, else binaries that are here, else Debian's package
# where this may be installed. Otherwise those tests are skipped, and say so.
set -euo pipefail
[ -n "${SIDECAR_TEST_POSTGRES:-}" ] && exit 0
command -v initdb >/dev/null && exit 0
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "no PostgreSQL here, and it cannot be installed: tests of the shared ledger will be skipped" >&2
  exit 0
fi
echo "installing PostgreSQL for the tests of the shared ledger"
# Only the binaries: Debian would start a cluster that nobody asked for.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; }; then
  echo "PostgreSQL could not be installed: tests of the shared ledger will be skipped" >&2
fi
