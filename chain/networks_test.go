package chain

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

func TestNamed(t *testing.T) {
	// Commit-Boost's constants: chain id, genesis, version, first Fulu slot.
	for _, c := range []struct {
		name    string
		chainID uint64
		genesis int64
		version phase0.Version
		fulu    phase0.Slot
		electra phase0.Epoch
	}{
		{"Mainnet", 1, 1606824023, phase0.Version{}, 13164544, 364032},
		{"holesky", 17000, 1695902400, phase0.Version{1, 1, 0x70, 0}, 5283840, 115968},
		{"SEPOLIA", 11155111, 1655733600, phase0.Version{0x90, 0, 0, 0x69}, 8724480, 222464},
		{"Hoodi", 560048, 1742213400, phase0.Version{0x10, 0, 9, 0x10}, 1622016, 2048},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := Named(c.name)
			if !ok {
				t.Fatal("unknown")
			}
			if err := s.Validate(); err != nil {
				t.Error(err)
			}
			if s.Name != strings.ToLower(c.name) || s.ChainID != c.chainID || s.GenesisTime.Unix() != c.genesis || s.GenesisForkVersion != c.version ||
				s.SlotDuration != 12*time.Second || s.SlotsPerEpoch != 32 {
				t.Errorf("got %+v", s)
			}
			for slot, want := range map[phase0.Slot]Fork{
				c.fulu: Fulu, c.fulu + 1: Fulu, c.fulu - 1: Electra,
				phase0.Slot(c.electra) * 32: Electra, phase0.Slot(c.electra)*32 - 1: Deneb,
			} {
				if got := s.Fork(slot); got != want {
					t.Errorf("fork of slot %d: got %s, want %s", slot, got, want)
				}
			}
			for slot, want := range map[phase0.Slot]int{c.fulu: 9, phase0.Slot(c.electra)*32 - 1: 6, c.fulu + 32*100_000: 21} {
				if got := s.MaxBlobs(slot); got != want {
					t.Errorf("blobs of slot %d: got %d, want %d", slot, got, want)
				}
			}
		})
	}
	if _, ok := Named("helder"); ok {
		t.Error("helder is known")
	}
}

func TestNamed_BlobSchedule(t *testing.T) {
	for name, want := range map[string][2]phase0.Epoch{
		"mainnet": {412672, 419072}, "hoodi": {52480, 54016}, "holesky": {166400, 167936}, "sepolia": {274176, 275712},
	} {
		s, _ := Named(name)
		for i, limits := range [][2]int{{9, 15}, {15, 21}} {
			slot := phase0.Slot(want[i]) * 32
			if got := [2]int{s.MaxBlobs(slot - 1), s.MaxBlobs(slot)}; got != limits {
				t.Errorf("%s: BPO%d at epoch %d: got %v, want %v", name, i+1, want[i], got, limits)
			}
		}
	}
}

// TestDomain holds the five chains of the reference, both domain types.
func TestDomain(t *testing.T) {
	kurtosis := Custom(time.Unix(1, 0), time.Second, phase0.Version{0x10, 0, 0, 0x38}, 0, 1)
	for name, tail := range map[string]string{
		"mainnet":  "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a9",
		"holesky":  "5b83a23759c560b2d0c64576e1dcfc34ea94c4988f3e0d9f77f05387",
		"sepolia":  "d3010778cd08ee514b08fe67b6c503b510987a4ce43f42306d97c67c",
		"hoodi":    "719103511efa4f1362ff2a50996cccf329cc84cb410c5e5c7d351d03",
		"kurtosis": "0b41be4cdb34d183dddca5398337626dcdcfaf1720c1202d3b95f84e",
	} {
		s, ok := Named(name)
		if !ok {
			s = kurtosis
		}
		for _, c := range []struct {
			domain phase0.DomainType
			want   string
		}{{DomainBuilder, "00000001" + tail}, {DomainCommitBoost, "6d6d6f43" + tail}} {
			d := s.Domain(c.domain)
			if got := hex.EncodeToString(d[:]); got != c.want {
				t.Errorf("%s: got %s, want %s", name, got, c.want)
			}
		}
	}
}

