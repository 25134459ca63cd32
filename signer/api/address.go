package api

import (
	"errors"
	"net/netip"
	"strings"

	"sidecar/internal/httpd"
)

// Where a caller's address is found.
const (
	AddressNone      = "none"      // the connection's
	AddressUnique    = "unique"    // a header that is there once, and is an address
	AddressRightmost = "rightmost" // in a list, Trusted from the right
)

// Address says where a caller's address is found. Behind a proxy, only the proxy
// may be able to reach the listener: others would write the header themselves.
// [Commit-Boost: signer.reverse_proxy] The zero Address is AddressNone.
type Address struct {
	Type    string
	Header  string
	Trusted int // proxies that append to the list, from 1 on
}

func (a Address) check() error {
	switch a.Type {
	case "", AddressNone:
		return nil
	case AddressUnique, AddressRightmost:
		if a.Header == "" || a.Type == AddressRightmost && a.Trusted < 1 {
			return errors.New("signer API: the reverse proxy's header or count is missing")
		}
		return nil
	}
	return errors.New("signer API: unknown type of reverse proxy")
}

// of returns where a request comes from. Fault: ErrAddress.
func (a Address) of(r httpd.Request) (netip.Addr, error) {
	if a.Type == "" || a.Type == AddressNone {
		return r.Remote, nil
	}
	value := r.Header(a.Header) // several lines are joined with a comma
	if a.Type == AddressRightmost {
		items := strings.Split(value, ",")
		if len(items) < a.Trusted {
			return netip.Addr{}, ErrAddress.With("failed to get client IP")
		}
		value = strings.TrimSpace(items[len(items)-a.Trusted])
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, ErrAddress.With("failed to get client IP")
	}
	return addr.Unmap(), nil
}
