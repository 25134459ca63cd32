package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/contracts/bindings"
	"sidecar/internal/app"
	"sidecar/slashing/onchain"
	"sidecar/slashing/restake"
)

const avsUsage = `sidecar avs COMMAND --manager ADDRESS --rpc URL, for the operator of validators whose promises restaked stake backs:

  register    make the account of --key an operator of EigenLayer, unless it is one, and join the manager's operator
              set with the validators' keys of --config, or add those that are missing
    --metadata-uri URI, --allocation-delay BLOCKS   of a new operator
    --validator PUBKEY                              only this key; may be repeated
    --pays ADDRESS                                  agree that slashed stake is paid to it; without it, it has to be burnt
  allocate    put a share of the operator's stake behind the set
    --percent P                                     of all of it, with up to four decimals
  exit        leave the set and take the allocation back; both can be slashed until EigenLayer's delay is over
  status      what is at stake, as the core says it at one block, and what an operator should look at
    --operator ADDRESS, or --key FILE
    --at BLOCK                                      finalized (the default), latest, or a number
    --validator PUBKEY                              show this key; may be repeated
    --slasher ADDRESS                               look at this contract, too; may be repeated

register, allocate and exit send transactions as sidecar prove does, with the same flags (--key, --password-file, --journal,
--confirmations, --max-fee-gwei, --poll, --json; see sidecar prove -h), and may be interrupted and run again.
`

// avsFlags are those of the avs commands.
type avsFlags struct {
	chainFlags
	config               string
	manager, operator    string
	metadataURI          string
	percent, at, pays    string
	delay                uint64
	validators, slashers list
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// avsCommand runs one of the operator's commands.
func avsCommand(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage.With("name a command\n%s", avsUsage)
	}
	run := map[string]func(context.Context, *avsFlags, *onchain.Node, common.Address) error{
		"register": avsRegister, "allocate": avsAllocate, "exit": avsExit, "status": avsStatus,
	}[args[0]]
	if run == nil {
		if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
			return show(avsUsage)
		}
		return errUsage.With("no command avs %.40q\n%s", args[0], avsUsage)
	}
	flags, file := newFlags(args[0])
	var f avsFlags
	f.define(flags)
	f.defineAvs(flags)
	switch rest, err := parseMixed(flags, args[1:], avsUsage); {
	case errors.Is(err, flag.ErrHelp):
		return show(avsUsage)
	case err != nil:
		return err
	case len(rest) > 0:
		return errUsage.With("%.40q is not expected", rest[0])
	}
	f.config = *file
	manager, err := address("--manager", f.manager)
	if err != nil {
		return err
	}
	n, err := f.node()
	if err != nil {
		return err
	}
	defer n.Close()
	return run(ctx, &f, n, manager)
}

func (f *avsFlags) defineAvs(flags *flag.FlagSet) {
	flags.StringVar(&f.manager, "manager", "", "")
	flags.StringVar(&f.operator, "operator", "", "")
	flags.StringVar(&f.metadataURI, "metadata-uri", "", "")
	flags.Uint64Var(&f.delay, "allocation-delay", 0, "")
	flags.StringVar(&f.percent, "percent", "", "")
	flags.StringVar(&f.at, "at", onchain.Finalized, "")
	flags.StringVar(&f.pays, "pays", "", "")
	flags.Var(&f.validators, "validator", "")
	flags.Var(&f.slashers, "slasher", "")
}

func address(name, text string) (a common.Address, err error) {
	if !common.IsHexAddress(text) {
		return a, errUsage.With("%s %.50q is no address", name, text)
	}
	return common.HexToAddress(text), nil
}

// pubkeys reads the --validator flags.
func (f *avsFlags) pubkeys() (keys []phase0.BLSPubKey, err error) {
	for _, text := range f.validators {
		b := common.FromHex(text)
		var k phase0.BLSPubKey
		if len(b) != len(k) {
			return nil, errUsage.With("--validator %.100q is no public key", text)
		}
		copy(k[:], b)
		keys = append(keys, k)
	}
	return keys, nil
}