func TestCustom(t *testing.T) {
	s := Custom(time.Unix(1742213400, 0), 2*time.Second, phase0.Version{0x20, 0, 0, 0x89}, 96, 1337)
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	for slot, want := range map[phase0.Slot]Fork{0: Electra, 95: Electra, 96: Fulu, 97: Fulu} {
		if got := s.Fork(slot); got != want {
			t.Errorf("slot %d: got %s, want %s", slot, got, want)
		}
	}
	if got := [2]int{s.MaxBlobs(95), s.MaxBlobs(96)}; got != [2]int{9, 21} {
		t.Errorf("blobs: got %v", got)
	}
	s = Custom(time.Unix(1, 0), time.Second, phase0.Version{}, 100, 1) // Commit-Boost's own expectation
	for slot, want := range map[phase0.Slot]Fork{0: Electra, 96: Electra, 99: Electra, 100: Fulu, 101: Fulu, 128: Fulu} {
		if got := s.Fork(slot); got != want {
			t.Errorf("Fulu from slot 100: slot %d: got %s, want %s", slot, got, want)
		}
	}
	s = Custom(time.Unix(1, 0), time.Second, phase0.Version{}, 0, 1)
	if err := s.Validate(); err != nil || s.Fork(0) != Fulu || s.MaxBlobs(0) != 21 {
		t.Errorf("Fulu from genesis: %v, %s, %d", err, s.Fork(0), s.MaxBlobs(0))
	}
}

func TestSpec_Validate(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Spec)
		want  string
	}{
		"slot duration 0":        {func(s *Spec) { s.SlotDuration = 0 }, "slot duration"},
		"slot duration negative": {func(s *Spec) { s.SlotDuration = -1 }, "slot duration"},
		"slot of a day":          {func(s *Spec) { s.SlotDuration = 24 * time.Hour }, "slot duration"},
		"no slots per epoch":     {func(s *Spec) { s.SlotsPerEpoch = 0 }, "slots per epoch"},
		"no genesis":             {func(s *Spec) { s.GenesisTime = time.Time{} }, "genesis"},
		"no chain id":            {func(s *Spec) { s.ChainID = 0 }, "chain id"},
		"no forks":               {func(s *Spec) { s.Forks = nil }, "no forks"},
		"unknown fork":           {func(s *Spec) { s.Forks = []ForkAt{{UnknownFork, 0, 0}} }, "unknown"},
		"forks out of order":     {func(s *Spec) { s.Forks = []ForkAt{{Fulu, 0, 0}, {Electra, 1, 0}} }, "follows"},
		"epochs out of order":    {func(s *Spec) { s.Forks = []ForkAt{{Electra, 2, 0}, {Fulu, 1, 0}} }, "follows"},
		"blobs out of order":     {func(s *Spec) { s.Blobs = []BlobsAt{{2, 1}, {2, 3}} }, "blob schedule"},
		"negative blobs":         {func(s *Spec) { s.Blobs = []BlobsAt{{2, -1}} }, "blob limit"},
		"no name":                {func(s *Spec) { s.Name = "" }, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := Named("hoodi")
			c.spoil(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestFork_Names(t *testing.T) {
	for f := Phase0; f <= Gloas; f++ {
		if got := ParseFork(strings.ToUpper(f.String())); got != f {
			t.Errorf("%s: got %s", f, got)
		}
		if got, want := f.Served(), f >= Deneb && f <= Fulu; got != want {
			t.Errorf("%s served: got %v", f, got)
		}
	}
	for _, name := range []string{"", "unknown", "fuluu"} {
		if got := ParseFork(name); got != UnknownFork {
			t.Errorf("%q: got %s", name, got)
		}
	}
	if got := Fork(200).String(); got != "unknown" {
		t.Errorf("got %s", got)
	}
}
