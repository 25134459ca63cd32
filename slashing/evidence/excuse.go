package evidence

// Excuse is why a proof acquits: the name of the contract's error. Every doubt
// has one. [contracts/src/FaultVerifier.sol, PromiseReader.sol]
type Excuse string

// Error is the excuse's name.
func (e Excuse) Error() string { return string(e) }

// What the promise itself says: it is not one, or not for this judge.
const (
	CommitmentType     Excuse = "CommitmentType"
	OtherSlasher       Excuse = "OtherSlasher"
	OtherSigningID     Excuse = "OtherSigningId"
	PayloadEncoding    Excuse = "PayloadEncoding"
	TransactionType    Excuse = "TransactionType"
	TransactionInvalid Excuse = "TransactionEncoding"
	OtherChain         Excuse = "OtherChain"
	ContractCreation   Excuse = "ContractCreation"
	AccessListNotEmpty Excuse = "AccessListNotEmpty"
	TipAboveFeeCap     Excuse = "TipAboveFeeCap"
	NonceTooHigh       Excuse = "NonceTooHigh"
	GasAboveCap        Excuse = "GasAboveCap"
	GasBelowFloor      Excuse = "GasBelowFloor"
	SignatureHighS     Excuse = "SignatureHighS"
	SignatureInvalid   Excuse = "SignatureInvalid"
	SlotOutOfRange     Excuse = "SlotOutOfRange"
)

// Who signed what.
const (
	DelegationSlot      Excuse = "DelegationSlot"
	DelegationSignature Excuse = "DelegationSignature"
	PromiseSignature    Excuse = "PromiseSignature"
)

// What the chain says.
const (
	ChildUnknown      Excuse = "ChildUnknown"
	TargetNotParent   Excuse = "TargetNotParent"
	ParentNotParent   Excuse = "ParentNotParent"
	OtherSlot         Excuse = "OtherSlot"
	OtherProposer     Excuse = "OtherProposer"
	BaseFeeAboveCap   Excuse = "BaseFeeAboveCap"
	GasAboveBlock     Excuse = "GasAboveBlock"
	PreStateProof     Excuse = "PreStateProof"
	NonceUsed         Excuse = "NonceUsed"
	NonceGap          Excuse = "NonceGap"
	SenderHasCode     Excuse = "SenderHasCode"
	FundsTooLow       Excuse = "FundsTooLow"
	PostStateProof    Excuse = "PostStateProof"
	NonceSpentInBlock Excuse = "NonceSpentInBlock"
)

// Two promises that do not contradict each other.
const (
	SendersDiffer Excuse = "SendersDiffer"
	NoncesDiffer  Excuse = "NoncesDiffer"
	SamePromise   Excuse = "SamePromise"
)
