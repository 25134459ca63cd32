package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/config"
	"sidecar/internal/execution"
	"sidecar/internal/fetch"
	"sidecar/internal/ledger"
	"sidecar/modules/inclusion"
)

// Faults of a report.
var (
	ErrNoPrices    = fault.Define("report_no_prices", fault.Invalid, "The file has no module of the type inclusion, or no execution node: there are no prices to replay.")
	ErrReportRange = fault.Define("report_range", fault.Invalid, "A report is of 1 to 1024 slots.")
)

const (
	maxReport      = 1024 // slots
	reportTimeout  = 5 * time.Minute
	limitPastPages = 64 << 20 // bytes of a running sidecar's answer
	nearFull       = 90       // percent of a slot's limit
)

// PastPage is what was promised for a slot that is over, as far as prices need it.
type PastPage struct {
	Slot     phase0.Slot       `json:"slot"`
	Proposer string            `json:"proposer"`
	Promised []inclusion.Offer `json:"promised"`
}

// PriceReport says what the present prices would have made of past slots.
type PriceReport struct {
	First        phase0.Slot            `json:"first_slot"`
	Last         phase0.Slot            `json:"last_slot"`
	Pages        string                 `json:"pages"` // where our own promises were read: ledger, sidecar, or none
	Slots        []inclusion.SlotReport `json:"slots"` // those with a block or a promise, ascending
	NearCapacity int                    `json:"near_capacity"`
	Promised     inclusion.Replayed     `json:"promised"`
	Market       inclusion.Replayed     `json:"market"`
}

// ReportOptions bound a report.
type ReportOptions struct {
	Slots uint64 // up to the head; 1 to 1024
	Admin string // host:port of the running sidecar's [metrics]; default what the file says
}

// ReportPrices replays the last slots at the prices of the file. It only reads:
// blocks from the execution node, and our promises from the ledger or, while a
// sidecar has that open, from the sidecar. Without either it reports on blocks
// alone. Faults: ErrNoPrices, ErrReportRange, the execution node's, ledger.Walk's.
func ReportPrices(ctx context.Context, c *config.Config, o ReportOptions) (*PriceReport, error) {
	at := slices.IndexFunc(c.Modules, func(m config.Module) bool { return m.Type == "inclusion" })
	if at < 0 || c.Execution.URL == "" {
		return nil, ErrNoPrices
	}
	if o.Slots < 1 || o.Slots > maxReport {
		return nil, ErrReportRange.With("%d", o.Slots)
	}
	replay, err := inclusion.Replay(func(into any) error { return c.DecodeModule(at, into) })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	clock := chain.NewClock(c.Chain(), nil)
	node, err := execution.New(execution.Config{URL: c.Execution.URL, Spec: c.Chain(), Clock: clock, Timeout: 20 * time.Second, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer node.Close()
	head, err := node.Head(ctx)
	if err != nil {
		return nil, err
	}
	out := &PriceReport{Last: head.Slot, Slots: []inclusion.SlotReport{}}
	out.First = head.Slot - min(head.Slot, phase0.Slot(o.Slots-1))
	past, err := pastBlocks(ctx, node, head.Number, out.First, gasPercent(c))
	if err != nil {
		return nil, err
	}
	pages, from, err := pastPages(ctx, c, clock, o.Admin, out.First, out.Last)
	if err != nil {
		return nil, err
	}
	out.Pages = from
	for _, p := range pages {
		i, found := slices.BinarySearchFunc(past, p.Slot, func(b inclusion.Past, s phase0.Slot) int { return cmp.Compare(b.Slot, s) })
		if !found {
			past = slices.Insert(past, i, inclusion.Past{Slot: p.Slot, Limit: gasLimit * gasPercent(c) / 100})
		}
		past[i].Promised = append(past[i].Promised, p.Promised...)
	}
	for _, p := range past {
		out.add(replay(p))
	}
	return out, nil
}

func gasPercent(c *config.Config) uint64 {
	g := c.Gateway
	if g == nil {
		g = config.DefaultGateway()
	}
	return uint64(max(g.MaxGasPercent, 0)) // #nosec G115 -- not negative
}

func (r *PriceReport) add(s inclusion.SlotReport) {
	r.Slots = append(r.Slots, s)
	if s.Limit > 0 && max(s.Promised.Gas, s.Market.Gas) >= s.Limit/100*nearFull {
		r.NearCapacity++
	}
	for _, side := range []struct{ to, of *inclusion.Replayed }{{&r.Promised, &s.Promised}, {&r.Market, &s.Market}} {
		side.to.Asked += side.of.Asked
		side.to.Accepted += side.of.Accepted
		side.to.TooCheap += side.of.TooCheap
		side.to.Full += side.of.Full
		side.to.TooBig += side.of.TooBig
		side.to.Gas += side.of.Gas
		side.to.Tips.Add(&side.to.Tips, &side.of.Tips)
		if side.of.Last.Gt(&side.to.Last) { // of all slots: the dearest
			side.to.Last = side.of.Last
		}
	}
}

// pastBlocks reads the blocks of the slots from first to the block of a number,
// ascending.
func pastBlocks(ctx context.Context, node *execution.Client, number uint64, first phase0.Slot, percent uint64) (all []inclusion.Past, err error) {
	for ; ; number-- {
		_, hash, err := node.CanonicalHeader(ctx, number)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", number, err)
		}
		block, err := node.BlockByHash(ctx, hash)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", number, err)
		}
		if block.Slot < first || number == 0 {
			break
		}
		if n := len(all); n > 0 && block.Slot >= all[n-1].Slot {
			return nil, execution.ErrBadAnswer.With("block %d is of slot %d, and the one after it of %d", number, block.Slot, all[n-1].Slot)
		}
		used, err := node.GasUsed(ctx, block)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", number, err)
		}
		p, err := pastOf(block, used, percent)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", number, err)
		}
		all = append(all, p)
	}
	slices.Reverse(all)
	return all, nil
}

