package dirk

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"

	"sidecar/commitments"
	"sidecar/internal/bls"
)

// maxThreshold is more than any cluster has.
const maxThreshold = 1024

// account is one validator's key.
type account struct {
	public       *bls.PublicKey
	threshold    int           // 0: a simple account, of one participant
	participants []participant // ascending by id
}

// participant is a server with the account, or a share of it.
type participant struct {
	server *server
	id     uint64         // where the share is; 0 of a simple account
	name   string         // of the account: wallet/account
	share  *bls.PublicKey // nil if the server was silent at the start
}

// gather makes accounts of what servers listed; a server that was silent listed
// nothing. Fault: ErrAccount.
func gather(servers []*server, answers []listing) (map[commitments.Key]*account, error) {
	accounts := map[commitments.Key]*account{}
	for i, s := range servers {
		for _, listed := range answers[i].simple {
			if isProxy(listed.name) {
				continue
			}
			key, public, err := parseKey(s, listed.name, listed.public)
			if err != nil {
				return nil, err
			}
			if accounts[key] != nil {
				return nil, ErrAccount.With("%s: %q is on another server, too", s.name, listed.name)
			}
			accounts[key] = &account{public: public, participants: []participant{{server: s, name: listed.name}}}
		}
		for _, listed := range answers[i].distributed {
			if isProxy(listed.name) {
				continue
			}
			if err := join(accounts, servers, s, listed); err != nil {
				return nil, err
			}
		}
	}
	for key, a := range accounts {
		if len(a.participants) < a.threshold {
			return nil, ErrAccount.With("%s: %d of its participants must sign, and %d are configured", key, a.threshold, len(a.participants))
		}
		slices.SortFunc(a.participants, func(x, y participant) int {
			if x.id < y.id {
				return -1
			}
			return 1
		})
	}
	return accounts, nil
}

// join adds what server s says of a distributed account.
func join(accounts map[commitments.Key]*account, servers []*server, s *server, listed distributed) error {
	key, public, err := parseKey(s, listed.name, listed.composite)
	if err != nil {
		return err
	}
	_, share, err := parseKey(s, listed.name, listed.share)
	if err != nil {
		return err
	}
	threshold := int(min(listed.threshold, maxThreshold+1)) // #nosec G115 -- bounded
	if threshold < 1 || threshold > maxThreshold {
		return ErrAccount.With("%s: %q has threshold %d", s.name, listed.name, threshold)
	}
	a := accounts[key]
	if a == nil {
		a = &account{public: public, threshold: threshold}
		accounts[key] = a
	}
	if a.threshold != threshold {
		return ErrAccount.With("%s: %q has threshold %d here and %d elsewhere", s.name, listed.name, threshold, a.threshold)
	}
	ids, mine := map[uint64]string{}, false
	for _, e := range listed.participants {
		if other, twice := ids[e.id]; e.id == 0 || twice {
			return ErrAccount.With("%s: %q: participant %s has id %d, as has %q", s.name, listed.name, e.name, e.id, other)
		}
		ids[e.id] = e.name
		for _, peer := range servers {
			if peer.name != e.name {
				continue
			}
			p := participant{server: peer, id: e.id, name: listed.name}
			if peer == s {
				p.share, mine = share, true
			}
			if err := a.add(p); err != nil {
				return err
			}
		}
	}
	if !mine {
		return ErrAccount.With("%s is not the name of a participant of %q; set its server_name", s.name, listed.name)
	}
	return nil
}

// add adds a participant, or what is new about one.
func (a *account) add(p participant) error {
	for i := range a.participants {
		switch has := &a.participants[i]; {
		case has.server == p.server && has.id == p.id:
			if p.share != nil {
				has.share, has.name = p.share, p.name
			}
			return nil
		case has.server == p.server || has.id == p.id:
			return ErrAccount.With("%s: %q: id %d is %s's, and %s has id %d", p.server.name, p.name, has.id, has.server.name, p.server.name, p.id)
		}
	}
	a.participants = append(a.participants, p)
	return nil
}

// isProxy says whether an account is a proxy that Commit-Boost had Dirk make:
// <wallet>/<account>/<module>/<uuid>. It is not a validator's.
func isProxy(name string) bool {
	parts := strings.Split(name, "/")
	last := parts[len(parts)-1]
	if len(parts) < 4 || len(last) != 36 {
		return false
	}
	for i, r := range last {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (r == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

func parseKey(s *server, name string, b []byte) (commitments.Key, *bls.PublicKey, error) {
	if len(b) != phase0.PublicKeyLength {
		return commitments.Key{}, nil, ErrAccount.With("%s: %q has a public key of %d bytes", s.name, name, len(b))
	}
	key := phase0.BLSPubKey(b)
	public, err := bls.ParsePublicKey(key)
	if err != nil {
		return commitments.Key{}, nil, ErrAccount.Wrap(err)
	}
	return commitments.BLSKey(key), public, nil
}

// partial is what one participant answered.
type partial struct {
	bls.Share
	known bool // the share verifies by itself
	err   error
}

// sign asks every participant at once, and makes a signature of the first shares
// that yield one. A share that is wrong counts for nothing. One whose public key
// is not known is tried when there are not enough of the others.
func (a *account) sign(ctx context.Context, m commitments.Message) (sig phase0.BLSSignature, err error) {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan partial, len(a.participants))
	var group errgroup.Group
	for _, p := range a.participants {
		group.Go(func() error {
			answers <- p.sign(ctx, m)
			return nil
		})
	}
	defer func() { // the others are not needed
		cancel()
		_ = group.Wait()
	}()
	var shares []bls.Share // those that are known first
	known := 0
	var errs []error
	for range a.participants {
		got := <-answers
		switch {
		case got.err != nil:
			errs = append(errs, got.err)
			continue
		case got.known:
			shares = slices.Insert(shares, known, got.Share)
			known++
		default:
			shares = append(shares, got.Share)
		}
		if len(shares) < a.threshold {
			continue
		}
		if sig, err = bls.Recover(shares[:a.threshold]); err == nil && a.public.Verify(m.Root(), sig) {
			return sig, nil
		}
	}
	return phase0.BLSSignature{}, ErrThreshold.Wrap(errors.Join(append(errs, ErrThreshold.With("%d usable shares, want %d", known, a.threshold))...))
}

// sign asks one participant for its share.
func (p participant) sign(ctx context.Context, m commitments.Message) partial {
	sig, err := p.server.sign(ctx, signRequest(nil, p.name, m.Object[:], m.Domain[:]))
	got := partial{Share: bls.Share{ID: p.id, Signature: sig}, err: err}
	switch {
	case err != nil || p.share == nil:
	case p.share.Verify(m.Root(), sig):
		got.known = true
	default:
		got.err = ErrAnswer.With("%s: its share is not its own", p.server.name)
	}
	return got
}
