package inclusion

import "sidecar/fault"

// Reasons to refuse a request: its transaction. [Commitments API: data.reason]
var (
	ErrPayload        = fault.Define("inclusion_payload", fault.Invalid, "The request is of another type, or names slot 0 or no transaction.")
	ErrTxEncoding     = fault.Define("tx_encoding", fault.Invalid, "The transaction is not in canonical EIP-2718 form.")
	ErrTxTooBig       = fault.Define("tx_too_big", fault.Rejected, "The transaction is longer than 131,072 bytes, not counting its blobs.")
	ErrTxType         = fault.Define("unsupported_tx_type", fault.Rejected, "Promises are made for transactions of type 0 to 4; of type 4 not before Electra.")
	ErrWrongChain     = fault.Define("wrong_chain", fault.Rejected, "The transaction is not signed for this chain, or for no chain in particular.")
	ErrSignature      = fault.Define("invalid_signature", fault.Rejected, "The transaction's signature names no sender, or has a high s.")
	ErrGasAboveCap    = fault.Define("gas_above_cap", fault.Rejected, "The transaction's gas exceeds what one transaction may have here.")
	ErrGasBelow       = fault.Define("gas_below_intrinsic", fault.Rejected, "The transaction's gas does not cover its intrinsic cost, or the floor of its calldata.")
	ErrInitCode       = fault.Define("init_code_too_big", fault.Rejected, "The code that creates the contract is longer than 49,152 bytes.")
	ErrFees           = fault.Define("fee_fields_invalid", fault.Rejected, "The priority fee exceeds the fee cap, or a fee or the value exceeds 256 bits.")
	ErrAuthorizations = fault.Define("authorizations_invalid", fault.Rejected, "A set-code transaction has from 1 to 32 authorizations.")
	ErrFork           = fault.Define("tx_rules_unknown", fault.Rejected, "The slot is in a fork whose rules for transactions are not known here.")
)

// Reasons to refuse a request: its blobs.
var (
	ErrBlobCount    = fault.Define("blob_count_invalid", fault.Rejected, "A blob transaction has from 1 to 6 blobs, and no more than a block of its slot.")
	ErrBlobProof    = fault.Define("blob_proof_invalid", fault.Rejected, "The blobs are missing, or not in the form of the slot's fork (from Fulu on with cell proofs), or do not match their commitments, proofs and hashes.")
	ErrBlobFee      = fault.Define("blob_fee_too_low", fault.Rejected, "The blob base fee may exceed the transaction's blob fee cap by the slot.")
	ErrBlobChecks   = fault.Define("blob_checks_busy", fault.Busy, "As many blobs are waiting to be checked as may.")
	ErrBlobSchedule = fault.Define("blob_schedule_unknown", fault.Unavailable, "Neither the network's constants nor the execution node tell how blobs are priced in the slot.")
)

// Reasons to refuse a request: its slot, its sender, and what is promised already.
var (
	ErrSlotPassed      = fault.Define("slot_passed", fault.Rejected, "The slot is not after the head of the chain.")
	ErrWorstBaseFee    = fault.Define("fee_cap_below_worst_case", fault.Rejected, "The base fee may exceed the transaction's fee cap by the slot.")
	ErrTipTooLow       = fault.Define("tip_too_low", fault.Rejected, "At the present base fee, or at the worst one of its slot, the transaction tips less than the price; the detail says what is enough.")
	ErrSenderDenied    = fault.Define("sender_not_served", fault.Rejected, "The operator makes no promises to this sender.")
	ErrSenderCap       = fault.Define("sender_cap", fault.Rejected, "The sender has as many open promises as it may.")
	ErrSenderHasCode   = fault.Define("sender_has_code", fault.Rejected, "The sender is a contract or delegates to one (EIP-7702): others can move its balance.")
	ErrSenderAuthority = fault.Define("sender_in_authorization_list", fault.Rejected, "A promised transaction has an authorization of the sender (EIP-7702), which may move its nonce and set its code.")
	ErrAuthorityOpen   = fault.Define("authority_has_promises", fault.Rejected, "The transaction has an authorization (EIP-7702) of an account with open promises, whose nonce it may move.")
	ErrNonceTooLow     = fault.Define("nonce_too_low", fault.Rejected, "The nonce is spent.")
	ErrNonceGap        = fault.Define("nonce_gap", fault.Rejected, "An earlier nonce of the sender is neither spent nor promised for the same slot.")
	ErrNonceConflict   = fault.Define("nonce_conflict", fault.Rejected, "Another transaction with this nonce is promised.")
	ErrPromised        = fault.Define("tx_already_promised", fault.Rejected, "This transaction is promised by another commitment that is still open.")
	ErrBlobChain       = fault.Define("blob_chain_mixed", fault.Rejected, "The sender has open promises with blobs and asks for one without, or the reverse; pools of execution clients do not take both.")
	ErrBalance         = fault.Define("insufficient_balance", fault.Rejected, "The sender cannot pay for all its promised transactions at their fee caps.")
)

// Reasons to refuse a bid.
var (
	ErrProofMissing = fault.Define("proof_missing", fault.Rejected, "A bid comes without a proof for a promised transaction.")
	ErrProofInvalid = fault.Define("proof_invalid", fault.Rejected, "A bid's proof does not show a promised transaction in its block.")
)
