package onchain

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
)

// Revert is a call that a contract refused. errors.Is(err, ErrReverted) holds.
type Revert struct{ Data []byte }

// Error names the contract's error.
func (r *Revert) Error() string { return ErrReverted.Code + ": " + r.Name() }

// Unwrap makes it an ErrReverted.
func (r *Revert) Unwrap() error { return ErrReverted }

// Name is the name of the contract's error, or what can be said of the data.
func (r *Revert) Name() string {
	if len(r.Data) < 4 {
		return "without a reason"
	}
	if name, ok := errorNames()[[4]byte(r.Data)]; ok {
		return name
	}
	if reason, err := abi.UnpackRevert(r.Data); err == nil {
		return clip(reason)
	}
	return "0x" + hex.EncodeToString(r.Data[:4])
}

// named says whether it is an error of our contracts', or of the core's.
func (r *Revert) named() bool {
	return len(r.Data) >= 4 && errorNames()[[4]byte(r.Data)] != ""
}

// coreErrors are those of EigenLayer's core that its callers meet, declared from
// its published ABI. [EigenLayer v1.9: AllocationManager, DelegationManager]
const coreErrors = `ActivelyDelegated AlreadyMemberOfSet CurrentlyPaused FullySlashed InputAddressZero InputArrayLengthMismatch
InsufficientMagnitude InvalidAVSRegistrar InvalidCaller InvalidOperator InvalidOperatorSet InvalidPermissions InvalidRedistributionRecipient InvalidSnapshotOrdering
InvalidStrategy InvalidWadToSlash ModificationAlreadyPending NonexistentAVSMetadata NotMemberOfSet OperatorNotRegistered
OperatorNotSlashable SameMagnitude SlasherNotSet StrategiesMustBeInAscendingOrder StrategyNotInOperatorSet UninitializedAllocationDelay
WithdrawalDelayNotElapsed`

// registryErrors are those of the Universal Registry Contract that slashing
// meets, declared from its published interface. [URC: IRegistry]
const registryErrors = `DelegationSignatureInvalid FraudProofWindowNotMet InvalidProof NoCollateral NoCollateralSlashed NotOptedIn
OperatorAlreadyUnregistered OperatorDeleted SlashAmountExceedsCollateral SlashWindowExpired SlashingAlreadyOccurred UnauthorizedCommitment`

// errorNames are the errors of our contracts and of the core, by selector.
var errorNames = sync.OnceValue(func() map[[4]byte]string {
	names := map[[4]byte]string{}
	for name := range strings.FieldsSeq(coreErrors + " " + registryErrors) {
		names[[4]byte(crypto.Keccak256(fmt.Appendf(nil, "%s()", name)))] = name
	}
	for _, contract := range []string{bindings.UrcInclusionSlasher, bindings.FaultVerifier, bindings.PreconfServiceManager} {
		c, err := bindings.Load(contract)
		if err != nil {
			continue // a test reads every artifact
		}
		for name, e := range c.ABI.Errors {
			names[[4]byte(e.ID[:4])] = name
		}
	}
	return names
})
