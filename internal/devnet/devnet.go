// Package devnet puts a sidecar beside a simnet: it writes the files an operator
// would write (configuration, spec, keystore), initialises them as `sidecar
// init` does, and runs the sidecar in this process. cmd/devnet and the journey
// tests use it; the production binary does not.
package devnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments/answer"
	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/internal/simnet"
)

// SigningID is that of the inclusion module on a devnet.
const SigningID = "0x1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c"

// Options say how the sidecar is configured. The zero value proposes through
// every relay of the chain and makes promises.
type Options struct {
	Dir         string                              // for its files; required
	ProposeOnly bool                                // no modules, no ledger, no nodes
	Lead        time.Duration                       // default: half a slot
	Gateway     string                              // more of [gateway], and tables of it
	AuditAfter  int                                 // slots; default 1
	Module      string                              // [[modules]] tables in place of the built-in inclusion module
	Extra       string                              // appended to the configuration
	PBS         string                              // lines for [pbs]
	RelayLines  func(i int, r *simnet.Relay) string // lines for a relay; optional
	Mux         string                              // [[mux]] tables, in place of default relays for their keys
	DefaultOnly []int                               // relays of the default set; nil: all
	Untold      []int                               // relays that are not told constraints, though they could be
	Holds       []int                               // validators whose keys the sidecar has; nil: all
	Beacon      string                              // URL in place of the chain's beacon node
	Execution   string                              // URL in place of the chain's execution node
	Bare        bool                                // neither ledger nor proxy key: sidecar init is still to be run
	Log         *slog.Logger                        // default: none
}

// Sidecar is one that runs.
type Sidecar struct {
	App        *app.App
	Config     *config.Config
	ConfigPath string
	BuilderURL string
	GatewayURL string
	WalletURL  string         // with a [wallet] table
	AdminURL   string         // of metrics
	Signers    answer.Signers // the proxy keys that promise

	cancel context.CancelFunc
	done   chan error
}

// Start writes the files (unless they are there already), starts the sidecar,
// and points the chain's proposer and searcher at it.
func Start(ctx context.Context, n *simnet.Net, o Options) (*Sidecar, error) {
	path, err := Write(ctx, n, o)
	if err != nil {
		return nil, err
	}
	return Run(ctx, n, path, o.Log)
}

// Run starts a sidecar over files that Write made.
func Run(ctx context.Context, n *simnet.Net, path string, log *slog.Logger) (*Sidecar, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, err
	}
	a, err := app.New(c, "devnet", log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	who := a.Promisers()
	signers := answer.Signers{Committer: who.Committer, Delegate: who.Delegate}
	s := &Sidecar{App: a, Config: c, ConfigPath: path, cancel: cancel, done: make(chan error, 1), Signers: signers}
	go func() { s.done <- a.Run(ctx) }()
	if err := s.awaitStart(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	n.SetBuilderURL(s.BuilderURL)
	n.SetGatewayURL(s.GatewayURL)
	return s, nil
}

// awaitStart waits until the listeners are there.
func (s *Sidecar) awaitStart() error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		select {
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("the sidecar ended at its start: %w", err)
		case <-tick.C:
		}
		if s.App.Listening() {
			s.BuilderURL = "http://" + s.App.BuilderAddr().String()
			if addr := s.App.GatewayAddr(); addr != nil {
				s.GatewayURL = "http://" + addr.String()
			}
			if addr := s.App.WalletAddr(); addr != nil {
				s.WalletURL = "http://" + addr.String()
			}
			if addr := s.App.AdminAddr(); addr != nil {
				s.AdminURL = "http://" + addr.String()
			}
			return nil
		}
	}
	return errors.New("the sidecar does not listen")
}

// Stop stops the sidecar as a signal does, and returns what Run returned.
func (s *Sidecar) Stop() error {
	s.cancel()
	err := <-s.done
	s.done <- err
	return err
}

