package bindings

import (
	"crypto/ecdsa"
	"encoding/hex"
	"math/big"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/slashing/evidence"
)

// Keys published as test vectors. [Commit-Boost: tests/data/keystores, signer tests]
const (
	validatorSecret = "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"
	delegateSecret  = "0501e85d5bc2e95f70efda47409710a7cf01dd02ff238e3efec679b27331d917"
	senderSecret    = "88bcd6672d95bcba0d52a3146494ed4d37675af4ed2206905eb161aa99a6c0d1"
)

const (
	genesisTime = 1_742_213_400
	slotSeconds = 12
	storySlot   = 1_000_000
	storyIndex  = 77
	firstSlot   = 900_000
	endSlot     = 2_000_000
)

var (
	signingID = phase0.Root{0x5c}
	manager   = common.HexToAddress("0x00000000000000000000000000000000000000aa")
	gwei      = big.NewInt(1e9)
)

// story is what happened to a promise. A change of one field is an excuse.
type story struct {
	slot, index uint64 // promised
	tx          *types.DynamicFeeTx
	raw         func([]byte) []byte // changes the signed bytes

	blockSlot, blockIndex uint64 // of the target, as the chain knows it
	baseFee               *big.Int
	gasLimit, gasUsed     uint64
	pre, post             types.StateAccount
	depth                 int // nodes of an account proof
	childNumber           uint64

	delegation func(*commitments.Delegation) // changes what is delegated
	commitment func(*commitments.Commitment) // changes what is promised
	group      []common.Hash                 // a branch; empty for none
}

// guilty is the story of a promise that was broken, and nothing excuses it.
func guilty() story {
	return story{
		slot: storySlot, index: storyIndex, tx: transfer(), raw: func(b []byte) []byte { return b },
		blockSlot: storySlot, blockIndex: storyIndex, baseFee: big.NewInt(7e9), gasLimit: 45_000_000,
		pre: plain(5, 1e18), post: plain(5, 1e18+1), depth: 3, childNumber: 19_990,
		delegation: func(*commitments.Delegation) {}, commitment: func(*commitments.Commitment) {},
	}
}

// transfer is a plain transfer: nonce 5, 1 ETH at hand, fee cap 30 gwei.
func transfer() *types.DynamicFeeTx {
	to := common.HexToAddress("0x00000000000000000000000000000000deadbeef")
	return &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: 5, GasTipCap: new(big.Int).Set(gwei), GasFeeCap: big.NewInt(30e9),
		Gas: 30_000, To: &to, Value: big.NewInt(1e15), Data: []byte("hello"),
	}
}

func plain(nonce uint64, balance uint64) types.StateAccount {
	return types.StateAccount{Nonce: nonce, Balance: uint256.NewInt(balance), Root: types.EmptyRootHash, CodeHash: types.EmptyCodeHash[:]}
}

// told is a story as evidence: the file, and the calldata made from it.
type told struct {
	file       evidence.File
	delegation SignedDelegation
	promise    SignedPromise
	proof      AbsenceProof
	childHash  common.Hash
	now        uint64 // a time after it
}

func (s story) tell(t testing.TB) told {
	t.Helper()
	absence, hash := s.chain(t)
	f := evidence.File{
		Format: evidence.Format, Kind: evidence.Absent, Rules: rules(), Slasher: manager,
		Delegation: s.delegate(t), Promises: []evidence.Promise{s.promise(t, s.signedTx(t))}, Absence: &absence,
	}
	e := told{file: f, childHash: hash, now: genesisTime + (s.blockSlot+20)*slotSeconds}
	var err error
	if e.delegation, err = NewSignedDelegation(f.Delegation); err != nil {
		t.Fatal(err)
	}
	if e.promise, err = NewSignedPromise(f.Promises[0]); err != nil {
		t.Fatal(err)
	}
	e.proof = NewAbsenceProof(absence)
	return e
}