// service opens the manager and a sender on the manager's chain.
func (f *avsFlags) service(ctx context.Context, n *onchain.Node, manager common.Address) (*restake.Service, *onchain.Sender, func(), error) {
	s, err := restake.Open(ctx, n, manager, common.Address{})
	if err != nil {
		return nil, nil, nil, err
	}
	sender, closed, err := f.sender(ctx, n, s.Rules.ChainID)
	return s, sender, closed, err
}

func avsRegister(ctx context.Context, f *avsFlags, n *onchain.Node, manager common.Address) error {
	if f.delay > math.MaxUint32 {
		return errUsage.With("--allocation-delay %d", f.delay)
	}
	var recipient common.Address
	if f.pays != "" {
		var err error
		if recipient, err = address("--pays", f.pays); err != nil {
			return err
		}
	}
	s, sender, closed, err := f.service(ctx, n, manager)
	if err != nil {
		return err
	}
	defer closed()
	keys, err := f.registrations(ctx, s, sender.From())
	if err != nil {
		return err
	}
	if err := s.Register(ctx, sender, restake.Membership{MetadataURI: f.metadataURI, AllocationDelay: uint32(f.delay), Registrations: keys, Recipient: recipient}); err != nil {
		return err
	}
	return f.print(map[string]any{"operator": sender.From(), "manager": manager, "keys": len(keys)},
		fmt.Sprintf("operator %s is in the set of %s with %d keys; allocate stake next\n", sender.From(), manager, len(keys)))
}

// registrations has the keys of the configuration sign.
func (f *avsFlags) registrations(ctx context.Context, s *restake.Service, operator common.Address) (out []bindings.Registration, err error) {
	only, err := f.pubkeys()
	if err != nil {
		return nil, err
	}
	c, err := load(f.config)
	if err != nil {
		return nil, err
	}
	spec := c.Chain()
	if spec.ChainID != s.Rules.ChainID || common.Hash(spec.Domain(chain.DomainCommitBoost)) != s.Rules.SigningDomain {
		return nil, onchain.ErrOtherChain.With("the configuration is of chain %d, the verifier of %d, or their genesis forks differ", spec.ChainID, s.Rules.ChainID)
	}
	nonce := uint64(chain.NewClock(spec, nil).Now().Unix()) // #nosec G115 -- after 1970; higher at every time
	object := phase0.Root(restake.Possession(s.Manager.At, operator))
	proofs, err := app.ProvePossession(ctx, c, object, phase0.Root(s.Rules.SigningID), nonce, only)
	if err != nil {
		return nil, err
	}
	if len(only) > 0 && len(proofs) != len(only) {
		return nil, errUsage.With("the configuration holds %d of %d keys", len(proofs), len(only))
	}
	for _, p := range proofs {
		pubkey, err := bindings.NewG1(p.Pubkey)
		if err != nil {
			return nil, err
		}
		signature, err := bindings.NewG2(p.Signature)
		if err != nil {
			return nil, err
		}
		out = append(out, bindings.Registration{Pubkey: pubkey, Nonce: p.Nonce, Signature: signature})
	}
	return out, nil
}

func avsAllocate(ctx context.Context, f *avsFlags, n *onchain.Node, manager common.Address) error {
	magnitude, err := parsePercent(f.percent)
	if err != nil {
		return err
	}
	s, sender, closed, err := f.service(ctx, n, manager)
	if err != nil {
		return err
	}
	defer closed()
	if err := s.Allocate(ctx, sender, magnitude); err != nil {
		return err
	}
	return f.shown(ctx, s, sender.From(), onchain.Latest)
}

