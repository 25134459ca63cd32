package api

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"sidecar/internal/config"
)

// TestToken_Timing: how long a token's check takes does not tell how much of it was
// right. A statistic over a million checks each, for a machine that is quiet: it
// runs if SIGNER_TIMING is set. [security: T-46, J-30]
func TestToken_Timing(t *testing.T) {
	if os.Getenv("SIGNER_TIMING") == "" {
		t.Skip("a statistic for a quiet machine; set SIGNER_TIMING=1")
	}
	const rounds, batch = 20_000, 50
	secret := config.Secret("timing-secret-timing-secret-timing--")
	good := jwt(string(secret), `{"alg":"HS256"}`, `{"exp":4000000000,"module":"M","route":"/x"}`)
	spoiled := func(i int) *token {
		tok, ok := parseToken(good)
		if !ok {
			t.Fatal("the token does not parse")
		}
		tok.mac[i] ^= 1
		return &tok
	}
	kinds := map[string]*token{"first byte wrong": spoiled(0), "last byte wrong": spoiled(31), "middle wrong": spoiled(15)}
	names := []string{"first byte wrong", "middle wrong", "last byte wrong"}
	took := map[string][]float64{}
	for range rounds {
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			tok, begin := kinds[name], time.Now()
			for range batch {
				if tok.genuine(secret) {
					t.Fatal("a wrong token is genuine")
				}
			}
			took[name] = append(took[name], float64(time.Since(begin)))
		}
	}
	type figures struct{ mean, err float64 }
	of := map[string]figures{}
	for name, all := range took {
		slices.Sort(all)
		all = all[:len(all)*9/10] // what the machine did in between
		var sum, square float64
		for _, x := range all {
			sum += x
		}
		mean := sum / float64(len(all))
		for _, x := range all {
			square += (x - mean) * (x - mean)
		}
		of[name] = figures{mean, math.Sqrt(square) / float64(len(all))}
		t.Logf("%s: %.2f ns, ±%.3f", name, mean/batch, of[name].err/batch)
	}
	a, b := of["first byte wrong"], of["last byte wrong"]
	if d, sigma := math.Abs(a.mean-b.mean), math.Hypot(a.err, b.err); d > 3*sigma {
		t.Errorf("the means differ by %.1f standard errors", d/sigma)
	}
}
