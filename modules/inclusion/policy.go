package inclusion

import (
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/common"
)

// defaultMaxOpen is MaxOpenPerSender where it is not set.
const defaultMaxOpen = 64

// policy is whom the operator makes promises to.
type policy struct {
	allow, deny map[bellatrix.ExecutionAddress]bool // allow is nil for anyone
	maxOpen     uint64
	delegated   bool
}

func (c *Config) policy() (p policy, err error) {
	read := func(name string, list []string) map[bellatrix.ExecutionAddress]bool {
		if len(list) == 0 {
			return nil
		}
		out := make(map[bellatrix.ExecutionAddress]bool, len(list))
		for _, text := range list {
			if !common.IsHexAddress(text) || len(text) != 2+2*common.AddressLength {
				err = errors.Join(err, fmt.Errorf("%s: %.44q is not an address", name, text))
				continue
			}
			out[bellatrix.ExecutionAddress(common.HexToAddress(text))] = true
		}
		return out
	}
	p = policy{allow: read("allow_senders", c.AllowSenders), deny: read("deny_senders", c.DenySenders), maxOpen: defaultMaxOpen, delegated: c.AcceptDelegatedSenders}
	if c.MaxOpenPerSender != nil {
		p.maxOpen = *c.MaxOpenPerSender
	}
	if p.maxOpen == 0 {
		err = errors.Join(err, errors.New("max_open_per_sender must be at least 1"))
	}
	return p, err
}

// serves says whether the operator serves a sender. Fault: ErrSenderDenied.
func (p *policy) serves(sender bellatrix.ExecutionAddress) error {
	if p.deny[sender] || p.allow != nil && !p.allow[sender] {
		return ErrSenderDenied.With("%s", common.Address(sender).Hex())
	}
	return nil
}
