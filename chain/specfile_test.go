package chain

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseSpec_Kurtosis(t *testing.T) {
	genesis := time.Unix(1772130224, 0)
	var specs []Spec
	for _, file := range []string{"kurtosis_spec.json", "kurtosis.yaml"} {
		s, err := ParseSpec(read(t, file), genesis)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		specs = append(specs, s)
		if s.GenesisForkVersion != (phase0.Version{0x10, 0, 0, 0x38}) || s.ChainID != 3151908 || s.SlotDuration != 12*time.Second ||
			s.Fork(0) != Fulu || s.MaxBlobs(0) != 15 || !s.GenesisTime.Equal(genesis) || s.Name != "testnet" {
			t.Errorf("%s: got %+v", file, s)
		}
	}
	if !reflect.DeepEqual(specs[0], specs[1]) {
		t.Errorf("JSON and YAML differ:\n%+v\n%+v", specs[0], specs[1])
	}
}

// TestParseSpec_Named: a public network's spec file says what Named says.
func TestParseSpec_Named(t *testing.T) {
	want, _ := Named("hoodi")
	got, err := ParseSpec(read(t, "hoodi_spec.json"), want.GenesisTime)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("hoodi:\ngot  %+v\nwant %+v", got, want)
	}
	want, _ = Named("mainnet") // the file predates Fulu
	want.Forks, want.Blobs = want.Forks[:6], want.Blobs[:2]
	if got, err = ParseSpec(read(t, "mainnet_spec_data.json"), want.GenesisTime); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("mainnet:\ngot  %+v\nwant %+v", got, want)
	}
}

const (
	minimalYAML = "GENESIS_FORK_VERSION: %s\nSECONDS_PER_SLOT: 12\nFULU_FORK_EPOCH: 3\nDEPOSIT_CHAIN_ID: 7\n"
	minimalJSON = `{"GENESIS_FORK_VERSION":"0x20000089","SECONDS_PER_SLOT":"2","FULU_FORK_EPOCH":"3","DEPOSIT_CHAIN_ID":"7"%s}`
)

func TestParseSpec_Minimal(t *testing.T) {
	for _, version := range []string{"0x20000089", `"0x20000089"`, "536871049"} { // a u32, read big-endian
		s, err := ParseSpec(fmt.Appendf(nil, minimalYAML, version), time.Unix(1, 0))
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if s.GenesisForkVersion != (phase0.Version{0x20, 0, 0, 0x89}) || s.SlotsPerEpoch != 32 || s.Fork(95) != Electra || s.Fork(96) != Fulu {
			t.Errorf("%s: got %+v", version, s)
		}
	}
	s, err := ParseSpec(fmt.Appendf(nil, minimalJSON, `,"SLOTS_PER_EPOCH":"8"`), time.Unix(1, 0))
	if err != nil || s.SlotDuration != 2*time.Second || s.Fork(23) != Electra || s.Fork(24) != Fulu {
		t.Errorf("bare JSON: %v, %+v", err, s)
	}
	s, err = ParseSpec(fmt.Appendf(nil, minimalJSON, `,"PRESET_BASE":"minimal"`), time.Unix(1, 0))
	if err != nil || s.SlotsPerEpoch != 8 {
		t.Errorf("minimal preset: %v, %+v", err, s)
	}
}

func TestParseSpec_SlotDuration(t *testing.T) {
	without := strings.Replace(minimalJSON, `"SECONDS_PER_SLOT":"2",`, "", 1)
	for name, c := range map[string]struct {
		file string
		want time.Duration // 0: refused
	}{
		"seconds":     {fmt.Sprintf(minimalJSON, ""), 2 * time.Second},
		"millis":      {fmt.Sprintf(without, `,"SLOT_DURATION_MS":"400"`), 400 * time.Millisecond},
		"both, equal": {fmt.Sprintf(minimalJSON, `,"SLOT_DURATION_MS":"2000"`), 2 * time.Second},
		"both differ": {fmt.Sprintf(minimalJSON, `,"SLOT_DURATION_MS":"2001"`), 0},
		"neither":     {fmt.Sprintf(without, ""), 0},
		"huge":        {fmt.Sprintf(without, `,"SLOT_DURATION_MS":"18446744073709551615"`), 0},
		"negative":    {fmt.Sprintf(without, `,"SLOT_DURATION_MS":"-1"`), 0},
	} {
		s, err := ParseSpec([]byte(c.file), time.Unix(1, 0))
		if s.SlotDuration != c.want || (err == nil) != (c.want != 0) {
			t.Errorf("%s: got %v, %v; want %v", name, s.SlotDuration, err, c.want)
		}
	}
}

