package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/fetch"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/slashing"
	"sidecar/slashing/evidence"
)

// nearAhead is how long the accounts of promises to come may take to read.
const nearAhead = 5 * time.Second

// NearMissReport says what would have broken our promises, or may yet.
type NearMissReport struct {
	First  phase0.Slot         `json:"first_slot"`
	Last   phase0.Slot         `json:"last_slot"`
	From   string              `json:"from"` // sidecar: the running one; ledger: its ledger, at rest; the slots to come only from the former
	Misses []slashing.NearMiss `json:"near_misses"`
}

// ReportNearMisses reports on the last slots, up to the clock's, and those to
// come. It asks the sidecar that runs, or reads its ledger. Faults:
// ErrReportRange, ledger.Walk's.
func ReportNearMisses(ctx context.Context, c *config.Config, o ReportOptions) (*NearMissReport, error) {
	if o.Slots < 1 || o.Slots > maxReport {
		return nil, ErrReportRange.With("%d", o.Slots)
	}
	clock := chain.NewClock(c.Chain(), nil)
	now := clock.Slot()
	r := &NearMissReport{First: now - min(now, phase0.Slot(o.Slots-1)), Last: now + phase0.Slot(c.Chain().SlotsPerEpoch)*2, From: "sidecar"}
	admin := o.Admin
	if m := c.Metrics; admin == "" && m != nil && m.Enabled {
		host := m.Host
		if host.IsUnspecified() {
			host = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		}
		admin = address(host.String(), m.StartPort)
	}
	err := errors.New("no [metrics], and no --admin")
	if admin != "" {
		err = askNearMisses(ctx, admin, r)
	}
	if err == nil || o.Admin != "" {
		return r, err
	}
	pages, walked := restingPages(c, clock, r.First, now)
	if errors.Is(walked, ledger.ErrLocked) {
		return nil, fmt.Errorf("a sidecar has the ledger open, and does not answer: %w", err)
	}
	if walked != nil {
		return nil, walked
	}
	r.From, r.Last = "ledger", now
	store := slashing.NewStore(filepath.Join(c.Data.Path, "audit"))
	for i := range pages {
		p := &pages[i]
		r.Misses = append(r.Misses, slashing.Past(p, clock.Start(p.Slot), c.Chain().ChainID, store.Captured(p), 0)...)
	}
	return r, nil
}

// askNearMisses asks a running sidecar.
func askNearMisses(ctx context.Context, admin string, r *NearMissReport) error {
	query := url.Values{"first": {strconv.FormatUint(uint64(r.First), 10)}, "last": {strconv.FormatUint(uint64(r.Last), 10)}}
	u := url.URL{Scheme: "http", Host: admin, Path: "/near-misses", RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return fmt.Errorf("ask the running sidecar: %w", err)
	}
	client := fetch.New(fetch.Options{Timeout: 20 * time.Second, MaxConnsPerHost: 1})
	defer client.CloseIdleConnections()
	status, _, text, err := fetch.Do(ctx, client, req, limitPastPages)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, &r.Misses)
	}
	if err != nil {
		return fmt.Errorf("ask the running sidecar at %s for near misses: %w", admin, err)
	}
	return nil
}

// restingPages reads the pages of some slots from a ledger that nobody has open,
// as far as near misses need them.
func restingPages(c *config.Config, clock *chain.Clock, first, before phase0.Slot) ([]commitments.Page, error) {
	found := map[commitments.PageID]*commitments.Page{}
	collect := func(r ledger.Record) error {
		e := r.Entry
		if e == nil || r.Page.Slot < first || r.Page.Slot >= before {
			return nil
		}
		p := found[r.Page]
		if p == nil {
			p = &commitments.Page{PageID: r.Page}
			found[r.Page] = p
		}
		switch {
		case e.Draft != nil:
			p.Promises = append(p.Promises, commitments.Promise{SignedCommitment: commitments.SignedCommitment{Commitment: e.Draft.Commitment}})
		case e.Verdict != nil:
			p.Verdicts = slices.DeleteFunc(p.Verdicts, func(v commitments.Verdict) bool { return v.RequestHash == e.Verdict.RequestHash })
			p.Verdicts = append(p.Verdicts, *e.Verdict) // the last one counts
		case e.Kind == ledger.KindReceipt || e.Kind == ledger.KindHeaderServed:
			p.Notes = append(p.Notes, commitments.Note{Kind: e.Kind.String(), What: e.Note})
		}
		return nil
	}
	var err error
	if c.Ledger.PostgresDSNFile != "" {
		_, err = ledger.WalkPostgres(PostgresConfig(c, clock, nil), collect)
	} else {
		_, err = ledger.Walk(LedgerConfig(c, clock, nil).Path, collect)
	}
	pages := make([]commitments.Page, 0, len(found))
	for _, p := range found {
		pages = append(pages, *p)
	}
	slices.SortFunc(pages, func(a, b commitments.Page) int { return cmp.Compare(a.Slot, b.Slot) })
	return pages, err
}

// nearMisses answers askNearMisses. Fault: ErrReportRange.
func (a *App) nearMisses(first, last uint64) (any, error) {
	if last < first || last-first >= 2*maxReport {
		return nil, ErrReportRange.With("from %d to %d", first, last)
	}
	out := []slashing.NearMiss{}
	if a.promises == nil {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), nearAhead)
	defer cancel()
	now, store := a.clock.Slot(), slashing.NewStore(filepath.Join(a.config.Data.Path, "audit"))
	refused := a.refusedBids(ctx)
	for _, p := range a.promises.ledger.Pages(phase0.Slot(first)) {
		switch {
		case uint64(p.Slot) > last:
			return out, nil
		case p.Slot < now:
			out = append(out, slashing.Past(&p, a.clock.Start(p.Slot), a.spec.ChainID, store.Captured(&p), refused[p.Slot])...)
		default:
			out = append(out, a.ahead(ctx, &p)...)
		}
	}
	return out, nil
}

// ahead looks at a page to come by the head; nothing without one.
func (a *App) ahead(ctx context.Context, p *commitments.Page) []slashing.NearMiss {
	head, err := a.promises.execution.Head(ctx)
	if err != nil {
		return nil
	}
	return slashing.Ahead(p, a.spec.ChainID, head, func(in evidence.Promised) (modules.Account, bool) {
		account, _, err := a.promises.execution.Account(ctx, bellatrix.ExecutionAddress(in.Sender))
		return account, err == nil
	})
}

// refusedBids counts the bids of each slot that were refused, as far as the log
// of events goes back.
func (a *App) refusedBids(ctx context.Context) map[phase0.Slot]int {
	count := map[phase0.Slot]int{}
	for seq, n := uint64(0), 0; n < 64; n++ { // more than the log keeps
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // After waits where there is none
		list, err := a.promises.events.After(short, seq)
		cancel()
		if err != nil || len(list) == 0 {
			break
		}
		for _, e := range list {
			seq = e.Seq
			if e.Kind == modules.EventBid && e.Refused {
				count[e.Slot]++
			}
		}
	}
	return count
}