// Write makes the files of an operator in o.Dir and initialises them. Files that
// are there already are kept.
func Write(ctx context.Context, n *simnet.Net, o Options) (string, error) {
	path := filepath.Join(o.Dir, "sidecar.toml")
	if err := writeSpec(ctx, n, filepath.Join(o.Dir, "spec.json")); err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(toml(n, o)), 0o600); err != nil {
		return "", err
	}
	if o.ProposeOnly {
		return path, nil
	}
	for i, v := range n.Validators {
		if o.Holds != nil && !slices.Contains(o.Holds, i) {
			continue
		}
		if err := writeKeystore(o.Dir, v); err != nil {
			return "", err
		}
	}
	if o.Bare {
		return path, nil
	}
	return path, initialise(ctx, n, path)
}

// writeSpec asks the beacon node for the chain's constants.
func writeSpec(ctx context.Context, n *simnet.Net, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.Beacon.URL+"/eth/v1/config/spec", nil)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// toml is the configuration file.
func toml(n *simnet.Net, o Options) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("chain = { genesis_time_secs = %d, path = %q }", n.Spec.GenesisTime.Unix(), filepath.Join(o.Dir, "spec.json"))
	line("[metrics]\nstart_port = 0\n[pbs]\nport = 0\n%s", o.PBS)
	for i, r := range n.Relays {
		if o.DefaultOnly != nil && !slices.Contains(o.DefaultOnly, i) {
			continue
		}
		line("[[relays]]\nid = %q\nurl = %q", r.Name, r.ConfigURL())
		dialect := config.DialectSpec
		if r.Fabric {
			dialect = config.DialectFabric
		}
		line("constraints = %v\nconstraints_dialect = %q", r.Constraints && !slices.Contains(o.Untold, i), dialect)
		if o.RelayLines != nil {
			line("%s", o.RelayLines(i, r))
		}
	}
	line("%s", o.Mux)
	if !o.ProposeOnly {
		promising(line, n, o)
	}
	line("%s", o.Extra)
	return b.String()
}

func promising(line func(string, ...any), n *simnet.Net, o Options) {
	lead, after := o.Lead, o.AuditAfter
	if lead == 0 {
		lead = n.Spec.SlotDuration / 2
	}
	if after == 0 {
		after = 1
	}
	line("[beacon]\nurl = %q\n[execution]\nurl = %q", cmp.Or(o.Beacon, n.Beacon.URL), cmp.Or(o.Execution, n.Execution.URL))
	line("[ledger]\npath = %q", filepath.Join(o.Dir, "ledger.db"))
	line("[data]\npath = %q", filepath.Join(o.Dir, "data"))
	line("[gateway]\nport = 0\nlead_ms = %d\n%s", lead.Milliseconds(), o.Gateway)
	line("[audit]\nafter_slots = %d", after)
	line("[signer.local.loader]\nformat = \"lighthouse\"\nkeys_path = %q\nsecrets_path = %q", filepath.Join(o.Dir, "keys"), filepath.Join(o.Dir, "secrets"))
	line("[signer.local.store]\nkeys_path = %q\nsecrets_path = %q", filepath.Join(o.Dir, "proxy-keys"), filepath.Join(o.Dir, "proxy-secrets"))
	line("%s", cmp.Or(o.Module, fmt.Sprintf("[[modules]]\nid = \"INCLUSION\"\ntype = \"inclusion\"\nsigning_id = %q", SigningID)))
}

// Verdict waits until the promise for a request was judged.
func (s *Sidecar) Verdict(ctx context.Context, request phase0.Hash32) (string, string, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if outcome, reason, ok := verdict(s.App.Ledger(), request); ok {
			return outcome, reason, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", "", ctx.Err()
		}
	}
}

func verdict(l *ledger.Ledger, request phase0.Hash32) (outcome, reason string, ok bool) {
	_, id, found := l.Find(request)
	if !found {
		return "", "", false
	}
	for _, v := range l.Page(id).Verdicts {
		if v.RequestHash == request {
			outcome, reason, ok = v.Outcome.String(), v.Reason, true
		}
	}
	return outcome, reason, ok
}
