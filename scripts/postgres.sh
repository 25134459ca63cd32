#!/bin/sh
# Makes sure that the tests of the shared ledger find a PostgreSQL server, where
# that can be done: nothing to do if SIDECAR_TEST_POSTGRES names one or the server
# is installed; else root on Debian gets the package. Anywhere else those tests
# are skipped, and say why. Never fails.
set -u
[ -n "${SIDECAR_TEST_POSTGRES:-}" ] && exit 0
command -v initdb >/dev/null && command -v postgres >/dev/null && exit 0
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && exit 0
if [ "$(id -u)" -ne 0 ] || [ ! -f /etc/debian_version ] || ! command -v apt-get >/dev/null; then
	echo "postgres.sh: no PostgreSQL, and no way to install it: its tests will be skipped" >&2
	exit 0
fi
# The package would start a server of its own; the tests start theirs.
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] ||
	echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql; } >/dev/null 2>&1 ||
	echo "postgres.sh: PostgreSQL could not be installed: its tests will be skipped" >&2
exit 0
