package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
)

// Encoders, written apart from the decoders they test.

func enc(words ...any) []byte {
	var out []byte
	for _, w := range words {
		var b [word]byte
		switch w := w.(type) {
		case int:
			binary.BigEndian.PutUint64(b[24:], uint64(w))
		case [20]byte:
			copy(b[12:], w[:])
		case []byte: // dynamic content, padded
			out = append(out, w...)
			out = append(out, make([]byte, (word-len(w)%word)%word)...)
			continue
		}
		out = append(out, b[:]...)
	}
	return out
}

func concat(keys []phase0.BLSPubKey) (out []byte) {
	for _, k := range keys {
		out = append(out, k[:]...)
	}
	return out
}

// args splits calldata of static arguments.
func args(data []byte) (out []uint64) {
	for b := data[4:]; len(b) >= word; b = b[word:] {
		out = append(out, binary.BigEndian.Uint64(b[24:word]))
	}
	return out
}

const (
	selTotal   = "getTotalSigningKeyCount(uint256)"
	selKeys    = "getSigningKeys(uint256,uint256,uint256)"
	selSummary = "getNodeOperatorSummary(uint256)"
)

func is(data []byte, signature string) bool { return bytes.Equal(data[:4], calldata(signature)) }

// fakeLido answers as a module of Lido does, by operator.
type fakeLido struct {
	mu        sync.Mutex
	keys      map[uint64][]phase0.BLSPubKey
	community bool
	fail      error
	total     int                 // claimed, if not 0
	change    func([]byte) []byte // of getSigningKeys
	asked     []string
	to        [20]byte
}

func (f *fakeLido) Call(_ context.Context, to [20]byte, data []byte) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	f.to = to
	a := args(data)
	list := f.keys[a[0]]
	total := len(list)
	if f.total != 0 {
		total = f.total
	}
	switch {
	case is(data, selTotal) && !f.community:
		return enc(total), nil
	case is(data, selSummary) && f.community:
		return enc(0, 0, 0, 0, 0, 3, total-1, 1), nil // exited ones are among the deposited
	case is(data, selKeys):
		f.asked = append(f.asked, fmt.Sprint(a[1], "+", a[2]))
		part := concat(list[min(a[1], uint64(len(list))):min(a[1]+a[2], uint64(len(list)))])
		out := enc(0x20, len(part), part)
		if !f.community { // pubkeys, signatures, used
			out = enc(0x60, 0x60+word+(len(part)+31)/32*32, 0x60+word+(len(part)+31)/32*32+word, len(part), part, 0, 0)
		}
		if f.change != nil {
			out = f.change(out)
		}
		return out, nil
	}
	return nil, errors.New("execution reverted")
}

func TestSelectors(t *testing.T) {
	for signature, want := range map[string]string{ // as published in the contracts' Go bindings
		selSummary: "b3076c3c",
		"getValidatorsByOperator(address,uint256,uint256)": "683547b8",
		"transfer(address,uint256)":                        "a9059cbb",
	} {
		if got := hex.EncodeToString(calldata(signature)); got != want {
			t.Errorf("%s: got %s, want %s", signature, got, want)
		}
	}
}

