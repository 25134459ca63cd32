package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// sharedServer is the one PostgreSQL of this test binary: the one that
// SIDECAR_TEST_POSTGRES names, else one of our own in a temporary folder.
var sharedServer struct {
	once   sync.Once
	server *pgServer // nil with SIDECAR_TEST_POSTGRES
	dsn    string
	err    error
}

// testDSN returns the shared server's connection string, or skips the test.
func testDSN(t testing.TB) string {
	t.Helper()
	s := &sharedServer
	s.once.Do(func() {
		if s.dsn = os.Getenv("SIDECAR_TEST_POSTGRES"); s.dsn != "" {
			return
		}
		if s.server, s.err = newPgServer(); s.err == nil {
			s.dsn = s.server.dsn()
		}
	})
	switch {
	case errors.Is(s.err, exec.ErrNotFound):
		t.Skipf("no PostgreSQL: SIDECAR_TEST_POSTGRES is not set, and %v", s.err)
	case s.err != nil:
		t.Fatalf("start PostgreSQL: %v", s.err)
	}
	return s.dsn
}

func stopSharedServer() {
	if s := sharedServer.server; s != nil {
		s.remove()
	}
}

// ownServer starts a server that a test may kill, or skips the test.
func ownServer(t *testing.T) *pgServer {
	t.Helper()
	s, err := newPgServer()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no PostgreSQL to kill: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

// pgServer is a PostgreSQL in a temporary folder, on a socket in that folder.
type pgServer struct {
	dir, bin string
	attr     *syscall.SysProcAttr
	done     chan struct{} // closed when the running server is gone
	process  *os.Process
}

// newPgServer makes a cluster and starts it. The error is exec.ErrNotFound where
// there are no server binaries.
func newPgServer() (*pgServer, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	s := &pgServer{dir: dir, bin: bin, attr: &syscall.SysProcAttr{}}
	if err := s.unprivileged(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "sidecar", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C") // #nosec G204
	initdb.SysProcAttr, initdb.Dir = s.attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// findPostgres finds the folder of initdb and postgres.
func findPostgres() (string, error) {
	candidates, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if path, err := exec.LookPath("initdb"); err == nil {
		candidates = append(candidates, filepath.Dir(path))
	}
	for i := range candidates {
		dir := candidates[len(candidates)-1-i] // the newest of Debian's, unless PATH has one
		if _, err := exec.LookPath(filepath.Join(dir, "postgres")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("initdb and postgres: %w, nor in /usr/lib/postgresql", exec.ErrNotFound)
}

// unprivileged makes the server another user's: it refuses to run as root.
func (s *pgServer) unprivileged() error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

func (s *pgServer) dsn() string { return "host=" + s.dir + " user=sidecar dbname=postgres" }

// start starts the server and waits until it answers. settings are -c settings.
func (s *pgServer) start(settings ...string) error {
	arguments := []string{"-D", s.dir + "/data", "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=32MB"}
	for _, setting := range settings {
		arguments = append(arguments, "-c", setting)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		// Children of a killed server may hold its memory for a moment: try again.
		out, err := s.launch(arguments)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *pgServer) launch(arguments []string) (out []byte, err error) {
	server := exec.Command(filepath.Join(s.bin, "postgres"), arguments...) // #nosec G204
	server.SysProcAttr, server.Dir = dyingWithUs(*s.attr), s.dir
	logs, err := os.Create(s.dir + "/log")
	if err != nil {
		return nil, err
	}
	server.Stderr = logs
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // it dies with this thread
		defer close(done)
		err := server.Start()
		started <- err
		if err == nil {
			_ = server.Wait()
		}
	}()
	if err := errors.Join(<-started, logs.Close()); err != nil {
		return nil, err
	}
	s.done, s.process = done, server.Process
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, s.dsn())
		if err == nil {
			err = conn.Close(ctx)
			cancel()
			return nil, err
		}
		cancel()
		select {
		case <-done:
			out, _ = os.ReadFile(s.dir + "/log")
			return out, errors.New("the server ended at once")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// end ends the server by a signal: SIGKILL is a crash, SIGQUIT nearly one.
func (s *pgServer) end(signal syscall.Signal) {
	_ = s.process.Signal(signal)
	<-s.done
}

func (s *pgServer) remove() {
	s.end(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}

// sql runs statements on a connection of its own, as a stranger to the ledger.
func sql(t testing.TB, dsn, statement string, arguments ...any) {
	t.Helper()
	if err := trySQL(dsn, statement, arguments...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func trySQL(dsn, statement string, arguments ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, arguments...)
	return errors.Join(err, conn.Close(ctx))
}

// searchPath returns a connection string for one schema of a database.
func searchPath(dsn, name string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " search_path=" + name
	case strings.Contains(dsn, "?"):
		return dsn + "&search_path=" + name
	default:
		return dsn + "?search_path=" + name
	}
}
