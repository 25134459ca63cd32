package simnet

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

type obj = map[string]any

func hex(b []byte) string { return fmt.Sprintf("%#x", b) }

// endpoints are the Beacon API routes; names are the last static path segment.
func (b *Beacon) endpoints() []endpoint {
	plain := func(f func() any) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) { answer(w, http.StatusOK, obj{"data": f()}) }
	}
	return []endpoint{
		{"genesis", "GET /eth/v1/beacon/genesis", plain(b.genesis)},
		{"spec", "GET /eth/v1/config/spec", plain(b.config)},
		{"fork_schedule", "GET /eth/v1/config/fork_schedule", plain(func() any { return b.schedule() })},
		{"deposit_contract", "GET /eth/v1/config/deposit_contract", plain(func() any {
			return obj{"chain_id": fmt.Sprint(b.spec.ChainID), "address": hex(make([]byte, 20))}
		})},
		{"syncing", "GET /eth/v1/node/syncing", plain(b.sync)},
		{"version", "GET /eth/v1/node/version", plain(func() any { return obj{"version": "simnet/v1 (toy consensus)"} })},
		{"health", "GET /eth/v1/node/health", b.health},
		{"fork", "GET /eth/v1/beacon/states/{id}/fork", plain(func() any { return last(b.schedule()) })},
		{"finality_checkpoints", "GET /eth/v1/beacon/states/{id}/finality_checkpoints", b.finality},
		{"validators", "GET /eth/v1/beacon/states/{id}/validators", b.listValidators},
		{"headers", "GET /eth/v1/beacon/headers/{id}", b.header},
		{"headers_of", "GET /eth/v1/beacon/headers", b.headersOf},
		{"root", "GET /eth/v1/beacon/blocks/{id}/root", b.root},
		{"blocks", "GET /eth/v2/beacon/blocks/{id}", b.block},
		{"publish", "POST /eth/v2/beacon/blocks", b.publishBlock},
		{"proposer", "GET /eth/v1/validator/duties/proposer/{epoch}", b.duties},
		{"proposer_v2", "GET /eth/v2/validator/duties/proposer/{epoch}", b.duties},
		{"events", "GET /eth/v1/events", b.serveEvents},
	}
}

func last[T any](s []T) T { return s[len(s)-1] }

func (b *Beacon) genesis() any {
	return obj{
		"genesis_time":            fmt.Sprint(b.spec.GenesisTime.Unix()),
		"genesis_validators_root": hex(b.validatorsRoot[:]),
		"genesis_fork_version":    hex(b.spec.GenesisForkVersion[:]),
	}
}

func (b *Beacon) sync() any {
	b.mu.Lock()
	defer b.mu.Unlock()
	head := b.head.slot()
	return obj{
		"head_slot": fmt.Sprint(head), "sync_distance": fmt.Sprint(max(b.clock.Slot(), head) - head),
		"is_syncing": b.syncing, "is_optimistic": false, "el_offline": false,
	}
}

