//go:build race

package tests

// raceFlag builds the binary under test as the tests themselves are built.
const raceFlag = "-race"