// TestParseSpec_Schedule: entries before Fulu hold from Fulu on, the last one wins.
func TestParseSpec_Schedule(t *testing.T) {
	file := fmt.Sprintf(minimalJSON, `,"ELECTRA_FORK_EPOCH":"1","DENEB_FORK_EPOCH":"0","BLOB_SCHEDULE":[
		{"EPOCH":"5","MAX_BLOBS_PER_BLOCK":"15"},{"EPOCH":"0","MAX_BLOBS_PER_BLOCK":"6"},{"EPOCH":"1","MAX_BLOBS_PER_BLOCK":"10"}]`)
	s, err := ParseSpec([]byte(file), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for epoch, want := range map[phase0.Slot]int{0: 6, 1: 9, 2: 9, 3: 10, 4: 10, 5: 15, 6: 15} {
		if got := s.MaxBlobs(epoch * 32); got != want {
			t.Errorf("epoch %d: got %d, want %d", epoch, got, want)
		}
	}
}

func TestParseSpec_Refused(t *testing.T) {
	genesis := time.Unix(1, 0)
	for name, c := range map[string]struct{ file, want string }{
		"empty":            {"", "mapping"},
		"list":             {"- a\n", "mapping"},
		"two documents":    {"A: 1\n---\nB: 2\n", "one YAML document"},
		"null data":        {`{"data":null}`, "missing"},
		"data a list":      {`{"data":[]}`, "not an object"},
		"broken JSON":      {`{"data":`, "not JSON"},
		"everything":       {`{}`, "DEPOSIT_CHAIN_ID is missing\nSECONDS_PER_SLOT and SLOT_DURATION_MS are missing\nGENESIS_FORK_VERSION is missing"},
		"short version":    {fmt.Sprintf(minimalYAML, "0x2000"), "four bytes"},
		"wide version":     {fmt.Sprintf(minimalYAML, "4294967296"), "four bytes"},
		"anchor":           {fmt.Sprintf(minimalYAML, "&a 0x20000089"), "four bytes"},
		"fork order":       {fmt.Sprintf(minimalJSON, `,"ELECTRA_FORK_EPOCH":"4"`), "follows"},
		"negative epoch":   {fmt.Sprintf(minimalJSON, `,"ELECTRA_FORK_EPOCH":"-4"`), "64-bit"},
		"schedule no max":  {fmt.Sprintf(minimalJSON, `,"BLOB_SCHEDULE":[{"EPOCH":"1"}]`), "64-bit"},
		"schedule too big": {fmt.Sprintf(minimalJSON, `,"BLOB_SCHEDULE":[{"EPOCH":"1","MAX_BLOBS_PER_BLOCK":"5000"}]`), "4096"},
		"slots per epoch":  {fmt.Sprintf(minimalJSON, `,"SLOTS_PER_EPOCH":"0"`), "slots per epoch"},
		"too large":        {strings.Repeat("#", maxSpecFile+1), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseSpec([]byte(c.file), genesis); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := ParseSpec(read(t, "kurtosis_spec.json"), time.Time{}); err == nil {
		t.Error("no genesis time: accepted")
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, file := range []string{"hoodi_spec.json", "kurtosis_spec.json", "mainnet_spec_data.json", "kurtosis.yaml"} {
		f.Add(read(f, file))
	}
	f.Add(fmt.Appendf(nil, minimalYAML, "1"))
	f.Add([]byte("A: &a [*a]\nB: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data, time.Unix(1, 0))
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		c := NewClock(s, func() time.Time { return time.Unix(1e9, 0) })
		if _, err := json.Marshal([]any{s.Fork(c.Slot()), s.MaxBlobs(c.Slot()), c.Into(1 << 62)}); err != nil {
			t.Fatal(err)
		}
	})
}
