package tests
import ("testing";"time";"bytes"; apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"; "sidecar/internal/wire"; "sidecar/chain")
func TestZZ(t *testing.T) {
	b := new(apielectra.SignedBlindedBeaconBlock)
	if err := b.UnmarshalSSZ(recordedBlock(t)); err != nil { t.Fatal(err) }
	body := inEncoding(t, mediaJSON, b)
	head := []byte(`{"padding":"`)
	big := append(append(append(head, bytes.Repeat([]byte("a"), 20<<20-len(body)-13)...), `",`...), body[1:]...)
	s := time.Now(); err := new(apielectra.SignedBlindedBeaconBlock).UnmarshalJSON(big); t.Log("fake", time.Since(s), err)
	s = time.Now(); _, err = wire.SlotOf(wire.JSON, big); t.Log("slotof", time.Since(s), err)
	s = time.Now(); _, err = wire.DecodeBlindedBlock(chain.Fulu, wire.JSON, big); t.Log("decode", time.Since(s), err)
}
