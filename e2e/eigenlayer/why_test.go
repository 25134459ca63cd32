package eigenlayer

import (
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/slashing/onchain"
)

// why is the error by which a call would be refused; "" if it would not.
func (w *world) why(from, to common.Address, input []byte) string {
	w.t.Helper()
	_, err := w.Call(from, to, input)
	return named(err)
}

// whyCreate is the error by which a contract would not be created.
func (w *world) whyCreate(from common.Address, input []byte) string {
	w.t.Helper()
	var out string
	return named(w.RPC.CallContext(w.t.Context(), &out, "eth_call", map[string]any{"from": from, "input": hexutil.Bytes(input)}, "latest"))
}

func named(err error) string {
	if err == nil {
		return ""
	}
	var data rpc.DataError
	if !errors.As(err, &data) {
		return err.Error()
	}
	text, _ := data.ErrorData().(string)
	return (&onchain.Revert{Data: common.FromHex(text)}).Name()
}