// rules are those of the court's verifier.
func rules() evidence.Rules {
	return evidence.Rules{
		ChainID: testChainID, GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: firstSlot, EndSlot: endSlot,
		SigningDomain: common.Hash(domain()), SigningID: common.Hash(signingID),
	}
}

func (s story) signedTx(t testing.TB) []byte {
	t.Helper()
	tx, err := types.SignNewTx(senderKey(t), types.LatestSignerForChainID(s.tx.ChainID), s.tx)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return s.raw(b)
}

func (s story) delegate(t testing.TB) commitments.SignedDelegation {
	t.Helper()
	validator, delegate := secret(t, validatorSecret), secret(t, delegateSecret)
	d := commitments.Delegation{Proposer: validator.PublicKey(), Delegate: delegate.PublicKey(), Slot: phase0.Slot(s.slot), Metadata: []byte("m")}
	s.delegation(&d)
	root, err := d.Root()
	if err != nil {
		t.Fatal(err)
	}
	const nonce = 3
	return commitments.SignedDelegation{Message: d, Nonce: nonce, SigningID: signingID, Signature: signed(validator, root, nonce)}
}

func (s story) promise(t testing.TB, signedTx []byte) evidence.Promise {
	t.Helper()
	c := commitments.Commitment{
		Type: TypeInclusion, Payload: payload(t, s.slot, s.index, signedTx),
		RequestHash: phase0.Hash32{9}, Slasher: bellatrix.ExecutionAddress(manager),
	}
	s.commitment(&c)
	object := c.Root()
	for _, sibling := range s.group {
		object = groupNode(object, phase0.Root(sibling))
	}
	const nonce = 4
	signature := signed(secret(t, delegateSecret), object, nonce)
	return evidence.Promise{
		Commitment: c, Nonce: nonce, SigningID: signingID, Signature: signature, Branch: s.group,
	}
}

// payload is abi(uint64 slot, uint64 proposerIndex, bytes signedTx).
func payload(t testing.TB, slot, index uint64, signedTx []byte) []byte {
	t.Helper()
	b := make([]byte, 0, 128+len(signedTx)+31)
	for _, word := range []uint64{slot, index, 96, uint64(len(signedTx))} {
		b = append(b, common.BigToHash(new(big.Int).SetUint64(word)).Bytes()...)
	}
	b = append(b, signedTx...)
	return append(b, make([]byte, -len(signedTx)&31)...)
}

// groupNode is a node of a group of commitments: keccak(abi("group", smaller, larger)).
func groupNode(a, b phase0.Root) phase0.Root {
	if new(big.Int).SetBytes(a[:]).Cmp(new(big.Int).SetBytes(b[:])) > 0 {
		a, b = b, a
	}
	kind := common.LeftPadBytes([]byte("group"), 32)
	return phase0.Root(crypto.Keccak256(kind, a[:], b[:]))
}