// parsePercent reads a share with up to four decimals, as parts of 1e18.
func parsePercent(text string) (uint64, error) {
	whole, rest, _ := strings.Cut(text, ".")
	n, err := strconv.ParseUint(whole+(rest + "0000")[:max(4, len(rest))], 10, 64)
	if err != nil || whole == "" || len(rest) > 4 || n > 1_000_000 { // no percentage is no zero: that takes all back
		return 0, errUsage.With("--percent %.20q: 0 to 100, with up to four decimals", text)
	}
	return n * 1e12, nil
}

func avsExit(ctx context.Context, f *avsFlags, n *onchain.Node, manager common.Address) error {
	s, sender, closed, err := f.service(ctx, n, manager)
	if err != nil {
		return err
	}
	defer closed()
	if err := s.Exit(ctx, sender); err != nil {
		return err
	}
	return f.shown(ctx, s, sender.From(), onchain.Latest)
}

func avsStatus(ctx context.Context, f *avsFlags, n *onchain.Node, manager common.Address) error {
	var operator common.Address
	switch {
	case f.operator != "":
		var err error
		if operator, err = address("--operator", f.operator); err != nil {
			return err
		}
	case f.key != "":
		key, _, err := onchain.LoadKey(f.key, f.password)
		if err != nil {
			return err
		}
		operator = common.Address(key.Address())
		key.Wipe()
	default:
		return errUsage.With("--operator or --key is required")
	}
	at := f.at
	if number, err := strconv.ParseUint(at, 10, 64); err == nil {
		at = onchain.AtBlock(number)
	} else if at != onchain.Finalized && at != onchain.Latest {
		return errUsage.With("--at %.20q: finalized, latest or a number", at)
	}
	s, err := restake.Open(ctx, n, manager, common.Address{})
	if err != nil {
		return err
	}
	return f.shown(ctx, s, operator, at)
}

// shown prints the status.
func (f *avsFlags) shown(ctx context.Context, s *restake.Service, operator common.Address, at string) error {
	pubkeys, err := f.pubkeys()
	if err != nil {
		return err
	}
	var ids []common.Hash
	for _, k := range pubkeys {
		p, err := bindings.NewG1(k)
		if err != nil {
			return errUsage.Wrap(err)
		}
		ids = append(ids, restake.KeyID(p))
	}
	var slashers []common.Address
	for _, text := range f.slashers {
		a, err := address("--slasher", text)
		if err != nil {
			return err
		}
		slashers = append(slashers, a)
	}
	st, err := s.Status(ctx, operator, at, ids, slashers)
	if err != nil {
		return err
	}
	return f.print(st, describeStatus(st))
}

func describeStatus(st *restake.Status) string {
	var b strings.Builder
	line := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n", arguments...) }
	line("block %d (%s, %s)", st.Block, st.BlockHash, time.Unix(int64(st.Time), 0).UTC().Format(time.RFC3339)) // #nosec G115 -- a header's time
	line("operator %s: registered %t, in the set %t, slashable %t", st.Operator, st.IsOperator, st.Member, st.Slashable)
	for _, s := range st.Stakes {
		line("strategy %s: %s shares, %s of them allocated, %s at stake; %s more in withdrawals", s.Strategy, ether(s.Shares.Int), ether(s.Allocated.Int), ether(s.AtStake.Int), ether(s.Leaving.Int))
	}
	for _, k := range st.Keys {
		line("validator %s: operator %s, answers for slots after %d, until %d (0: no end)", k.ID, k.Operator, k.Since, k.Until)
	}
	t := st.Terms
	line("one broken promise costs %s, two promises for one nonce %s, a day %s at most; after %d s for a veto of %s", percent(t.AbsentWad.Int), percent(t.DoubleWad.Int), percent(t.DailyWad.Int), t.DelaySeconds, t.Guardian)
	how := "is burnt at"
	if t.Pays {
		how = "is paid to"
	}
	line("slashed stake %s %s; who leaves can be slashed for %d blocks", how, t.GoesTo, t.ExitBlocks)
	for _, w := range st.Warnings {
		line("warning: %s", w)
	}
	return b.String()
}
