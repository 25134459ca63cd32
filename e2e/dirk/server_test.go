package dirk

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	herumi "github.com/herumi/bls-eth-go-binary/bls"
	e2types "github.com/wealdtech/go-eth2-types/v2"
	distributed "github.com/wealdtech/go-eth2-wallet-distributed"
	keystorev4 "github.com/wealdtech/go-eth2-wallet-encryptor-keystorev4"
	nd "github.com/wealdtech/go-eth2-wallet-nd/v2"
	filesystem "github.com/wealdtech/go-eth2-wallet-store-filesystem"
	e2wtypes "github.com/wealdtech/go-eth2-wallet-types/v2"

	"sidecar/internal/bls"
	"sidecar/internal/mtls/mtlstest"
)

// program is where Dirk was built.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "dirk")
	if err == nil {
		program = filepath.Join(dir, "dirk")
		build := exec.Command("go", "build", "-o", program, "github.com/attestantio/dirk")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err == nil {
		err = e2types.InitBLS()
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "build Dirk:", err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

const passphrase = "pass"

// server is one Dirk.
type server struct {
	id   uint64
	name string
	port int
	dir  string
	cmd  *exec.Cmd
}

// cluster is several, with an authority that knows them and their clients.
type cluster struct {
	ca      *mtlstest.Authority
	client  mtlstest.Files
	servers []*server
}

// newCluster prepares servers named dirk-1 and so on: certificates, permissions
// for the client "sidecar", and empty wallets' folders.
func newCluster(t *testing.T, n int) *cluster {
	t.Helper()
	c := &cluster{ca: mtlstest.New(t)}
	c.client = c.ca.Issue(t, "sidecar")
	for i := range n {
		c.servers = append(c.servers, &server{id: uint64(101 + i), name: fmt.Sprintf("dirk-%d", i+1), port: freePort(t), dir: t.TempDir()})
	}
	for _, s := range c.servers {
		files := c.ca.Issue(t, s.name)
		put(t, filepath.Join(s.dir, "pass.txt"), passphrase)
		peers := ""
		for _, p := range c.servers {
			peers += fmt.Sprintf("  %d: %s:%d\n", p.id, p.name, p.port)
		}
		put(t, filepath.Join(s.dir, "dirk.yml"), fmt.Sprintf(`log-file: %[1]s/dirk.log
log-level: Debug
server:
  id: %[2]d
  name: %[3]s
  listen-address: 127.0.0.1:%[4]d
certificates:
  server-cert: file://%[5]s
  server-key: file://%[6]s
  ca-cert: file://%[7]s
storage-path: %[1]s/protection
stores:
- name: Local
  type: filesystem
  location: %[1]s/wallets
peers:
%[8]sunlocker:
  wallet-passphrases:
  - file://%[1]s/pass.txt
  account-passphrases:
  - file://%[1]s/pass.txt
process:
  generation-passphrase: file://%[1]s/pass.txt
permissions:
  sidecar:
    simple: All
    shared: All
`, s.dir, s.id, s.name, s.port, files.Cert, files.Key, c.ca.CAPath, peers))
	}
	return c
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a server until the test ends, or stop.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(program, "--base-dir", s.dir)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(filepath.Join(s.dir, "dirk.log"))
			t.Fatalf("%s does not listen:\n%s", s.name, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// importSimple puts a key into the server's wallet "simple".
func (s *server) importSimple(t *testing.T, name string, secret []byte) {
	t.Helper()
	ctx := context.Background()
	wallet, err := nd.CreateWallet(ctx, "simple", filesystem.New(filesystem.WithLocation(filepath.Join(s.dir, "wallets"))), keystorev4.New())
	if err != nil {
		t.Fatal(err)
	}
	if err := wallet.(e2wtypes.WalletLocker).Unlock(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := wallet.(e2wtypes.WalletAccountImporter).ImportAccount(ctx, name, secret, []byte(passphrase)); err != nil {
		t.Fatal(err)
	}
}

// share splits a random key over all servers' wallets "shared", and returns its
// public key.
func (c *cluster) share(t *testing.T, name string, threshold int) (public [48]byte) {
	t.Helper()
	ctx := context.Background()
	polynomial := make([]herumi.SecretKey, threshold)
	var vector [][]byte
	for i := range polynomial {
		fresh, err := bls.NewSecretKey(nil)
		if err == nil {
			err = polynomial[i].Deserialize(fresh.Bytes())
		}
		if err != nil {
			t.Fatal(err)
		}
		vector = append(vector, polynomial[i].GetPublicKey().Serialize())
	}
	participants := map[uint64]string{}
	for _, s := range c.servers {
		participants[s.id] = fmt.Sprintf("%s:%d", s.name, s.port)
	}
	for _, s := range c.servers {
		var id herumi.ID
		var part herumi.SecretKey
		if err := id.SetDecString(fmt.Sprint(s.id)); err != nil {
			t.Fatal(err)
		}
		if err := part.Set(polynomial, &id); err != nil {
			t.Fatal(err)
		}
		wallet, err := distributed.CreateWallet(ctx, "shared", filesystem.New(filesystem.WithLocation(filepath.Join(s.dir, "wallets"))), keystorev4.New())
		if err != nil {
			t.Fatal(err)
		}
		if err := wallet.(e2wtypes.WalletLocker).Unlock(ctx, nil); err != nil {
			t.Fatal(err)
		}
		importer := wallet.(e2wtypes.WalletDistributedAccountImporter)
		if _, err := importer.ImportDistributedAccount(ctx, name, part.Serialize(), uint32(threshold), vector, participants, []byte(passphrase)); err != nil {
			t.Fatal(err)
		}
	}
	return [48]byte(polynomial[0].GetPublicKey().Serialize())
}

// said is what a server logged, for failures.
func (c *cluster) said(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, s := range c.servers {
		text, _ := os.ReadFile(filepath.Join(s.dir, "dirk.log"))
		fmt.Fprintf(&b, "%s:\n%s\n", s.name, text)
	}
	return b.String()
}