func TestLoad_Lido(t *testing.T) {
	for name, c := range map[string]struct {
		network   string
		module    uint64
		community bool
		to        string
	}{
		"curated":         {"mainnet", 1, false, "55032650b14df07b85bf18a3a3ec8e0af2e028d5"},
		"simple DVT":      {"hoodi", 2, false, "0b5236beca68004db89434462dfc3bb074d2c830"},
		"community":       {"mainnet", 3, true, "da7de2ecddfccc6c3af10108db212acbbf9ea83f"},
		"community hoodi": {"hoodi", 4, true, "79cef36d84743222f37765204bec41e92a93e59d"},
		"curated v2":      {"hoodi", 5, true, "87eb69ae51317405fd285efd2326a4a11f6173b9"},
		"holesky sandbox": {"holesky", 3, false, "d6c2ce3bb8bea2832496ac8b5144819719f343ac"},
	} {
		t.Run(name, func(t *testing.T) {
			lido := &fakeLido{keys: map[uint64][]phase0.BLSPubKey{8: append(keys(0, 510), key(509))}, community: c.community}
			table, err := load(t, Config{Network: c.network, Caller: lido},
				&config.Loader{Registry: config.RegistryLido, NodeOperatorID: 8, LidoModuleID: c.module})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys(0, 510) {
				if table.Lookup(k) != 1 {
					t.Fatalf("%s is missing", k)
				}
			}
			if got := strings.Join(lido.asked, " "); got != "0+250 250+250 500+11" {
				t.Errorf("asked %s", got)
			}
			if got := hex.EncodeToString(lido.to[:]); got != c.to {
				t.Errorf("contract: got %s, want %s", got, c.to)
			}
		})
	}
}

