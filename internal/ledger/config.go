package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// defaultLookahead is how many slots ahead anybody may promise: two epochs.
const defaultLookahead phase0.Slot = 64

// Config says which ledger it is, and what vouches for it.
type Config struct {
	// Path of the file. Required.
	Path string
	// Network and GenesisForkVersion must be the ledger's. Network is required.
	Network            string
	GenesisForkVersion phase0.Version
	// Clock tells the slot. Required.
	Clock *chain.Clock

	// Witness is a file in another folder than the ledger's, best beside the proxy
	// keys, that follows the ledger's counter. Optional: without it neither a
	// restored nor a copied ledger is noticed, which is for tests only.
	Witness string
	// KeyLock is a file beside the proxy keys, by which two sidecars with copies of
	// a ledger but the same keys find each other. Optional, as Witness.
	KeyLock string
	// Lookahead is how many slots ahead a promise may be, and so how long a ledger
	// holds that nobody vouches for. Optional: 64.
	Lookahead phase0.Slot
	// NewKeys states that no key of this ledger has ever promised anything, so that
	// a new ledger need not hold. Only Create reads it. Danger: if it is not true,
	// the sidecar can contradict what was promised before.
	NewKeys bool
	// Look says that the ledger is opened to be looked at, as sidecar check does. What
	// the operator stated is for the next start, and stands if nothing is written.
	Look bool
	// Host names the machine. Optional: a hash of its machine id, nothing if it
	// has none.
	Host string
	// Log hears of holds and of a witness that cannot be written. Optional.
	Log *slog.Logger
}

