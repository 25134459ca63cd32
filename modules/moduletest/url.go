package moduletest

import (
	"context"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/remote"
)

// URL are the checks of a module at a URL, in its default budgets: those of Wire
// and those of Checks. Without an example some are skipped. Faults: those of
// remote.Dial.
func URL(ctx context.Context, url string, secret remote.Secret, example *remote.Example) ([]Check, error) {
	m, err := remote.Dial(ctx, remote.Config{URL: url, Secret: secret})
	if err != nil {
		return nil, err
	}
	return append(Wire(url, secret), Checks(FromExample(m, example))...), nil
}

// FromExample makes a fixture. A nil example is none.
func FromExample(m modules.Module, e *remote.Example) Fixture {
	f := Fixture{Module: m}
	if e == nil {
		return f
	}
	f.View, f.Request, f.Slot = e.View, e.Request, e.Slot
	if e.Keep != nil && e.Break != nil {
		f.Keep, f.Break = always(e.Keep), always(e.Break)
	}
	return f
}

func always(b *remote.Blocks) func(commitments.Page) (commitments.Candidate, commitments.Block, error) {
	return func(commitments.Page) (commitments.Candidate, commitments.Block, error) {
		return b.Candidate, b.Block, nil
	}
}
