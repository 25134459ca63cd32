package ledger

import (
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sidecar/commitments"
)

// pgProxy stands between a ledger and its server, and cuts the connection at the
// journey that carries a mark.
type pgProxy struct {
	dir, network, address string

	mu   sync.Mutex
	mark []byte // nil: cut nothing
	late bool   // cut when the server has done what it was asked
}

// newPgProxy listens for the server of dsn, on a socket in a temporary folder.
func newPgProxy(t *testing.T, dsn string) *pgProxy {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if config.TLSConfig != nil {
		t.Skip("the server named by SIDECAR_TEST_POSTGRES wants TLS: a proxy cannot see what to cut")
	}
	p := &pgProxy{dir: tempDir(t), network: "tcp", address: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))}
	if strings.HasPrefix(config.Host, "/") {
		p.network, p.address = "unix", filepath.Join(config.Host, ".s.PGSQL."+strconv.Itoa(int(config.Port)))
	}
	listener, err := net.Listen("unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() { p.serve(client) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); group.Wait() })
	return p
}

func (p *pgProxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial(p.network, p.address)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	deaf := make(chan struct{}) // closed: the client hears nothing any more
	heard := make(chan struct{}, 1024)
	go func() { // ends when server is closed
		buffer := make([]byte, 1<<16)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				_ = client.Close()
				return
			}
			select {
			case <-deaf:
				heard <- struct{}{}
			default:
				_, _ = client.Write(buffer[:n])
			}
		}
	}()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if cut, late := p.cut(buffer[:n]); cut && !late {
			return
		} else if cut {
			close(deaf)
			_, _ = server.Write(buffer[:n])
			<-heard
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *pgProxy) cut(journey []byte) (cut, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mark == nil || !bytes.Contains(journey, p.mark) {
		return false, false
	}
	p.mark = nil
	return true, p.late
}

func (p *pgProxy) arm(mark string, late bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark, p.late = []byte(mark), late
}

// silence lets nothing through until it is released.
func (p *pgProxy) silence(t *testing.T) (release func()) {
	p.mu.Lock()
	release = sync.OnceFunc(p.mu.Unlock)
	t.Cleanup(release)
	return release
}

// TestCrash_Commit loses the connection at every durable step, before the server
// has it and after it is done. Nothing is released, nothing is poisoned; asking
// again has the one answer, and the ledger holds it once.
func TestCrash_Commit(t *testing.T) {
	marks := map[string]string{"entry": `"resources":["second"]`, "seal": `"signature":`, "verdict": `"verdict":`}
	for name, step := range durableSteps() {
		for way, late := range map[string]bool{"lost before": false, "done": true, "done, asked again at once": true} {
			t.Run(name+" "+way, func(t *testing.T) {
				direct := pgCase(testDSN(t)).create(t)
				p := newPgProxy(t, testDSN(t))
				l, err := OpenPostgres(pgConfig(p.of(t, direct)))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = l.Close() })
				first := must(t, l, page(7), promise(1, "first"))
				p.arm(marks[name], late)
				if err := step.run(l, first); !errors.Is(err, ErrDatabase) {
					t.Fatalf("got %v, want %v", err, ErrDatabase)
				}
				atOnce := way == "done, asked again at once"
				switch {
				case late && !atOnce:
					// What became durable is shown, though nobody was answered.
					within(t, pgPatience, "it is followed", func() bool { return step.done(l.Page(page(7))) })
				case !late:
					if sum, err := WalkPostgres(pgConfig(direct), nil); err != nil || sum.Records != 1 {
						t.Errorf("%d records, %v; want the first alone", sum.Records, err)
					}
				}
				if err := step.run(l, first); atOnce && err != nil {
					t.Errorf("at once: %v", err)
				} else if err != nil {
					within(t, pgPatience, "it works again", func() bool { return step.run(l, first) == nil })
				}
				if !step.done(l.Page(page(7))) || l.Poisoned() != nil {
					t.Errorf("page %+v, poisoned %v", l.Page(page(7)), l.Poisoned())
				}
				want := uint64(2)
				if name == "verdict" && late {
					want = 3 // nobody remembers verdicts by name: a second one says the same
				}
				if sum, err := WalkPostgres(pgConfig(direct), nil); err != nil || sum.Records != want || l.Len() != sum.Entries {
					t.Errorf("%d records, %d entries, %v; want %d records", sum.Records, sum.Entries, err, want)
				}
			})
		}
	}
}

// of returns a connection string file that leads through the proxy.
func (p *pgProxy) of(t *testing.T, direct string) (where string) {
	t.Helper()
	dsn, err := readDSN(direct)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(dsn, "://") {
		t.Skip("SIDECAR_TEST_POSTGRES is a URL: this test needs key=value, where a later key wins")
	}
	where = filepath.Join(tempDir(t), "dsn")
	writeFile(t, where, dsn+" host="+p.dir+" port=5432")
	return where
}

// TestServer_Silent: a server that does not answer any more costs a caller no
// longer than a statement's deadline.
func TestServer_Silent(t *testing.T) {
	direct := pgCase(testDSN(t)).create(t)
	p := newPgProxy(t, testDSN(t))
	c := shortLease(p.of(t, direct), "patient")
	l, err := OpenPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	must(t, l, page(1), promise(1, "first"))
	release := p.silence(t)
	started := time.Now()
	_, err = l.Append(context.Background(), page(1), constant(promise(2, "second")))
	waited := time.Since(started)
	release()
	if !errors.Is(err, ErrDatabase) || waited > 5*c.timeout() {
		t.Errorf("got %v after %v, want %v within %v", err, waited, ErrDatabase, 5*c.timeout())
	}
	within(t, pgPatience, "it works again", func() bool {
		_, err := l.Append(context.Background(), page(1), func(v commitments.View) (Entry, error) { return promise(2, "second"), nil })
		return err == nil
	})
}

// TestLease_RunsOut: who cannot renew stops before the lease ends, by its own
// clock; and a lease that ran out is taken anew, not gone on with.
func TestLease_RunsOut(t *testing.T) {
	direct := pgCase(testDSN(t)).create(t)
	p := newPgProxy(t, testDSN(t))
	c := shortLease(p.of(t, direct), "cut off")
	l, err := OpenPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	dsn, _ := readDSN(direct)
	sql(t, dsn, `update ledger_lease set expires_at = clock_timestamp()`)
	if _, err := l.Append(context.Background(), page(1), constant(promise(1, "r"))); !errors.Is(err, ErrLease) {
		t.Errorf("after its end: got %v, want %v", err, ErrLease)
	}
	within(t, pgPatience, "it leads again", func() bool { return l.Standing().Leads })
	if got, want := l.Standing().Token, uint64(2); got != want {
		t.Errorf("token %d, want %d", got, want)
	}
	must(t, l, page(1), promise(1, "r")) // renews the lease, and no more than that
	release := p.silence(t)
	cut := time.Now()
	within(t, c.Lease, "it stands by", func() bool { return !l.Standing().Leads })
	early := time.Since(cut)
	_, err = l.Append(context.Background(), page(1), constant(promise(1, "r")))
	release()
	if !errors.Is(err, ErrDatabase) || early > c.Lease {
		t.Errorf("it stood by after %v with %v", early, err)
	}
	within(t, pgPatience, "it leads again", func() bool { return l.Standing().Token == 3 })
}
