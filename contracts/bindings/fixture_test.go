package bindings

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

var update = flag.Bool("update", false, "write the fixtures forge's tests read")

// signature is a published BLS signature, decompressed for the precompiles.
type signature struct {
	Name      string
	Pubkey    hexutil.Bytes // 128 bytes
	Root      hexutil.Bytes // what was signed
	Signature hexutil.Bytes // 256 bytes
	// What the root is made of; no object for proxy delegations.
	Object, SigningId, Domain hexutil.Bytes
	Nonce, ChainId            uint64
}

// published are signatures other programs made. [Commit-Boost v0.11: tests/src, tests/data]
func published(t *testing.T) []signature {
	t.Helper()
	hoodi, _ := chain.Named("hoodi")
	mainnet, _ := chain.Named("mainnet")
	object := "0x0123456789012345678901234567890123456789012345678901234567890123"
	key1 := "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"
	key2 := "0xb3a22e4a673ac7a153ab5b3c17a4dbef55f7e47210b20c0cbb0e66df5b36bb49ef808577610b034172e955d2312a61b9"
	id1 := "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
	id2 := "0x61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d"
	message1 := "0x29c825f53ef5a7096533f3f8f0fe9f0396ce152a57c1d3debe14b387d775e4b2"
	message2 := "0x8544ec29a33f7fb88d6163824bca103f8c526bac2b718453734676450a50b028"
	domain := hoodi.Domain(chain.DomainCommitBoost)
	var out []signature
	for _, v := range []struct{ name, key, id, message, signature string }{
		{"B key 1 id 1", key1, id1, message1, "0xb653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"},
		{"B key 2 id 1", key2, id1, message1, "0xa9956c331e65871989f6e658f0cb92ad1085716bdd3ece8e11406f45481e135b76e96bdfdebec5bc42fa6546ad45e0210aa7d440ff219e3e4e1fa26b0061152e35cc4ec5db7f5d4c64f3e374b160dd9aa2fc3cfcbfbe87d35e75f15e1983f8c5"},
		{"B key 1 id 2", key1, id2, message2, "0x8bea2dcfd02214250281d7e0e5f69d710f7985677345d9c590ca1449c0c04bf5cf93c9722d1758b1d1d624f93551e36d078130f01cfe22d1f16576ac05d9c8180f825fb77d170c12f07372944fc509e32ed783c097d5932dcb01033d13127530"},
		{"B key 2 id 2", key2, id2, message2, "0xb4e881bcce39f467744b996c58b138f6db6ff2a8499c41dee671dbfd0137350ac875f96758c210cad341ee0e5896910e053d76c91fba49d7ca9abfe3fa91d8e34f663571a2e0bca6b923737db195fac9ef2441c9d81a3e38b4ca0d1f4e653a84"},
	} {
		s := published1(t, v.name, v.key, v.message, v.signature)
		s.Object, s.SigningId, s.Domain, s.Nonce, s.ChainId = common.FromHex(object), common.FromHex(v.id), domain[:], 101, hoodi.ChainID
		out = append(out, s)
	}
	consensus := "0xac5e059177afc33263e95d0be0690138b9a1d79a6e19018086a0362e0c30a50bf9e05a08cb44785724d0b2718c5c7118"
	// A proxy delegation is signed as it is: object and domain, without the module's layer.
	root := commitments.SigningData(phase0.Root(common.FromHex("0x7ddbe219481705f2514b7c0e34c17f95c9acd701ba6b55cb5e210a24dfda64cd")), mainnet.Domain(chain.DomainCommitBoost))
	s := published1(t, "D proxy delegation", consensus, common.Hash(root).Hex(), "0xb2e44e777cc68b50b9d19cbded2b2b6a0a5c428e3c341b5ade22f90e67679116511855b94e26ae930d1350628933994713f4fd48d1d70715a99d875a564c88e229aa9bb2d89e9f60b725c97300659bd0fc7bc1e2e599f12625b81ef63890f857")
	s.Object, s.SigningId, s.Domain = []byte{}, []byte{}, []byte{}
	return append(out, s)
}

func published1(t *testing.T, name, key, root, sig string) signature {
	t.Helper()
	p := g1(t, phase0.BLSPubKey(common.FromHex(key)))
	q, err := NewG2(phase0.BLSSignature(common.FromHex(sig)))
	if err != nil {
		t.Fatal(err)
	}
	return signature{
		Name: name, Root: common.FromHex(root),
		Pubkey:    bytes.Join([][]byte{p.XHigh[:], p.XLow[:], p.YHigh[:], p.YLow[:]}, nil),
		Signature: bytes.Join([][]byte{q.X0High[:], q.X0Low[:], q.X1High[:], q.X1Low[:], q.Y0High[:], q.Y0Low[:], q.Y1High[:], q.Y1Low[:]}, nil),
	}
}

// fixture is a proof of either fault, and the chain it holds on.
type fixture struct {
	Config                 hexutil.Bytes // abi.encode(FaultVerifier.Config)
	Slasher                common.Address
	ChainId, Number, Time  uint64
	ChildNumber            uint64
	ChildHash              common.Hash
	Absent, Double         hexutil.Bytes // calldata
	Registration, Operator hexutil.Bytes // abi.encode of the first, for the slasher as manager
}

// TestFixtures: forge's tests read the evidence that these tests made.
func TestFixtures(t *testing.T) {
	v := load(t, FaultVerifier)
	config, err := v.ABI.Constructor.Inputs.Pack(VerifierConfig{
		GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: firstSlot, EndSlot: endSlot, SigningDomain: domain(), SigningId: signingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	a, b := guilty().tell(t), another().tell(t)
	s := &service{court: newCourt(t, false), manager: load(t, PreconfServiceManager), home: manager}
	r, err := v.ABI.Methods["registered"].Inputs[2:].Pack(s.registration(s.key(1), operator))
	if err != nil {
		t.Fatal(err)
	}
	write(t, "evidence.json", fixture{
		Config: config, Slasher: manager, ChainId: testChainID, Number: s.number, Time: a.now,
		ChildNumber: a.proof.ChildNumber, ChildHash: a.childHash,
		Absent:       pack(t, v, "absent", manager, a.delegation, a.promise, a.proof),
		Double:       pack(t, v, "double", manager, a.delegation, a.promise, b.promise),
		Registration: r, Operator: operator[:],
	})
	write(t, "signatures.json", published(t))
	for name, f := range map[string]evidence.File{"absent.json": a.file, "double.json": double(t, guilty(), another())} {
		text, err := evidence.Encode(f)
		if err != nil {
			t.Fatal(err)
		}
		keep(t, filepath.Join(source, "..", "slashing", "evidence", "testdata", name), text)
	}
}

func write(t *testing.T, name string, v any) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, filepath.Join(source, "test", "fixtures", name), append(text, '\n'))
}

// keep writes a file, or compares it with what is there.
func keep(t *testing.T, path string, text []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil { // #nosec G306 -- a fixture
			t.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(old, text) {
		t.Errorf("%s is not what these tests make (%v): run go test ./contracts/bindings -run TestFixtures -update", filepath.Base(path), err)
	}
}
