package execution

import (
	"bytes"
	"context"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/modules"
)

// What is read ahead at a new head.
const (
	maxPrefetch     = 256                    // accounts
	prefetchBatch   = 64                     // accounts of one request
	prefetchTimeout = 250 * time.Millisecond // of all of it; a head does not wait longer for accounts
	maxIdle         = 32                     // heads an account is read ahead for without being asked for
	limitAccounts   = 8 << 20                // bytes of an answer; a contract's code is 48 KiB in hex
)

// known is an account at the head.
type known struct {
	modules.Account
	idle int // heads since it was asked for
}

// Account returns an account at the head, and that head: one batched call, and
// none while the head stays. Faults: those of Head.
func (c *Client) Account(ctx context.Context, addr bellatrix.ExecutionAddress) (modules.Account, modules.Head, error) {
	head, err := c.Head(ctx)
	if err != nil {
		return modules.Account{}, modules.Head{}, err
	}
	if account, ok := c.remembered(head.Hash, addr); ok {
		c.metrics.account("hit")
		return account, head, nil
	}
	c.metrics.account("miss")
	account, err := share(ctx, &c.flights, string(addr[:])+string(head.Hash[:]), func() (modules.Account, error) {
		if account, ok := c.remembered(head.Hash, addr); ok { // it came while we were on our way here
			return account, nil
		}
		all, err := c.readAccounts(ctx, head.Hash, []bellatrix.ExecutionAddress{addr})
		if err != nil {
			return modules.Account{}, err
		}
		c.remember(head.Hash, addr, all[0])
		return all[0], nil
	})
	if err != nil {
		return modules.Account{}, modules.Head{}, err
	}
	return account, head, nil
}

// Accounts returns accounts at the head, in the order of addrs, and that head: one
// batched call for every 64 that are not known at this head, and none while it
// stays. What was read before an error is known when it is asked for again. Faults:
// those of Head.
func (c *Client) Accounts(ctx context.Context, addrs []bellatrix.ExecutionAddress) ([]modules.Account, modules.Head, error) {
	head, err := c.Head(ctx)
	if err != nil {
		return nil, modules.Head{}, err
	}
	out := make([]modules.Account, len(addrs))
	var missing []int
	for i, addr := range addrs {
		var ok bool
		if out[i], ok = c.remembered(head.Hash, addr); !ok {
			missing = append(missing, i)
		}
	}
	for len(missing) > 0 {
		at := missing[:min(prefetchBatch, len(missing))]
		missing = missing[len(at):]
		batch := make([]bellatrix.ExecutionAddress, len(at))
		for i, n := range at {
			batch[i] = addrs[n]
		}
		all, err := c.readAccounts(ctx, head.Hash, batch)
		if err != nil {
			return nil, modules.Head{}, err
		}
		for i, n := range at {
			out[n] = all[i]
			c.remember(head.Hash, batch[i], all[i])
		}
	}
	return out, head, nil
}

// remembered returns an account that is known at a head.
func (c *Client) remembered(head phase0.Hash32, addr bellatrix.ExecutionAddress) (modules.Account, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.accounts[addr]
	if k == nil || c.head.Hash != head {
		return modules.Account{}, false
	}
	k.idle = 0
	return k.Account, true
}

// remember keeps an account while its head is ours. When there are too many, any
// other one is forgotten.
func (c *Client) remember(head phase0.Hash32, addr bellatrix.ExecutionAddress, a modules.Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head.Hash != head {
		return
	}
	if len(c.accounts) >= maxAccounts {
		for old := range c.accounts {
			delete(c.accounts, old)
			break
		}
	}
	c.accounts[addr] = &known{Account: a}
}

// prefetch reads the accounts in use at a new head. What could not be read in
// time is left out.
func (c *Client) prefetch(ctx context.Context, head modules.Head) map[bellatrix.ExecutionAddress]*known {
	next := map[bellatrix.ExecutionAddress]*known{}
	var addrs []bellatrix.ExecutionAddress
	idle := map[bellatrix.ExecutionAddress]int{}
	c.mu.Lock()
	for addr, k := range c.accounts {
		if k.idle < maxIdle && len(addrs) < maxPrefetch {
			addrs, idle[addr] = append(addrs, addr), k.idle+1
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, prefetchTimeout)
	defer cancel()
	for len(addrs) > 0 {
		batch := addrs[:min(prefetchBatch, len(addrs))]
		addrs = addrs[len(batch):]
		all, err := c.readAccounts(ctx, head.Hash, batch)
		if err != nil {
			c.log.Debug("Accounts were not read ahead", "error", err)
			return next
		}
		for i, addr := range batch {
			next[addr] = &known{all[i], idle[addr]}
		}
		c.metrics.prefetched(len(batch))
	}
	return next
}

// readAccounts reads accounts at a block from every node, in one request each.
// Faults: ErrUnavailable, ErrBadAnswer, ErrRefused, ErrDisagree.
func (c *Client) readAccounts(ctx context.Context, at phase0.Hash32, addrs []bellatrix.ExecutionAddress) ([]modules.Account, error) {
	first, second, err := both(c, func(node *Client) ([]modules.Account, error) { return node.accountsAt(ctx, at, addrs) })
	if err != nil {
		return nil, err
	}
	for i := range first {
		if first[i] != second[i] {
			c.metrics.agree(ErrDisagree)
			return nil, ErrDisagree.With("about account %#x", addrs[i][:])
		}
	}
	return first, nil
}

// accountsAt reads accounts from this node.
func (c *Client) accountsAt(ctx context.Context, at phase0.Hash32, addrs []bellatrix.ExecutionAddress) ([]modules.Account, error) {
	nonces, balances, codes := make([]quantity, len(addrs)), make([]amount, len(addrs)), make([]hexBytes, len(addrs))
	block := map[string]hash32{"blockHash": hash32(at)} // [EIP-1898]
	calls := make([]call, 0, 3*len(addrs))
	for i := range addrs {
		params := []any{hexBytes(addrs[i][:]), block}
		calls = append(calls,
			call{"eth_getTransactionCount", params, &nonces[i]},
			call{"eth_getBalance", params, &balances[i]},
			call{"eth_getCode", params, &codes[i]})
	}
	if err := c.call(ctx, limitAccounts, calls...); err != nil {
		return nil, err
	}
	out := make([]modules.Account, len(addrs))
	for i, code := range codes {
		out[i] = modules.Account{
			Nonce: uint64(nonces[i]), Balance: uint256.Int(balances[i]), HasCode: len(code) > 0,
			Delegated: len(code) == 23 && bytes.HasPrefix(code, []byte{0xef, 0x01, 0x00}), // [EIP-7702]
		}
	}
	return out, nil
}