// chain makes the three blocks: real headers over real tries.
func (s story) chain(t testing.TB) (evidence.Absence, common.Hash) {
	t.Helper()
	key := crypto.Keccak256(crypto.PubkeyToAddress(senderKey(t).PublicKey).Bytes())
	preRoot, pre := prove(t, key, s.pre, s.depth)
	postRoot, post := prove(t, key, s.post, s.depth)
	p := evidence.Absence{
		ChildNumber:   s.childNumber,
		BeaconHeader:  evidence.BeaconHeader{ParentRoot: common.Hash{1}, StateRoot: common.Hash{2}, BodyRoot: common.Hash{3}},
		AccountProofs: evidence.AccountProofs{Pre: pre, Post: post},
	}
	beacon := phase0.BeaconBlockHeader{
		Slot: phase0.Slot(s.blockSlot), ProposerIndex: phase0.ValidatorIndex(s.blockIndex),
		ParentRoot: phase0.Root{1}, StateRoot: phase0.Root{2}, BodyRoot: phase0.Root{3},
	}
	root, err := beacon.HashTreeRoot()
	if err != nil {
		t.Fatal(err)
	}
	var hash common.Hash
	header := func(number, slot uint64, parent, state, beacon common.Hash) []byte {
		zero, none := uint64(0), common.Hash{}
		h := &types.Header{
			ParentHash: parent, Root: state, TxHash: types.EmptyTxsHash, ReceiptHash: types.EmptyReceiptsHash, UncleHash: types.EmptyUncleHash,
			Difficulty: new(big.Int), Number: new(big.Int).SetUint64(number), GasLimit: s.gasLimit, GasUsed: s.gasUsed, Time: genesisTime + slot*slotSeconds,
			Extra: []byte("story"), BaseFee: s.baseFee, WithdrawalsHash: &types.EmptyWithdrawalsHash, BlobGasUsed: &zero, ExcessBlobGas: &zero,
			ParentBeaconRoot: &beacon, RequestsHash: &none,
		}
		b, err := rlp.EncodeToBytes(h)
		if err != nil {
			t.Fatal(err)
		}
		hash = h.Hash()
		return b
	}
	p.Headers.Parent = header(s.childNumber-2, s.blockSlot-1, common.Hash{0xa}, preRoot, common.Hash{0xb})
	p.Headers.Target = header(s.childNumber-1, s.blockSlot, hash, postRoot, common.Hash{0xc})
	p.Headers.Child = header(s.childNumber, s.blockSlot+1, hash, common.Hash{0xd}, common.Hash(root))
	return p, hash
}

// nodes collects a proof in the order of the walk.
type nodes []hexutil.Bytes

func (n *nodes) Put(_, value []byte) error { *n = append(*n, value); return nil }
func (n *nodes) Delete([]byte) error       { return nil }

// prove returns the root and the account proof of a state trie in which the
// way to key leads through depth-1 full branches.
func prove(t testing.TB, key []byte, account types.StateAccount, depth int) (common.Hash, []hexutil.Bytes) {
	t.Helper()
	db := trie.NewEmpty(triedb.NewDatabase(rawdb.NewMemoryDatabase(), nil))
	put := func(key []byte, a types.StateAccount) {
		b, err := rlp.EncodeToBytes(&a)
		if err != nil {
			t.Fatal(err)
		}
		db.MustUpdate(key, b)
	}
	for level := range depth - 1 {
		own := key[level/2] >> (4 * (1 - level%2)) & 15
		for nibble := range byte(16) {
			if nibble == own {
				continue // the way to key
			}
			filler := crypto.Keccak256([]byte{byte(level), nibble})
			copy(filler, key[:level/2])
			if level%2 == 0 {
				filler[level/2] = nibble<<4 | filler[level/2]&15
			} else {
				filler[level/2] = key[level/2]&0xf0 | nibble
			}
			put(filler, plain(uint64(nibble), 1e18+uint64(level)))
		}
	}
	put(key, account)
	root := db.Hash()
	var n nodes
	if err := db.Prove(key, &n); err != nil || len(n) != depth {
		t.Fatalf("proof of %d nodes, want %d: %v", len(n), depth, err)
	}
	return root, n
}

// signed is a key's signature over an object, as a module's.
func signed(k *bls.SecretKey, object phase0.Root, nonce uint64) phase0.BLSSignature {
	return k.Sign(commitments.SigningRoot(domain(), testChainID, object, signingID, nonce))
}

func domain() phase0.Domain {
	spec := chain.Custom(time.Unix(genesisTime, 0), slotSeconds*time.Second, phase0.Version{0x10, 0, 9, 0x10}, 0, testChainID)
	return spec.Domain(chain.DomainCommitBoost)
}

func secret(t testing.TB, s string) *bls.SecretKey {
	t.Helper()
	b, _ := hex.DecodeString(s)
	k, err := bls.ParseSecretKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func g1(t testing.TB, k phase0.BLSPubKey) G1 {
	t.Helper()
	p, err := NewG1(k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func senderKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := crypto.HexToECDSA(senderSecret)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
