package dirk

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	herumi "github.com/herumi/bls-eth-go-binary/bls"
	"google.golang.org/protobuf/encoding/protowire"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/mtls/mtlstest"
)

var spec = chain.Spec{SlotDuration: 12 * time.Second}

// fake is a Dirk server, from its protocol files: gRPC over HTTP/2 with client
// certificates, on a real socket. The real one is in e2e/dirk.
type fake struct {
	name    string
	secrets map[string]*bls.SecretKey // by public key, and by account name
	listing []byte                    // a ListAccountsResponse

	mu    sync.Mutex
	calls int
	sign  func(w http.ResponseWriter, r *http.Request, honest []byte) // replaces the answer
	list  func(w http.ResponseWriter)
}

func bytesField(b []byte, n protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func varintField(b []byte, n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

// frame is a message as it is sent.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// reply sends a message and a status.
func reply(w http.ResponseWriter, message []byte, code int) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(frame(message))
	w.Header().Set("Grpc-Status", fmt.Sprint(code))
}

// fail sends a status alone.
func fail(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", fmt.Sprint(code))
	w.WriteHeader(http.StatusOK)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.ProtoMajor != 2 || r.Method != http.MethodPost || r.Header.Get("Te") != "trailers" || r.Header.Get("Grpc-Timeout") == "" ||
		r.Header.Get("Content-Type") != "application/grpc" || len(body) < 5 || !bytes.Equal(frame(body[5:]), body) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.calls++
	sign, list := f.sign, f.list
	f.mu.Unlock()
	switch r.URL.Path {
	case "/v1.Lister/ListAccounts":
		if list != nil {
			list(w)
			return
		}
		reply(w, f.listing, 0)
	case "/v1.Signer/Sign":
		answer := f.answer(body[5:])
		if sign != nil {
			sign(w, r, answer)
			return
		}
		reply(w, answer, 0)
	default:
		fail(w, 12)
	}
}

// answer is the honest SignResponse.
func (f *fake) answer(request []byte) []byte {
	var who string
	var data, domain []byte
	for len(request) > 0 {
		n, _, used := protowire.ConsumeTag(request)
		value, size := protowire.ConsumeBytes(request[used:])
		request = request[used+size:]
		switch n {
		case 1, 2:
			who = string(value)
		case 3:
			data = value
		case 4:
			domain = value
		}
	}
	secret := f.secrets[who]
	if secret == nil || len(data) != 32 || len(domain) != 32 {
		return varintField(nil, 1, 2)
	}
	sig := secret.Sign(commitments.SigningData(phase0.Root(data), phase0.Domain(domain)))
	return bytesField(varintField(nil, 1, 1), 2, sig[:])
}

func (f *fake) set(sign func(http.ResponseWriter, *http.Request, []byte)) {
	f.mu.Lock()
	f.sign = sign
	f.mu.Unlock()
}

// cluster is some servers with a simple account each, and a distributed one.
type cluster struct {
	fakes   []*fake
	servers []*httptest.Server
	config  Config
	shared  commitments.Key   // the distributed account
	alone   []commitments.Key // the simple accounts
}

// account writes a listed account.
func account1(name string, public []byte) []byte {
	return bytesField(bytesField(bytesField(nil, 1, []byte(name)), 2, public), 3, make([]byte, 16))
}

// share is a participant of a distributed account.
type share struct {
	id   uint64
	name string
}

func distributedAccount(name string, public []byte, participants []share, threshold uint64, composite []byte) []byte {
	b := bytesField(bytesField(nil, 1, []byte(name)), 2, public)
	for _, p := range participants {
		b = bytesField(b, 3, varintField(bytesField(varintField(nil, 1, p.id), 2, []byte(p.name)), 3, 13141))
	}
	return bytesField(bytesField(varintField(b, 4, threshold), 5, make([]byte, 16)), 6, composite)
}

// split makes the shares of a random key. ids are where they are.
func split(t testing.TB, threshold int, ids ...uint64) (whole phase0.BLSPubKey, shares []*bls.SecretKey) {
	t.Helper()
	polynomial := make([]herumi.SecretKey, threshold)
	for i := range polynomial {
		fresh, err := bls.NewSecretKey(nil)
		if err == nil {
			err = polynomial[i].Deserialize(fresh.Bytes())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range ids {
		var id herumi.ID
		var s herumi.SecretKey
		err := id.SetDecString(fmt.Sprint(n))
		if err == nil {
			err = s.Set(polynomial, &id)
		}
		if err != nil {
			t.Fatal(err)
		}
		part, err := bls.ParseSecretKey(s.Serialize())
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, part)
	}
	return phase0.BLSPubKey(polynomial[0].GetPublicKey().Serialize()), shares
}

func newSecret(t testing.TB) *bls.SecretKey {
	t.Helper()
	s, err := bls.NewSecretKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newCluster starts servers named dirk-1 and so on.
func newCluster(t *testing.T, servers, threshold int) *cluster {
	t.Helper()
	c := &cluster{}
	var participants []share
	var ids []uint64
	for i := range servers {
		id := uint64(1000 + 7*i)
		ids = append(ids, id)
		participants = append(participants, share{id, fmt.Sprintf("dirk-%d", i+1)})
	}
	whole, parts := split(t, threshold, ids...)
	c.shared = commitments.BLSKey(whole)
	ca := mtlstest.New(t)
	for i, p := range participants {
		secret := newSecret(t)
		public, part := secret.PublicKey(), parts[i].PublicKey()
		c.alone = append(c.alone, commitments.BLSKey(public))
		f := &fake{name: p.name, secrets: map[string]*bls.SecretKey{string(public[:]): secret, "Wallet/Shared": parts[i]}}
		f.listing = varintField(nil, 1, 1)
		f.listing = bytesField(f.listing, 2, account1("Simple/Account", public[:]))
		f.listing = bytesField(f.listing, 2, account1("Simple/Account/MODULE/8c6e2f0a-1b7d-4a53-9e62-0f6f7b1c2d3e", []byte("a proxy of Commit-Boost")))
		f.listing = bytesField(f.listing, 3, distributedAccount("Wallet/Shared", part[:], participants, uint64(threshold), whole[:]))
		c.start(t, ca, f)
	}
	mine := ca.Issue(t, "sidecar")
	c.config.CertPath, c.config.KeyPath, c.config.CAPath = mine.Cert, mine.Key, ca.CAPath
	c.config.MaxResponse, c.config.Timeout, c.config.Clock = 1<<16, 5*time.Second, chain.NewClock(spec, nil)
	return c
}

func (c *cluster) start(t *testing.T, ca *mtlstest.Authority, f *fake) {
	t.Helper()
	h := httptest.NewUnstartedServer(f)
	h.TLS = ca.Server(t, f.name)
	h.EnableHTTP2 = true
	h.StartTLS()
	t.Cleanup(h.Close)
	c.fakes, c.servers = append(c.fakes, f), append(c.servers, h)
	c.config.Hosts = append(c.config.Hosts, Host{URL: h.URL, Name: f.name, Wallets: []string{"Wallet", "Simple"}})
}

func (c *cluster) open(t *testing.T) *Holder {
	t.Helper()
	h, err := Open(context.Background(), c.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}
