//go:build race

package tests

// raceFlag builds the binary under test as the tests themselves are built.
const raceFlag = "-race"

// proxyStore is the proxy store of the Signer API's tests. The race detector makes scrypt ten times slower.
const proxyStore = "proxy_dir = \"proxies\"\n"
