package commitments

import (
	"crypto/sha256"
	"encoding/json"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
)

// QuoteSigningID sets quotes apart from everything else that the committer
// signs. It is fixed for ever.
var QuoteSigningID = phase0.Root(sha256.Sum256([]byte("sidecar/quote/v1")))

// messageQuote is "quote" in ASCII. The registry's messages have numbers from 1;
// the first word of what is hashed keeps a quote from being any of them.
const messageQuote = 0x71_75_6f_74_65

// Quote says what a promise costs until an instant. It reserves nothing and
// promises no promise: only that this price will be asked, if the request is
// otherwise good. Any number of quotes may be signed for one request.
type Quote struct {
	RequestHash phase0.Hash32 // of the request it is for: type, payload and slasher
	Type        uint64        // the request's commitment type
	Slot        phase0.Slot
	Price       Price
	ValidUntil  uint64 // unix milliseconds
}

// SignedQuote is a quote with the committer's signature of its signing root,
// under QuoteSigningID and nonce 0.
type SignedQuote struct {
	Quote     Quote
	Committer bellatrix.ExecutionAddress
	Signature []byte // r‖s‖v, 65 bytes
}

// Root returns the object root of a quote, which is its id as well:
// keccak256(abi(uint256 0x71756f7465, Quote)), where Quote is the tuple
// (bytes32 requestHash, uint64 commitmentType, uint64 slot, bytes32 mode,
// uint256 tipWei, uint256 totalWei, uint256 baseFeeWei, uint64 validUntilMs) and
// mode is its text padded with zeroes.
func (q Quote) Root() phase0.Root {
	w := make(abiWriter, 0, 9*32)
	w.number(messageQuote)
	w.right(q.RequestHash[:])
	w.number(q.Type)
	w.number(uint64(q.Slot))
	var mode [maxMode]byte
	copy(mode[:], q.Price.Mode)
	w.right(mode[:])
	for _, n := range []*uint256.Int{&q.Price.Tip, &q.Price.Total, &q.Price.BaseFee} {
		word := n.Bytes32()
		w.right(word[:])
	}
	w.number(q.ValidUntil)
	return keccak(w)
}

// Message returns what the committer signs for a quote on a chain.
// [Commit-Boost ≥ 0.10: PropCommitSigningInfo]
func (q Quote) Message(domain phase0.Domain, chainID uint64) Message {
	return Message{Object: ModuleObject(chainID, q.Root(), QuoteSigningID, 0), Domain: domain}
}

type quoteJSON struct {
	ID          *hexBytes `json:"quote_id"`
	RequestHash *hexBytes `json:"request_hash"`
	Type        *uint64   `json:"commitment_type"`
	Slot        *uint64   `json:"slot"`
	Price       *Price    `json:"price"`
	ValidUntil  *uint64   `json:"valid_until_ms"`
	Committer   *hexBytes `json:"committer"`
	Nonce       *uint64   `json:"nonce"`
	SigningID   *hexBytes `json:"signing_id"`
	Signature   *hexBytes `json:"signature"`
}

// MarshalJSON writes {quote_id, request_hash, commitment_type, slot, price,
// valid_until_ms, committer, nonce, signing_id, signature}.
func (s SignedQuote) MarshalJSON() ([]byte, error) {
	q, id, slot, nonce := &s.Quote, s.Quote.Root(), uint64(s.Quote.Slot), uint64(0)
	return json.Marshal(quoteJSON{
		hexOf(id[:]), hexOf(q.RequestHash[:]), &q.Type, &slot, &q.Price, &q.ValidUntil,
		hexOf(s.Committer[:]), &nonce, hexOf(QuoteSigningID[:]), hexOf(s.Signature),
	})
}

// UnmarshalJSON reads what MarshalJSON writes; the id must be the quote's, and
// nonce and signing id those of quotes. Fault: ErrEncoding.
func (s *SignedQuote) UnmarshalJSON(text []byte) error {
	var j quoteJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	var out SignedQuote
	var id, signingID phase0.Root
	in.fixed("quote_id", id[:], j.ID)
	in.fixed("request_hash", out.Quote.RequestHash[:], j.RequestHash)
	in.fixed("committer", out.Committer[:], j.Committer)
	in.fixed("signing_id", signingID[:], j.SigningID)
	out.Quote.Type, out.Quote.Slot = in.number("commitment_type", j.Type), in.slot(j.Slot)
	out.Quote.ValidUntil = in.number("valid_until_ms", j.ValidUntil)
	out.Signature = in.bytes("signature", j.Signature, lenECDSA)
	if j.Price == nil {
		in.fail("price is missing")
	} else {
		out.Quote.Price = *j.Price
	}
	if in.err == nil && (in.number("nonce", j.Nonce) != 0 || signingID != QuoteSigningID || len(out.Signature) != lenECDSA || out.Quote.Root() != id) {
		in.fail("the quote's id, nonce, signing id or signature is not a quote's")
	}
	if in.err == nil {
		*s = out
	}
	return in.err
}
