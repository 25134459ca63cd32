package relay

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// TestDelegations reads who holds a slot, in both dialects and in the form of the
// plain specification, which knows neither nonce nor signing id.
func TestDelegations(t *testing.T) {
	d := sampleDelegation()
	_, spec, err := encodeDelegation(DialectSpec, d)
	if err != nil {
		t.Fatal(err)
	}
	_, fabric, err := encodeDelegation(DialectFabric, d)
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	_ = json.Unmarshal(spec, &plain)
	delete(plain, "nonce")
	delete(plain, "signingId")
	bare, _ := json.Marshal(plain)
	unsigned := d
	unsigned.Nonce, unsigned.SigningID = 0, phase0.Root{}
	for name, c := range map[string]struct {
		dialect, path, body string
		status              int
		want                []commitments.SignedDelegation
		err                 *fault.Fault
	}{
		"spec":              {DialectSpec, "/constraints/v0/relay/delegations/7", "[" + string(spec) + "]", 200, []commitments.SignedDelegation{d}, nil},
		"spec without ids":  {DialectSpec, "/constraints/v0/relay/delegations/7", "[" + string(bare) + "]", 200, []commitments.SignedDelegation{unsigned}, nil},
		"fabric":            {DialectFabric, "/delegations/7", `{"delegations":[` + string(fabric) + "]}", 200, []commitments.SignedDelegation{d}, nil},
		"none":              {DialectSpec, "/constraints/v0/relay/delegations/7", "[]", 200, nil, nil},
		"not served":        {DialectFabric, "/delegations/7", "no such route", 404, nil, nil},
		"failing":           {DialectFabric, "/delegations/7", "oh", 500, nil, Err5xx},
		"junk":              {DialectFabric, "/delegations/7", `{"delegations":[{}]}`, 200, nil, ErrDecode},
		"the other dialect": {DialectSpec, "/constraints/v0/relay/delegations/7", `{"delegations":[]}`, 200, nil, ErrDecode},
		"a flood":           {DialectSpec, "/constraints/v0/relay/delegations/7", "[" + strings.TrimSuffix(strings.Repeat(string(bare)+",", maxDelegations+1), ",") + "]", 200, nil, ErrDecode},
	} {
		t.Run(name, func(t *testing.T) {
			client := dialTo(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != c.path || r.Method != http.MethodGet {
					t.Errorf("%s %s, want %s", r.Method, r.URL.Path, c.path)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}), func(cfg *Config) { cfg.Dialect = c.dialect })
			got, err := client.Delegations(budget(t, time.Second), 7)
			wantFault(t, err, c.err)
			if err == nil && len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestServesProofs: whether header_with_proofs is served is told by any answer but
// that there is no such path. A relay that fails says nothing.
func TestServesProofs(t *testing.T) {
	for status, want := range map[int]struct {
		yes bool
		err *fault.Fault
	}{
		200: {true, nil}, 204: {true, nil}, 400: {true, nil}, 404: {false, nil}, 405: {false, nil}, 501: {false, nil}, 401: {false, Err4xx}, 403: {false, Err4xx}, 429: {false, Err4xx}, 500: {false, Err5xx}, 503: {false, Err5xx},
	} {
		client := dialTo(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/constraints/v0/builder/header_with_proofs/7/0x00") || !strings.HasSuffix(r.URL.Path, "/0x09"+strings.Repeat("00", 47)) {
				t.Errorf("asked for %s", r.URL.Path)
			}
			w.WriteHeader(status)
		}), nil)
		yes, err := client.ServesProofs(budget(t, time.Second), commitments.PageID{Slot: 7, Proposer: phase0.BLSPubKey{9}})
		wantFault(t, err, want.err)
		if yes != want.yes {
			t.Errorf("%d: got %v, want %v", status, yes, want.yes)
		}
	}
}

// TestFabric_AnswerLost: fabric refuses with 500 what it has already, and everything
// else. When the first answer was lost, what it holds tells the two apart.
func TestFabric_AnswerLost(t *testing.T) {
	d, s := sampleDelegation(), sampleConstraints()
	_, delegation, _ := encodeDelegation(DialectFabric, d)
	_, constraints, _ := encodeConstraints(DialectFabric, s)
	for name, c := range map[string]struct {
		delegations, constraints string
		want                     *fault.Fault
	}{
		"it is ours":        {`{"delegations":[` + string(delegation) + `]}`, `{"constraints":[` + string(constraints) + `]}`, nil},
		"it is another's":   {`{"delegations":[` + strings.Replace(string(delegation), `"signature":"0x05`, `"signature":"0x06`, 1) + `]}`, `{"constraints":[{"signature":"0x06"}]}`, Err5xx},
		"it holds nothing":  {`{"delegations":[]}`, `{"constraints":[]}`, Err5xx},
		"it does not say":   {`junk`, `junk`, Err5xx},
		"it says too short": {`{"delegations":[{"signature":"0x"}]}`, `{"constraints":[{"signature":"0x"}]}`, Err5xx},
	} {
		t.Run(name, func(t *testing.T) {
			var posts atomic.Int32
			client := dialTo(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/delegation", "/constraints":
					posts.Add(1)
					w.WriteHeader(http.StatusInternalServerError)
					_, _ = w.Write([]byte("already known"))
				case "/delegations/9223372036854775813":
					_, _ = w.Write([]byte(c.delegations))
				case "/constraints/v0/relay/constraints/12345":
					_, _ = w.Write([]byte(c.constraints))
				default:
					t.Errorf("asked for %s", r.URL.Path)
				}
			}), func(cfg *Config) { cfg.Dialect = DialectFabric })
			wantFault(t, client.PostDelegation(budget(t, time.Second), d), c.want)
			wantFault(t, client.PostConstraints(budget(t, time.Second), s), c.want)
			if posts.Load() != 2 {
				t.Errorf("%d posts", posts.Load())
			}
		})
	}
}
