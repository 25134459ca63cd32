package commitments

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"

	"sidecar/chain"
)

// The vectors are those the dossiers of the Commitments API, of eth-fabric and
// of Commit-Boost v0.11 hold.
const (
	proposerKey  = "0xaf6e96c0eccd8d4ae868be9299af737855a1b08d57bccb565ea7e69311a30baeebe08d493c3fea97077e8337e95ac5a6"
	delegateKey  = "0xaf53b192a82ec1229e8fce4f99cb60287ce33896192b6063ac332b36fbe87ba1b2936bbc849ec68a0132362ab11a7754"
	consensusKey = "0xac5e059177afc33263e95d0be0690138b9a1d79a6e19018086a0362e0c30a50bf9e05a08cb44785724d0b2718c5c7118"
	proxyKey     = "0xa77084280678d9f1efe4ef47a3d62af27872ce82db19a35ee012c4fd5478e6b1123b8869032ba18b2383e8873294f0ba"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func root(t testing.TB, s string) phase0.Root { return phase0.Root(unhex(t, s)) }

func key(t testing.TB, s string) phase0.BLSPubKey { return phase0.BLSPubKey(unhex(t, s)) }

func repeat(b byte) (r phase0.Root) {
	copy(r[:], bytes.Repeat([]byte{b}, 32))
	return r
}

func TestSigningRoot(t *testing.T) {
	for _, c := range []struct {
		name, network    string
		object, id, want string
		nonce            uint64
	}{
		{"fabric mainnet", "mainnet", "9770f15c80e37efd7af931b39a8b67e01003b923ee5d808b5a87619ebdf30da1", strings.Repeat("11", 32), "bfd76022d29aad82b84f832dd36ba6277ec54038103043a968c02a7aaa558a78", 7},
		{"fabric hoodi", "hoodi", "9770f15c80e37efd7af931b39a8b67e01003b923ee5d808b5a87619ebdf30da1", strings.Repeat("11", 32), "79107abe8e26be9058c84538140f563aebf5cc88ef6c9f16dee5bf546ebf0b00", 7},
		{"Commit-Boost A2", "hoodi", strings.Repeat("01", 32), strings.Repeat("02", 32), "0b95fcdb3f003fc6f0fd3238d906f359809e97fe7ec71f56771cb05bee4150bd", 42},
		{"Commit-Boost B1", "hoodi", "0123456789012345678901234567890123456789012345678901234567890123", "6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b", "29c825f53ef5a7096533f3f8f0fe9f0396ce152a57c1d3debe14b387d775e4b2", 101},
		{"Commit-Boost B2", "hoodi", "0123456789012345678901234567890123456789012345678901234567890123", "61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d", "8544ec29a33f7fb88d6163824bca103f8c526bac2b718453734676450a50b028", 101},
	} {
		spec, _ := chain.Named(c.network)
		got := SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, root(t, c.object), root(t, c.id), c.nonce)
		if want := root(t, c.want); got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
}

func TestSigningData(t *testing.T) {
	holesky, _ := chain.Named("holesky")
	mainnet, _ := chain.Named("mainnet")
	for _, c := range []struct {
		spec         chain.Spec
		object, want string
	}{
		{holesky, strings.Repeat("01", 32), "219ca7a673b2cbbf67bec6c9f60f78bd051336d57b68d1540190f30667e86725"},
		{mainnet, "9770f15c80e37efd7af931b39a8b67e01003b923ee5d808b5a87619ebdf30da1", "41a8632ff3990190ee855f56a88a7813d00e81a840c402de994ae491647d6aa1"},
	} {
		if got, want := SigningData(root(t, c.object), c.spec.Domain(chain.DomainCommitBoost)), root(t, c.want); got != want {
			t.Errorf("%s: got %s, want %s", c.spec.Name, got, want)
		}
	}
}

func TestProxyDelegationRoot(t *testing.T) {
	got := ProxyDelegation{Delegator: key(t, consensusKey), Proxy: BLSKey(key(t, proxyKey))}.Root()
	if want := root(t, "7ddbe219481705f2514b7c0e34c17f95c9acd701ba6b55cb5e210a24dfda64cd"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// An ECDSA proxy of the same delegator: reference §4.7 D.
	address := ECDSAKey(bellatrix.ExecutionAddress(unhex(t, "4ce9D14ddCB555B0A4EDf89c87E63eC52fdfADD9")))
	if got, want := (ProxyDelegation{Delegator: key(t, consensusKey), Proxy: address}).Root(), root(t, "976b8fdf19d2928b1e3cfbf254dcdb9554ca4d4503bb3d5dac8e854e8abec241"); got != want {
		t.Errorf("address: got %s, want %s", got, want)
	}
	kurtosis := chain.Custom(time.Unix(1, 0), time.Second, phase0.Version{0x10, 0, 0, 0x38}, 0, 1)
	mainnet, _ := chain.Named("mainnet")
	message := SigningData(got, mainnet.Domain(chain.DomainCommitBoost))
	if want := root(t, "10218158cc56eef242bcecd97528e503699be2f4cff6c4d4fe757f996c7e165b"); message != want {
		t.Errorf("mainnet: got %s, want %s", message, want)
	}
	if SigningData(got, kurtosis.Domain(chain.DomainCommitBoost)) == message {
		t.Error("two networks share a message")
	}
}

func TestRequest_Hash(t *testing.T) {
	got := Request{Type: 1}.Hash()
	if want := phase0.Hash32(unhex(t, "f61a6130b6ebfffcb3738e03fe820e4b883b623ec3ab7657ffbf385b2e94edba")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestRequest_FlatHash: the encoding without the struct's offset word is another hash,
// which the published trap names.
func TestRequest_FlatHash(t *testing.T) {
	var w abiWriter
	w.number(1)
	w.number(3 * 32)
	w.number(0)
	w.bytes(nil)
	trap := phase0.Hash32(unhex(t, "fd41ef0ffa956bfe32db96faefd42be18b11108bd9d7cbd7c5817f6b4cb33a51"))
	if got := phase0.Hash32(keccak(w)); got != trap || got == (Request{Type: 1}).Hash() {
		t.Errorf("got %s, want %s, and another from Hash", got, trap)
	}
}

// TestModuleObject holds the signing information's root to the published ones.
func TestModuleObject(t *testing.T) {
	object := root(t, "9770f15c80e37efd7af931b39a8b67e01003b923ee5d808b5a87619ebdf30da1")
	for chainID, want := range map[uint64]string{
		1: "ff345a7d2f16a00f9c4db0aeb8f8919989262415ab022717ed6c83ab2ded4125", 560048: "c34744b6022d4a32c2f3b04846df6242b7eebb726c04bc09e2dc333e306377e3",
	} {
		if got := ModuleObject(chainID, object, repeat(0x11), 7); got != root(t, want) {
			t.Errorf("chain %d: got %s, want %s", chainID, got, want)
		}
	}
}

func TestCommitment_Root(t *testing.T) {
	got := Commitment{Type: 1}.Root()
	if want := root(t, "9770f15c80e37efd7af931b39a8b67e01003b923ee5d808b5a87619ebdf30da1"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func delegation(t testing.TB) Delegation {
	d := Delegation{Proposer: key(t, proposerKey), Delegate: key(t, delegateKey), Slot: 5, Metadata: []byte("some-metadata-here")}
	copy(d.Committer[:], bytes.Repeat([]byte{0x11}, 20))
	return d
}

func message4(t testing.TB) ConstraintsMessage {
	return ConstraintsMessage{
		Proposer: key(t, proposerKey), Delegate: key(t, delegateKey), Slot: 67890,
		Constraints: []Constraint{{1, []byte{1, 2}}, {2, []byte{3, 4}}},
		Receivers:   []phase0.BLSPubKey{key(t, proposerKey)},
	}
}

func TestDelegation_Root(t *testing.T) {
	got, err := delegation(t).Root()
	if want := root(t, "cd9aca062121f6f50df1bfd7e74e2b023a5a0d9e1387447568a2119db5022e1b"); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := (Delegation{}).Root(); !errors.Is(err, ErrPubkey) {
		t.Errorf("zero keys: got %v", err)
	}
}

func TestConstraintsMessage_Root(t *testing.T) {
	m := message4(t)
	got, err := m.Root()
	if want := root(t, "b27bb26406c8fe6cf9e5bb1723d7dd2b06e4d32efc0cb0419dc57cc6c4b0ca87"); err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for name, spoil := range map[string]func(*ConstraintsMessage){
		"proposer": func(m *ConstraintsMessage) { m.Proposer[0] &^= flagCompressed },
		"receiver": func(m *ConstraintsMessage) { m.Receivers[0] = phase0.BLSPubKey{} },
	} {
		m := message4(t)
		spoil(&m)
		if _, err := m.Root(); !errors.Is(err, ErrPubkey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDecompress(t *testing.T) {
	for _, k := range []string{proposerKey, delegateKey, consensusKey, proxyKey} {
		x, y, err := decompress(key(t, k))
		if err != nil {
			t.Fatal(err)
		}
		var p bls12381.G1Affine
		if _, err := p.SetBytes(unhex(t, k)); err != nil {
			t.Fatal(err)
		}
		if x != p.X.Bytes() || y != p.Y.Bytes() {
			t.Errorf("%s: got %x %x", k, x, y)
		}
	}
	for name, k := range map[string]string{
		"not compressed": "17" + proposerKey[4:],
		"infinity":       "c0" + strings.Repeat("00", 47),
		"infinity, dirt": "c0" + strings.Repeat("00", 46) + "01",
		"modulus":        "9a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
		"all ones":       strings.Repeat("ff", 48),
		"off the curve":  "80" + strings.Repeat("00", 46) + "01",
	} {
		if _, _, err := decompress(key(t, k)); !errors.Is(err, ErrPubkey) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzDecompress holds the own decompression to gnark's, subgroup aside.
func FuzzDecompress(f *testing.F) {
	for _, k := range []string{proposerKey, delegateKey, consensusKey, proxyKey} {
		f.Add(unhex(f, k))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 48 {
			return
		}
		x, y, err := decompress(phase0.BLSPubKey(b))
		var p bls12381.G1Affine
		if dec := bls12381.NewDecoder(bytes.NewReader(b), bls12381.NoSubgroupChecks()); dec.Decode(&p) != nil || p.IsInfinity() || b[0]&0x80 == 0 {
			if err == nil {
				t.Fatalf("decoded %x, gnark does not", b)
			}
			return
		}
		if err != nil || x != p.X.Bytes() || y != p.Y.Bytes() {
			t.Fatalf("%x: got %x %x, %v", b, x, y, err)
		}
	})
}

func TestResources(t *testing.T) {
	k := key(t, proxyKey)
	for want, got := range map[string]string{
		"delegation/7/" + proxyKey:                                    ResourceDelegation(7, k),
		"constraints/7/" + proxyKey:                                   ResourceConstraints(k, 7),
		"nonce/" + proxyKey + "/0x" + strings.Repeat("02", 32) + "/9": ResourceNonce(BLSKey(k), repeat(2), 9),
		"request/" + proxyKey + "/0x" + strings.Repeat("03", 32):      ResourceRequest(BLSKey(k), phase0.Hash32(repeat(3))),
		"claim/0x" + strings.Repeat("04", 20) + "/7/sender/0x05/6":    ResourceClaim(ECDSAKey(bellatrix.ExecutionAddress(bytes.Repeat([]byte{4}, 20))), 7, "sender/0x05/6"),
		"root/" + proxyKey + "/0x" + strings.Repeat("02", 32):         ResourceRoot(BLSKey(k), repeat(2)),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
