//go:build !race

package tests

// raceFlag builds the binary under test as the tests themselves are built.
const raceFlag = ""

// proxyStore is the proxy store of the Signer API's tests. New keys are encrypted as in production.
const proxyStore = "keys_path = \"proxy_keys\"\nsecrets_path = \"proxy_secrets\"\n"