func pastOf(b commitments.Block, used []uint64, percent uint64) (inclusion.Past, error) {
	h, err := execution.DecodeHeader(b.HeaderRLP)
	if err != nil {
		return inclusion.Past{}, err
	}
	p := inclusion.Past{Slot: b.Slot, Number: b.Number, GasLimit: h.GasLimit, GasUsed: h.GasUsed, BaseFee: h.BaseFee, Limit: h.GasLimit / 100 * percent}
	for i, tx := range b.Txs {
		o, err := inclusion.OfferOf(tx)
		if err != nil {
			return p, fmt.Errorf("transaction %d: %w", i, err)
		}
		p.Block = append(p.Block, inclusion.PastTx{Offer: o, GasUsed: used[i]})
	}
	return p, nil
}

// pastPages reads what we promised for some slots: from the ledger, or from the
// sidecar that has it open.
func pastPages(ctx context.Context, c *config.Config, clock *chain.Clock, admin string, first, last phase0.Slot) (pages []PastPage, from string, err error) {
	if admin != "" {
		pages, err = askPages(ctx, admin, first, last)
		return pages, "sidecar", err
	}
	found := map[commitments.PageID]*PastPage{}
	collect := func(r ledger.Record) error {
		if r.Entry == nil || r.Entry.Draft == nil || r.Page.Slot < first || r.Page.Slot > last {
			return nil
		}
		p := found[r.Page]
		if p == nil {
			p = &PastPage{Slot: r.Page.Slot, Proposer: r.Page.Proposer.String()}
			found[r.Page] = p
		}
		p.add(r.Entry.Draft.Commitment)
		return nil
	}
	if c.Ledger.PostgresDSNFile != "" {
		_, err = ledger.WalkPostgres(PostgresConfig(c, clock, nil), collect)
	} else {
		_, err = ledger.Walk(LedgerConfig(c, clock, nil).Path, collect)
	}
	switch {
	case errors.Is(err, ledger.ErrLocked) && c.Metrics != nil && c.Metrics.Enabled:
		host := c.Metrics.Host
		if host.IsUnspecified() {
			host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		pages, err = askPages(ctx, address(host.String(), c.Metrics.StartPort), first, last)
		return pages, "sidecar", err
	case errors.Is(err, ledger.ErrLocked), errors.Is(err, ledger.ErrMissing):
		return nil, "none", nil // blocks say something, too
	case err != nil:
		return nil, "", err
	}
	for _, p := range found {
		pages = append(pages, *p)
	}
	slices.SortFunc(pages, func(a, b PastPage) int {
		return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Proposer, b.Proposer))
	})
	return pages, "ledger", nil
}

// add is for promises of the module inclusion; there may be others.
func (p *PastPage) add(c commitments.Commitment) {
	if o, err := inclusion.OfferIn(c); err == nil {
		p.Promised = append(p.Promised, o)
	}
}

// askPages asks a running sidecar.
func askPages(ctx context.Context, admin string, first, last phase0.Slot) (pages []PastPage, err error) {
	query := url.Values{"first": {strconv.FormatUint(uint64(first), 10)}, "last": {strconv.FormatUint(uint64(last), 10)}}
	u := url.URL{Scheme: "http", Host: admin, Path: "/promises", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask the running sidecar: %w", err)
	}
	client := fetch.New(fetch.Options{Timeout: 20 * time.Second, MaxConnsPerHost: 1})
	defer client.CloseIdleConnections()
	status, _, text, err := fetch.Do(ctx, client, req, limitPastPages)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &pages)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the running sidecar at %s for its promises: %w", admin, err)
	}
	return pages, nil
}

// pastPromises answers askPages, of slots that are over only: what is promised for
// one to come is nobody's business. Fault: ErrReportRange.
func (a *App) pastPromises(first, last uint64) (any, error) {
	if last < first || last-first >= maxReport {
		return nil, ErrReportRange.With("from %d to %d", first, last)
	}
	now, out := a.clock.Slot(), []PastPage{}
	if a.promises == nil {
		return out, nil
	}
	for _, page := range a.promises.ledger.Pages(phase0.Slot(first)) {
		if uint64(page.Slot) > last || page.Slot >= now {
			break
		}
		p := PastPage{Slot: page.Slot, Proposer: page.Proposer.String(), Promised: []inclusion.Offer{}}
		for i := range page.Promises {
			p.add(page.Promises[i].Commitment)
		}
		if len(p.Promised) > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// Gwei writes an amount of wei in gwei, for people: a point and what is behind it.
func Gwei(wei *uint256.Int) string {
	return new(big.Rat).SetFrac(wei.ToBig(), big.NewInt(1e9)).FloatString(3)
}
