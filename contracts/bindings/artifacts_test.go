package bindings

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// source is where the contracts, their compiler and their sources are.
const source = ".."

type manifest struct {
	Solc               string
	Sources, Artifacts map[string]string
}

func readManifest(t *testing.T) (m manifest) {
	t.Helper()
	text, err := artifacts.ReadFile("artifacts/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func fileHash(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestManifest: sources and artifacts are those of one build, which needs no
// Node to see. A change of a source without `make contracts` fails here.
func TestManifest(t *testing.T) {
	m := readManifest(t)
	if want := "0.8.30+commit.73712a01.Emscripten.clang"; m.Solc != want {
		t.Errorf("compiler: got %s, want %s", m.Solc, want)
	}
	files, err := filepath.Glob(filepath.Join(source, "src", "*.sol"))
	if err != nil || len(files) != len(m.Sources) {
		t.Errorf("%d sources in the manifest, %d on disk, %v", len(m.Sources), len(files), err)
	}
	for path, want := range m.Sources {
		if got := fileHash(t, filepath.Join(source, path)); got != want {
			t.Errorf("%s has changed since the last build: run `make contracts`", path)
		}
	}
	for name, want := range m.Artifacts {
		if got := fileHash(t, filepath.Join("artifacts", name)); got != want {
			t.Errorf("%s is not what the build wrote", name)
		}
	}
	if len(m.Artifacts) != 3 {
		t.Errorf("%d artifacts", len(m.Artifacts))
	}
}

// TestRebuild compiles the sources again and compares every byte. It runs where
// `make contracts` has installed the compiler, and must run in CI.
func TestRebuild(t *testing.T) {
	if _, err := os.Stat(filepath.Join(source, "node_modules", "solc")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has to rebuild the contracts: run `make contracts` first")
		}
		t.Skip("no compiler: `make contracts` installs it")
	}
	if testing.Short() {
		t.Skip("compiling takes seconds: -short")
	}
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "node", filepath.Join(source, "scripts", "build.mjs"), dir).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	names := []string{"manifest.json"}
	for name := range readManifest(t).Artifacts {
		names = append(names, name)
	}
	for _, name := range names {
		if got, want := fileHash(t, filepath.Join(dir, name)), fileHash(t, filepath.Join("artifacts", name)); got != want {
			t.Errorf("%s: a rebuild gives %s, committed is %s", name, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	for _, name := range []string{FaultVerifier, PreconfServiceManager, UrcInclusionSlasher} {
		c, err := Load(name)
		if err != nil || len(c.Code) == 0 {
			t.Fatalf("%s: %d bytes, %v", name, len(c.Code), err)
		}
		const most = 24_576 // EIP-170
		if len(c.Runtime) > most {
			t.Errorf("%s: %d bytes on the chain, at most %d", name, len(c.Runtime), most)
		}
	}
	if _, err := Load("Nothing"); err == nil {
		t.Error("an unknown contract loads")
	}
}

// TestSelectors pins what other contracts call, and what we call of them.
// [URC main 132bc79; URC signing-domain; EigenLayer v1.9 ABI]
func TestSelectors(t *testing.T) {
	want := map[string]map[string]string{
		UrcInclusionSlasher: {"b4dc07a7": "slash", "c239ef42": "slash0"},
		PreconfServiceManager: {
			"c63fd502": "registerOperator", "303ca956": "deregisterOperator", "b5265787": "supportsAVS",
		},
	}
	for name, selectors := range want {
		c, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for selector, method := range selectors {
			id, _ := hex.DecodeString(selector)
			got, err := c.ABI.MethodById(id)
			if err != nil || got.Name != method {
				t.Errorf("%s: %s is not %s: %v", name, selector, method, err)
			}
		}
	}
}