func (b *Beacon) health(w http.ResponseWriter, _ *http.Request, _ []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.syncing {
		w.WriteHeader(http.StatusPartialContent)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// schedule lists the forks in order, Phase0 first.
func (b *Beacon) schedule() []obj {
	var all []obj
	previous := b.spec.GenesisForkVersion
	for _, f := range b.spec.Forks {
		v := forkVersion(f.Fork)
		all = append(all, obj{"previous_version": hex(previous[:]), "current_version": hex(v[:]), "epoch": fmt.Sprint(f.Epoch)})
		previous = v
	}
	return all
}

// config is the part of the chain's constants that clients read.
func (b *Beacon) config() any {
	c := obj{
		"CONFIG_NAME": b.spec.Name, "PRESET_BASE": "mainnet",
		"SECONDS_PER_SLOT": fmt.Sprint(int(b.spec.SlotDuration.Seconds())),
		"SLOT_DURATION_MS": fmt.Sprint(b.spec.SlotDuration.Milliseconds()),
		"SLOTS_PER_EPOCH":  fmt.Sprint(b.spec.SlotsPerEpoch),
		"DEPOSIT_CHAIN_ID": fmt.Sprint(b.spec.ChainID), "DEPOSIT_NETWORK_ID": fmt.Sprint(b.spec.ChainID),
		"DEPOSIT_CONTRACT_ADDRESS": hex(make([]byte, 20)), "GENESIS_DELAY": "0",
		"MIN_GENESIS_TIME": fmt.Sprint(b.spec.GenesisTime.Unix()), "GENESIS_FORK_VERSION": hex(b.spec.GenesisForkVersion[:]),
		"MIN_SEED_LOOKAHEAD": "1", "MAX_BLOBS_PER_BLOCK": "6", "MAX_BLOBS_PER_BLOCK_ELECTRA": "9",
		"MAX_BLOB_COMMITMENTS_PER_BLOCK": "4096", "FIELD_ELEMENTS_PER_BLOB": "4096",
		"DOMAIN_BEACON_PROPOSER": "0x00000000", "DOMAIN_BEACON_ATTESTER": "0x01000000", "DOMAIN_RANDAO": "0x02000000",
		"DOMAIN_APPLICATION_BUILDER": "0x00000001", "DOMAIN_APPLICATION_MASK": "0x00000001", "BLOB_SCHEDULE": []obj{},
	}
	const never = "18446744073709551615"
	for f := chain.Altair; f <= chain.Fulu; f++ {
		v, epoch := forkVersion(f), never
		if f <= b.fork {
			epoch = "0"
		}
		name := strings.ToUpper(f.String())
		c[name+"_FORK_VERSION"], c[name+"_FORK_EPOCH"] = hex(v[:]), epoch
	}
	return c
}

func (b *Beacon) finality(w http.ResponseWriter, _ *http.Request, _ []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	justified, final := b.checkpoints(b.head.slot())
	point := func(e phase0.Epoch) obj {
		root := b.checkpoint(e).root
		if e == 0 {
			root = phase0.Root{} // as real nodes say before the first justification
		}
		return obj{"epoch": fmt.Sprint(e), "root": hex(root[:])}
	}
	answer(w, http.StatusOK, obj{"execution_optimistic": false, "finalized": false, "data": obj{
		"previous_justified": point(final), "current_justified": point(justified), "finalized": point(final),
	}})
}

func (b *Beacon) listValidators(w http.ResponseWriter, _ *http.Request, _ []byte) {
	list := []obj{}
	for _, v := range b.validators {
		list = append(list, obj{"index": fmt.Sprint(v.Index), "balance": "32000000000", "status": "active_ongoing", "validator": obj{
			"pubkey": hex(v.Pubkey[:]), "withdrawal_credentials": "0x01" + strings.Repeat("00", 11) + hex(v.FeeRecipient[:])[2:],
			"effective_balance": "32000000000", "slashed": false, "activation_eligibility_epoch": "0",
			"activation_epoch": "0", "exit_epoch": "18446744073709551615", "withdrawable_epoch": "18446744073709551615",
		}})
	}
	answer(w, http.StatusOK, obj{"execution_optimistic": false, "finalized": false, "data": list})
}

var errUnknownBlock = errors.New("block not found")

// find reads a block id: head, genesis, justified, finalized, a slot or a root.
func (b *Beacon) find(id string) (at block, final bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ok := true
	justified, finalized := b.checkpoints(b.head.slot())
	switch {
	case id == "head":
		at = b.head
	case id == "genesis":
		at = b.bySlot[0]
	case id == "justified":
		at = b.checkpoint(justified)
	case id == "finalized":
		at = b.checkpoint(finalized)
	case strings.HasPrefix(id, "0x"):
		var root phase0.Root
		if err := root.UnmarshalJSON([]byte(strconv.Quote(id))); err != nil {
			return at, false, err
		}
		at, ok = b.byRoot[root]
	default:
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return at, false, fmt.Errorf("block id %q", id)
		}
		at, ok = b.bySlot[phase0.Slot(n)]
	}
	if !ok {
		return at, false, errUnknownBlock
	}
	return at, at.slot() <= b.checkpoint(finalized).slot(), nil
}

// found is find for a request, which it answers if it fails.
func (b *Beacon) found(w http.ResponseWriter, r *http.Request) (at block, final, ok bool) {
	at, final, err := b.find(r.PathValue("id"))
	switch {
	case errors.Is(err, errUnknownBlock):
		fail(w, http.StatusNotFound, err)
	case err != nil:
		fail(w, http.StatusBadRequest, err)
	}
	return at, final, err == nil
}

func (b *Beacon) header(w http.ResponseWriter, r *http.Request, _ []byte) {
	if at, final, ok := b.found(w, r); ok {
		answer(w, http.StatusOK, obj{"execution_optimistic": false, "finalized": final, "data": obj{
			"root": hex(at.root[:]), "canonical": true, "header": at.header,
		}})
	}
}

// headersOf lists the headers of a slot, those that are not canonical too.
func (b *Beacon) headersOf(w http.ResponseWriter, r *http.Request, _ []byte) {
	n, err := strconv.ParseUint(r.URL.Query().Get("slot"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, errors.New("only headers of a slot are listed"))
		return
	}
	b.mu.Lock()
	canonical := b.bySlot[phase0.Slot(n)].root
	list := []obj{}
	for _, at := range b.byRoot {
		if at.slot() == phase0.Slot(n) {
			list = append(list, obj{"root": hex(at.root[:]), "canonical": at.root == canonical, "header": at.header})
		}
	}
	b.mu.Unlock()
	answer(w, http.StatusOK, obj{"execution_optimistic": false, "finalized": false, "data": list})
}

func (b *Beacon) root(w http.ResponseWriter, r *http.Request, _ []byte) {
	if at, final, ok := b.found(w, r); ok {
		answer(w, http.StatusOK, obj{"execution_optimistic": false, "finalized": final, "data": obj{"root": hex(at.root[:])}})
	}
}

func (b *Beacon) block(w http.ResponseWriter, r *http.Request, _ []byte) {
	at, final, ok := b.found(w, r)
	if !ok {
		return
	}
	if _, _, ssz := accepts(r.Header); ssz {
		body, err := at.signed.MarshalSSZ()
		if err != nil {
			fail(w, http.StatusInternalServerError, err)
			return
		}
		answerBytes(w, b.fork, octets, body)
		return
	}
	w.Header().Set("Eth-Consensus-Version", b.fork.String())
	answer(w, http.StatusOK, obj{"version": b.fork.String(), "execution_optimistic": false, "finalized": final, "data": at.signed})
}

// publishBlock takes a SignedBlockContents, as relays send it.
func (b *Beacon) publishBlock(w http.ResponseWriter, r *http.Request, body []byte) {
	ssz, err := isSSZ(r.Header)
	if err != nil {
		fail(w, http.StatusUnsupportedMediaType, err)
		return
	}
	if v := r.Header.Get("Eth-Consensus-Version"); v != b.fork.String() {
		fail(w, http.StatusBadRequest, fmt.Errorf("consensus version %q, want %q", v, b.fork))
		return
	}
	contents := newContents(b.fork, nil, noBlobs())
	if err := decodePlain(ssz, body, contents); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	signed, blobs := contained(contents)
	in, err := readBlock(signed)
	if err == nil {
		err = blobs.check(b.fork, in.blobs)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if err := b.importBlock(r.Context(), signed); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// duties answers for the epochs whose proposers are known: up to the next.
// Version 2 names the root one epoch earlier, as Fulu's lookahead has it.
func (b *Beacon) duties(w http.ResponseWriter, r *http.Request, _ []byte) {
	n, err := strconv.ParseUint(r.PathValue("epoch"), 10, 64)
	epoch := phase0.Epoch(n)
	if now := b.spec.Epoch(b.clock.Slot()); err != nil || epoch > now+1 {
		fail(w, http.StatusBadRequest, fmt.Errorf("epoch %q, the clock is at %d", r.PathValue("epoch"), now))
		return
	}
	b.mu.Lock()
	depends := b.dependentRoot(epoch)
	if strings.HasPrefix(r.URL.Path, "/eth/v2/") {
		depends = b.dependentRoot(epoch - min(epoch, 1))
	}
	b.mu.Unlock()
	type duty struct {
		Pubkey phase0.BLSPubKey `json:"pubkey"`
		Index  string           `json:"validator_index"`
		Slot   string           `json:"slot"`
	}
	list := []duty{}
	for i := range b.spec.SlotsPerEpoch {
		slot := phase0.Slot(n*b.spec.SlotsPerEpoch + i)
		who := b.proposer(slot)
		list = append(list, duty{who.Pubkey, fmt.Sprint(who.Index), fmt.Sprint(slot)})
	}
	answer(w, http.StatusOK, obj{"dependent_root": hex(depends[:]), "execution_optimistic": false, "data": list})
}
