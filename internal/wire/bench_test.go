package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	builderelectra "github.com/attestantio/go-builder-client/api/electra"

	"sidecar/chain"
)

// benchBid is a bid of 6 commitments and one request of each kind, in both encodings.
func benchBid(b *testing.B) (text, ssz []byte) {
	b.Helper()
	var compact bytes.Buffer
	if err := json.Compact(&compact, vector(b, "commit-boost/fulu_bid.json")); err != nil {
		b.Fatal(err)
	}
	return compact.Bytes(), mustBid(b, chain.Fulu, JSON, compact.Bytes()).Encode(SSZ)
}

func BenchmarkDecodeBid(b *testing.B) {
	text, ssz := benchBid(b)
	for _, enc := range []Encoding{JSON, SSZ} {
		body := text
		if enc == SSZ {
			body = ssz
		}
		b.Run(enc.String(), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				mustBid(b, chain.Fulu, enc, body)
			}
		})
	}
	b.Run("spec_json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var env struct {
				Version string
				Data    *builderelectra.SignedBuilderBid
			}
			if err := json.Unmarshal(text, &env); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("spec_ssz", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := (&builderelectra.SignedBuilderBid{}).UnmarshalSSZ(ssz); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("memcpy", func(b *testing.B) {
		for b.Loop() {
			bytes.Clone(text)
		}
	})
}

func BenchmarkBidRoot(b *testing.B) {
	_, ssz := benchBid(b)
	bid := mustBid(b, chain.Fulu, SSZ, ssz)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bid.Root()
		}
	})
	spec := newSpecBid(chain.Fulu)
	if err := spec.UnmarshalSSZ(ssz); err != nil {
		b.Fatal(err)
	}
	b.Run("spec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			specBidRoot(b, spec)
		}
	})
}

func BenchmarkBidEncode(b *testing.B) {
	text, ssz := benchBid(b)
	fromJSON, fromSSZ := mustBid(b, chain.Fulu, JSON, text), mustBid(b, chain.Fulu, SSZ, ssz)
	b.Run("ssz_to_json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fromSSZ.Encode(JSON)
		}
	})
	b.Run("json_to_ssz", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fromJSON.Encode(SSZ)
		}
	})
}

func BenchmarkDecodeRegistrations(b *testing.B) {
	one := mustRegistrations(b, JSON, vector(b, "commit-boost/registrations.json"))
	for _, n := range []int{100, 1000, 10000} {
		rs := make([]Registration, n)
		for i := range rs {
			rs[i] = one[i%len(one)]
		}
		for _, enc := range []Encoding{JSON, SSZ} {
			body := ConvertRegistrations(enc, rs)
			b.Run(fmt.Sprintf("%d/%s", n, enc), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				dst := make([]Registration, 0, n)
				for b.Loop() {
					if _, err := DecodeRegistrations(enc, body, dst); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/registration")
			})
		}
	}
	b.Run("root", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one[0].Root()
		}
	})
}

func BenchmarkDecodeBlindedBlock(b *testing.B) {
	var text bytes.Buffer
	if err := json.Compact(&text, vector(b, "commit-boost/block_holesky.json")); err != nil {
		b.Fatal(err)
	}
	block := mustBlock(b, chain.Electra, JSON, text.Bytes())
	ssz, err := block.Convert(SSZ)
	if err != nil {
		b.Fatal(err)
	}
	for _, enc := range []Encoding{JSON, SSZ} {
		body := text.Bytes()
		if enc == SSZ {
			body = ssz
		}
		b.Run(enc.String(), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				mustBlock(b, chain.Electra, enc, body)
			}
		})
	}
	b.Run("convert", func(b *testing.B) {
		for b.Loop() {
			if _, err := block.Convert(SSZ); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPayload(b *testing.B) {
	ssz, err := newRandom().payload(chain.Fulu, 6).MarshalSSZ()
	if err != nil {
		b.Fatal(err)
	}
	text := mustEncode(b, mustPayload(b, chain.Fulu, SSZ, ssz), JSON)
	bodies := map[Encoding][]byte{JSON: text, SSZ: ssz}
	for _, enc := range []Encoding{JSON, SSZ} {
		b.Run("decode/"+enc.String(), func(b *testing.B) {
			b.SetBytes(int64(len(bodies[enc])))
			b.ReportAllocs()
			for b.Loop() {
				mustPayload(b, chain.Fulu, enc, bodies[enc])
			}
		})
		b.Run("encode/"+enc.String(), func(b *testing.B) {
			b.ReportAllocs()
			p := mustPayload(b, chain.Fulu, 1-enc, bodies[1-enc])
			for b.Loop() {
				mustEncode(b, p, enc)
			}
		})
	}
	b.Run("memcpy", func(b *testing.B) {
		for b.Loop() {
			bytes.Clone(text)
		}
	})
}
