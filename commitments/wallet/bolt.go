package wallet

import (
	"context"
	"encoding/json"
)

// Bolt is a placeholder until the adapter is written.
type Bolt struct{}

func (w *Wallet) boltRequestInclusion(context.Context, *caller, json.RawMessage) (any, error) {
	return nil, ErrMethod
}
func (w *Wallet) boltGetVersion(context.Context, *caller, json.RawMessage) (any, error) {
	return nil, ErrMethod
}
func (w *Wallet) boltMetadata(context.Context, *caller, json.RawMessage) (any, error) {
	return nil, ErrMethod
}
