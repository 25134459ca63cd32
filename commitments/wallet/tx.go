package wallet

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// maxTx bounds a transaction in bytes: the largest with blobs, in pooled form.
// What may be promised is the module's to say.
const maxTx = 1 << 20

// transaction is a signed transaction as it came.
type transaction struct {
	raw    []byte
	hash   phase0.Hash32
	sender bellatrix.ExecutionAddress
	nonce  uint64
}

// transaction reads the parameter of eth_sendRawTransaction. Only what has to be
// known to ask for a promise is checked. Fault: ErrTransaction.
func (w *Wallet) transaction(text string) (t transaction, err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || digits == "" || len(digits) > 2*maxTx {
		return t, ErrTransaction.With("0x and the bytes of a transaction are wanted")
	}
	if t.raw, err = hex.DecodeString(digits); err != nil {
		return t, ErrTransaction.With("not hexadecimal")
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(t.raw); err != nil {
		return t, ErrTransaction.With("%.80v", err)
	}
	t.hash, t.nonce = phase0.Hash32(tx.Hash()), tx.Nonce()
	if from, err := types.Sender(w.signer, tx); err == nil { // else the module says what is wrong
		t.sender = bellatrix.ExecutionAddress(from)
	}
	return t, nil
}

// pendingObject is a promised transaction as a node shows one that is in no
// block: blockHash, blockNumber and transactionIndex are null, gasPrice of a
// dynamic fee is its cap. [execution-apis: eth_getTransactionByHash]
func (w *Wallet) pendingObject(raw []byte) (map[string]any, error) {
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("promised transaction: %w", err)
	}
	from, err := types.Sender(w.signer, tx)
	if err != nil {
		return nil, fmt.Errorf("promised transaction: %w", err)
	}
	text, err := tx.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("promised transaction: %w", err)
	}
	fields := map[string]any{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	fields["from"] = strings.ToLower(from.Hex())
	fields["gasPrice"] = quantity(tx.GasFeeCap())
	fields["blockHash"], fields["blockNumber"], fields["transactionIndex"] = nil, nil, nil
	return fields, nil
}

// quantity is a number in JSON-RPC.
func quantity(n *big.Int) string { return "0x" + n.Text(16) }

// parseQuantity reads one, of 256 bits at most.
func parseQuantity(text string) (*big.Int, bool) {
	digits, ok := strings.CutPrefix(text, "0x")
	n, valid := new(big.Int).SetString(digits, 16)
	if !ok || !valid || n.Sign() < 0 || n.BitLen() > 256 {
		return nil, false
	}
	return n, true
}

// parseHash reads 32 bytes. Fault: ErrParams.
func parseHash(text string) (h phase0.Hash32, err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if b, bad := hex.DecodeString(digits); ok && bad == nil && len(b) == len(h) {
		return phase0.Hash32(b), nil
	}
	return h, ErrParams.With("a hash is 0x and 64 hexadecimal digits")
}

// parseAddress reads 20 bytes. Fault: ErrParams.
func parseAddress(text string) (a bellatrix.ExecutionAddress, err error) {
	if !common.IsHexAddress(text) || !strings.HasPrefix(text, "0x") {
		return a, ErrParams.With("an address is 0x and 40 hexadecimal digits")
	}
	return bellatrix.ExecutionAddress(common.HexToAddress(text)), nil
}

// strings reads positional parameters that are all strings; the first least of
// them must be there. Fault: ErrParams.
func stringParams(params json.RawMessage, least, most int) ([]string, error) {
	var list []json.RawMessage
	if len(params) > 0 && json.Unmarshal(params, &list) != nil || len(list) < least || len(list) > most {
		return nil, ErrParams.With("%s to %d parameters by position are wanted", strconv.Itoa(least), most)
	}
	out := make([]string, len(list))
	for i, one := range list {
		if json.Unmarshal(one, &out[i]) != nil || string(one) == "null" {
			return nil, ErrParams.With("parameter %d is not a string", i+1)
		}
	}
	return out, nil
}
