// Package onchain brings evidence to the contracts: it asks them first, sends
// transactions that a journal on disk remembers, and stays with them through
// replacement, reorgs and restarts until they are deep enough.
//
// It promises that nothing is sent that is not on disk; that one action never
// has two nonces unless the first was used up, and never more than a few; and
// that no transaction costs more than its caps allow, whatever the node says.
// The node is anybody's: it is believed about the chain, never about money.
package onchain

import "sidecar/fault"

// Faults of this package.
var (
	ErrNode       = fault.Define("node_unusable", fault.Upstream, "The execution node that transactions go through does not answer, or not what its API promises.")
	ErrRefused    = fault.Define("node_refused", fault.Upstream, "The execution node that transactions go through refused a request.")
	ErrOtherChain = fault.Define("node_other_chain", fault.Invalid, "The execution node is on another chain than the evidence or the configuration says.")
	ErrReverted   = fault.Define("call_reverted", fault.Rejected, "A contract refuses a call; its error is named.")
	ErrAcquitted  = fault.Define("evidence_acquits", fault.Rejected, "The contract finds no fault in the evidence; the excuse is named.")
	ErrTooLate    = fault.Define("evidence_too_late", fault.Rejected, "The evidence is older than the chain's history of block hashes reaches: it cannot be proven any longer.")
	ErrNotYet     = fault.Define("evidence_not_yet", fault.Unavailable, "The node's head is not above the last block of the evidence: the contract cannot see that block yet.")
	ErrVetoed     = fault.Define("fault_vetoed", fault.Rejected, "The guardian vetoed the case: it is never executed.")
	ErrJournal    = fault.Define("journal_broken", fault.Internal, "The journal of transactions is damaged, or of another key or chain.")
	ErrLocked     = fault.Define("journal_locked", fault.Conflict, "Another process sends transactions with this key.")
	ErrFunds      = fault.Define("sender_funds", fault.Rejected, "The account that pays for transactions has too little.")
	ErrFee        = fault.Define("fee_cap_too_low", fault.Rejected, "The chain's base fee is above the cap on fees.")
	ErrGas        = fault.Define("action_gas", fault.Rejected, "A transaction would need more gas than its action is given.")
	ErrWasted     = fault.Define("transactions_wasted", fault.Rejected, "Several transactions of one action were used up without its effect: no more are sent. The node may be lying.")
	ErrKey        = fault.Define("sender_key_invalid", fault.Invalid, "The file of the key that pays for transactions cannot be read, or its password is wrong.")
	ErrNoContract = fault.Define("contract_missing", fault.Invalid, "There is no contract, or another one, at the address.")
	ErrUnfinished = fault.Define("onchain_unfinished", fault.Unavailable, "Interrupted before the transactions were deep enough; run the same command again.")
)
