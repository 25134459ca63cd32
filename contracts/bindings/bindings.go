// Package bindings holds the compiled contracts of this project: their ABI,
// their code, Go types for the tuples they take, and the calls that an evidence
// file becomes.
//
// It promises that the code is what contracts/src compiles to with the pinned
// compiler (a test rebuilds and compares). It talks to no chain.
package bindings

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Names of the contracts.
const (
	FaultVerifier         = "FaultVerifier"
	PreconfServiceManager = "PreconfServiceManager"
	UrcInclusionSlasher   = "UrcInclusionSlasher"
)

// TypeInclusion is the commitment type of a provable inclusion promise, "incl":
// payload = abi(uint64 slot, uint64 proposerIndex, bytes signedTx).
const TypeInclusion uint64 = 0x696e636c

//go:embed artifacts
var artifacts embed.FS

// Contract is one compiled contract.
type Contract struct {
	Name    string
	ABI     abi.ABI
	Code    []byte // creation code, without constructor arguments
	Runtime []byte // code on the chain, with zeros where immutables will be
}

// Load returns the contract of a name above.
func Load(name string) (Contract, error) {
	text, err := artifacts.ReadFile("artifacts/" + name + ".json")
	if err != nil {
		return Contract{}, fmt.Errorf("read artifact: %w", err)
	}
	var file struct {
		ABI               json.RawMessage
		Bytecode, Runtime hexutil.Bytes
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return Contract{}, fmt.Errorf("parse artifact %s: %w", name, err)
	}
	parsed, err := abi.JSON(bytes.NewReader(file.ABI))
	if err != nil {
		return Contract{}, fmt.Errorf("parse ABI of %s: %w", name, err)
	}
	return Contract{Name: name, ABI: parsed, Code: file.Bytecode, Runtime: file.Runtime}, nil
}

// Deploy returns the input that creates the contract.
func (c Contract) Deploy(arguments ...any) ([]byte, error) {
	packed, err := c.ABI.Pack("", arguments...)
	if err != nil {
		return nil, fmt.Errorf("encode constructor of %s: %w", c.Name, err)
	}
	return append(bytes.Clone(c.Code), packed...), nil
}

// Excuse returns the name of the error in what a call reverted with: an excuse,
// or what is wrong with the proof. It is "" if the contract has no such error.
// Errors of a contract it calls come through unchanged: ask that one as well.
func (c Contract) Excuse(revert []byte) string {
	if len(revert) < 4 {
		return ""
	}
	e, err := c.ABI.ErrorByID([4]byte(revert))
	if err != nil {
		return ""
	}
	return e.Name
}