func (c *Config) check() error {
	if c.Path == "" || c.Network == "" || c.Clock == nil {
		return errors.New("a ledger needs a path, a network and a clock")
	}
	if c.Lookahead == 0 {
		c.Lookahead = defaultLookahead
	}
	c.Host = hostOr(c.Host)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Create makes a new ledger for a network: the whole file or none of it, mode
// 0600, its name synced to disk; and then its witness. The directories must
// exist. Unless NewKeys is set the ledger holds for one lookahead. Fault: ErrExists.
func Create(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	m := newMeta(&c)
	if err := create(c.Path, m, c.Host, diskSteps()); err != nil {
		return err
	}
	if c.Witness == "" {
		return nil
	}
	// A crash before this: a ledger without a witness, which holds.
	end, err := m.first()
	if err != nil {
		return err
	}
	w := witness{Instance: m.Instance, Host: c.Host, Head: end.Hash[:], Time: c.Clock.Now().UnixMilli(), Vouched: c.NewKeys}
	if h := born(m.summary(), c.Clock, c.Lookahead); h != nil {
		w.HoldUntil, w.HoldReason = uint64(h.Until), h.Reason
	}
	return writeWitness(c.Witness, w, replaceFile)
}

// Open opens an existing ledger, checks every record of its chain, takes the
// file's lock and the keys', and decides whether the ledger may promise at once.
// It never creates one. It waits up to 6 s for a lock that another machine may
// hold.
// Faults: ErrMissing, ErrBroken, ErrChain, ErrLocked, ErrNewer, ErrKeysLocked,
// ErrRolledBack, ErrOtherHost.
func Open(c Config) (*Ledger, error) { return openWith(c, realDisk(), replaceFile) }

// Adopt binds a ledger that was moved to this machine to it, and makes it hold
// for one lookahead. The ledger must not be open. Danger: the one it was copied
// from must never run again.
// Faults: those of Open but ErrOtherHost.
func Adopt(c Config) (Hold, error) {
	if err := c.check(); err != nil {
		return Hold{}, err
	}
	sum, err := Verify(c.Path)
	if err != nil {
		return Hold{}, err
	}
	if sum.Network != c.Network || sum.GenesisForkVersion != c.GenesisForkVersion {
		return Hold{}, ErrChain.With("ledger of %q (genesis fork version %#x)", sum.Network, sum.GenesisForkVersion)
	}
	if c.Witness != "" {
		w, err := readWitness(c.Witness)
		if err == nil && string(w.Instance) == string(sum.instance()) && w.Records > sum.Records {
			return Hold{}, ErrRolledBack.With("the witness counts %d records, the ledger %d", w.Records, sum.Records)
		}
	}
	if err := rebind(c.Path, c.Host); err != nil {
		return Hold{}, err
	}
	h := Hold{Until: c.Clock.Slot() + c.Lookahead, Reason: holdAdopted}
	if c.Witness == "" {
		return h, nil
	}
	end := sum.end()
	w := witness{
		Instance: sum.instance(), Host: c.Host, Records: end.Records, Head: end.Hash[:], Time: c.Clock.Now().UnixMilli(),
		HoldUntil: uint64(h.Until), HoldReason: h.Reason,
	}
	return h, writeWitness(c.Witness, w, replaceFile)
}

// Import merges an interchange into a ledger that is not open, be it even older
// than its witness. complete states that the file, with what the ledger has, is
// everything that was ever promised with these keys: it ends every hold, if the
// sidecar starts within 10 minutes. Danger: if it is not true, the sidecar can
// contradict what is missing.
// Faults: ErrMissing, ErrBroken, ErrChain, ErrLocked, ErrNewer, ErrKeysLocked,
// ErrOtherHost, ErrInterchange, ErrConflict.
func Import(ctx context.Context, c Config, f Interchange, complete bool) (Merged, error) {
	if err := f.Fits(c.Network, c.GenesisForkVersion); err != nil {
		return Merged{}, err
	}
	witnessPath := c.Witness
	c.Witness = "" // its judgement is not asked for: this may be the remedy
	l, err := Open(c)
	if err != nil {
		return Merged{}, err
	}
	m, err := l.Merge(ctx, f)
	end := *l.durable.Load()
	if err = errors.Join(err, l.Close()); err != nil || !complete || witnessPath == "" {
		return m, err
	}
	c.Witness = witnessPath
	return m, vouch(c, &end)
}

// Vouch states that nothing was promised with the keys of a ledger but what it
// holds: it ends every hold, if the sidecar starts within 10 minutes. The ledger must
// not be open. Danger: if it is not true, the sidecar can contradict what was
// promised elsewhere. Faults: ErrMissing, ErrBroken, ErrNewer, ErrLocked.
func Vouch(c Config) error {
	if err := c.check(); err != nil || c.Witness == "" {
		return err
	}
	return vouch(c, nil)
}

// vouch writes the statement, for a ledger that ends as it did for the caller.
func vouch(c Config, must *head) error {
	sum, err := Verify(c.Path)
	end := sum.end()
	if err == nil && must != nil && end != *must {
		err = ErrBroken.With("somebody else wrote into the ledger")
	}
	if err != nil {
		return err
	}
	w := witness{Instance: sum.instance(), Host: hostOr(c.Host), Records: end.Records, Head: end.Hash[:], Time: c.Clock.Now().UnixMilli(), Vouched: true}
	return writeWitness(c.Witness, w, replaceFile)
}

func hostOr(host string) string {
	if host == "" {
		return hostID()
	}
	return host
}

// newMeta names a new ledger.
func newMeta(c *Config) meta {
	version := c.GenesisForkVersion
	return meta{
		Schema: schema, Network: c.Network, ForkVersion: version[:], Instance: randomBytes(16),
		Created: max(c.Clock.Now().Unix(), 1), NewKeys: c.NewKeys,
	}
}

// born is how long a new ledger holds: an earlier one of the same keys may have
// promised up to one lookahead ahead. Nil: not at all.
func born(s Summary, clock *chain.Clock, lookahead phase0.Slot) *Hold {
	if s.NewKeys || s.Created.IsZero() {
		return nil
	}
	return &Hold{Until: clock.SlotAt(s.Created) + lookahead, Reason: holdNew}
}

func (s Summary) created() string {
	if s.Created.IsZero() {
		return "unknown"
	}
	return s.Created.UTC().Format(time.RFC3339)
}

// String is the summary on one line.
func (s Summary) String() string {
	return fmt.Sprintf("ledger %s of %s (genesis fork version %#x), made %s: %d records, %d entries, %d signatures, newest slot %d, head %x",
		s.Instance, s.Network, s.GenesisForkVersion[:], s.created(), s.Records, s.Entries, s.Seals, uint64(s.Newest), s.Head)
}
