package eigenlayer

import (
	"errors"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/slashing/onchain"
)

// why is the error by which a call would be refused; "" if it would not.
func (w *world) why(from, to common.Address, input []byte) string {
	w.t.Helper()
	_, err := w.Call(from, to, input)
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