func TestLoad_LidoRefused(t *testing.T) {
	huge := bytes.Repeat([]byte{0xff}, word)
	for name, c := range map[string]struct {
		lido   *fakeLido
		module uint64
		want   string
	}{
		"no module":     {&fakeLido{}, 9, "no Lido module 9"},
		"fails":         {&fakeLido{fail: errors.New("no node")}, 1, "no node"},
		"total too big": {&fakeLido{total: 100_001}, 1, "more than 100000"},
		"too few keys":  {&fakeLido{total: 11}, 1, "480 bytes, where 11 keys were asked for"},
		"empty":         {&fakeLido{change: func([]byte) []byte { return nil }}, 1, "malformed"},
		"offset huge":   {&fakeLido{change: func(b []byte) []byte { return append(huge, b[word:]...) }}, 1, "malformed"},
		"offset beyond": {&fakeLido{change: func(b []byte) []byte { return append(enc(1<<20), b[word:]...) }}, 1, "malformed"},
		"offset end":    {&fakeLido{change: func(b []byte) []byte { return append(enc(len(b)), b[word:]...) }}, 1, "malformed"},
		"length huge":   {&fakeLido{change: func(b []byte) []byte { return append(enc(0x20), huge...) }}, 1, "malformed"},
		"length beyond": {&fakeLido{change: func(b []byte) []byte { return enc(0x20, 480) }}, 1, "malformed"},
		"no such key":   {&fakeLido{change: func(b []byte) []byte { return enc(0x20, 480, make([]byte, 480)) }}, 1, "not a compressed"},
		"too much":      {&fakeLido{change: func(b []byte) []byte { return make([]byte, maxReturn+1) }}, 1, "more than"},
		"csm total":     {&fakeLido{community: true, total: 1 << 40}, 3, "more than 100000 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			lido := c.lido
			lido.keys = map[uint64][]phase0.BLSPubKey{8: keys(0, 10)}
			_, err := load(t, Config{Network: "mainnet", Caller: lido},
				&config.Loader{Registry: config.RegistryLido, NodeOperatorID: 8, LidoModuleID: c.module})
			if !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// fakeStader answers as a pool of Stader does.
type fakeStader struct {
	keys     []phase0.BLSPubKey
	operator [20]byte
	total    int // claimed, if not 0
	pages    []uint64
	to       [20]byte
	keyLen   int
}

func (f *fakeStader) Call(_ context.Context, to [20]byte, data []byte) ([]byte, error) {
	f.to = to
	a := args(data)
	total := len(f.keys)
	if f.total != 0 {
		total = f.total
	}
	switch {
	case is(data, "operatorStructById(uint256)") && a[0] == 3:
		return enc(1, 1, 0xa0, [20]byte{1}, f.operator, 4, []byte("name")), nil
	case is(data, "getOperatorTotalKeys(uint256)") && a[0] == 3:
		return enc(total), nil
	case is(data, "getValidatorsByOperator(address,uint256,uint256)") && [20]byte(data[4+12:4+word]) == f.operator:
		f.pages = append(f.pages, a[1])
		from := min((a[1]-1)*a[2], uint64(len(f.keys)))
		part := f.keys[from:min(from+a[2], uint64(len(f.keys)))]
		var heads, tails []byte
		for _, k := range part {
			heads = append(heads, enc(word*len(part)+len(tails))...)
			// status, pubkey, two signatures, vault, operator id, two blocks
			tails = append(tails, enc(4, 0x100, 0x160, 0x1e0, [20]byte{2}, 3, 7, 0, f.keyLen, k[:], 96, make([]byte, 96), 96, make([]byte, 96))...)
		}
		return append(enc(0x20, len(part)), append(heads, tails...)...), nil
	}
	return nil, errors.New("execution reverted")
}

func TestLoad_Stader(t *testing.T) {
	for pool, to := range map[string]string{
		config.StaderPermissioned:   "af42d795a6d279e9dcc19dc0ee1ce3ecd4ecf5dd",
		config.StaderPermissionless: "4f4bfa0861f62309934a5551e0b2541ee82fdcf1",
	} {
		stader := &fakeStader{keys: keys(0, 501), operator: [20]byte{9, 19: 9}, keyLen: 48}
		table, err := load(t, Config{Network: "mainnet", Caller: stader}, &config.Loader{Registry: config.RegistryStader, NodeOperatorID: 3, StaderPool: pool})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range stader.keys {
			if table.Lookup(k) != 1 {
				t.Fatalf("%s is missing", k)
			}
		}
		if got := fmt.Sprint(stader.pages); got != "[1 2 3]" {
			t.Errorf("pages: got %s", got)
		}
		if got := hex.EncodeToString(stader.to[:]); got != to {
			t.Errorf("contract: got %s, want %s", got, to)
		}
	}
}

func TestLoad_StaderRefused(t *testing.T) {
	at := [20]byte{9}
	for name, c := range map[string]struct {
		stader  *fakeStader
		network string
		want    string
	}{
		"network":      {&fakeStader{}, "hoodi", "no Stader pool"},
		"no operator":  {&fakeStader{keys: keys(0, 1), keyLen: 48}, "mainnet", "no Stader operator 3"},
		"total high":   {&fakeStader{keys: keys(0, 9), operator: at, total: 10, keyLen: 48}, "mainnet", "9 keys, where the total is 10"},
		"total low":    {&fakeStader{keys: keys(0, 9), operator: at, total: 8, keyLen: 48}, "mainnet", "9 keys, where the total is 8"},
		"total absurd": {&fakeStader{operator: at, total: 1 << 50}, "mainnet", "more than 100000"},
		"short key":    {&fakeStader{keys: keys(0, 9), operator: at, keyLen: 47}, "mainnet", "not 48 bytes"},
		"long key":     {&fakeStader{keys: keys(0, 1), operator: at, keyLen: 4800}, "mainnet", "malformed"},
	} {
		_, err := load(t, Config{Network: c.network, Caller: c.stader},
			&config.Loader{Registry: config.RegistryStader, NodeOperatorID: 3, StaderPool: config.StaderPermissioned})
		if !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func FuzzDecodeABI(f *testing.F) {
	part := concat(keys(0, 2))
	f.Add(enc(0x20, len(part), part))
	f.Add(enc(0x60, 0, 0, len(part), part))
	f.Add(enc(0x20, 1, 0x20, 4, 0x100, 0, 0, 0, 0, 0, 0, 48, part[:48]))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := appendLido(nil, data, 2); err == nil && len(list) != 2 {
			t.Errorf("got %d keys", len(list))
		}
		if list, err := appendStader(nil, data); err == nil && (len(list) > batch || len(list) > 0 && len(data) < 48) {
			t.Errorf("got %d keys of %d bytes", len(list), len(data))
		}
		_, _ = addressAt(data, 4*word)
		_, _ = uintAt(data, -1)
	})
}
