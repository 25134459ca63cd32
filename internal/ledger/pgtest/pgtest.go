// Package pgtest starts a real PostgreSQL for tests of the shared ledger: the
// one that SIDECAR_TEST_POSTGRES names, else one of its own from the binaries on
// this machine, in a temporary folder, on a socket. It never mocks one: where
// there is none, it skips the test and says why.
package pgtest

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
	server *Server // nil with SIDECAR_TEST_POSTGRES
	dsn    string
	err    error
}

// DSN returns the shared server's connection string, or skips the test.
func DSN(t testing.TB) string {
	t.Helper()
	s := &sharedServer
	s.once.Do(func() {
		if s.dsn = os.Getenv("SIDECAR_TEST_POSTGRES"); s.dsn != "" {
			return
		}
		if s.server, s.err = New(); s.err == nil {
			s.dsn = s.server.DSN()
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

// Stop ends the server that DSN started. Call it from TestMain.
func Stop() {
	if s := sharedServer.server; s != nil {
		s.Remove()
	}
}

// Own starts a server that a test may kill, or skips the test.
func Own(t *testing.T) *Server {
	t.Helper()
	s, err := New()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skipf("no PostgreSQL to kill: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return s
}

// Server is a PostgreSQL in a temporary folder, on a socket in that folder.
type Server struct {
	dir, bin string
	attr     *syscall.SysProcAttr
	done     chan struct{} // closed when the running server is gone
	process  *os.Process
}

// New makes a cluster and starts it. The error is exec.ErrNotFound where
// there are no server binaries.
func New() (*Server, error) {
	bin, err := findPostgres()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, attr: &syscall.SysProcAttr{}}
	if err := s.unprivileged(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", dir+"/data", "-U", "sidecar", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C") // #nosec G204
	initdb.SysProcAttr, initdb.Dir = s.attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w: %s", err, out), os.RemoveAll(dir))
	}
	if err := s.Start(); err != nil {
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
func (s *Server) unprivileged() error {
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

// DSN is the connection string of the server's superuser.
func (s *Server) DSN() string { return "host=" + s.dir + " user=sidecar dbname=postgres" }

// Start starts the server and waits until it answers. settings are -c settings.
func (s *Server) Start(settings ...string) error {
	arguments := []string{"-D", s.dir + "/data", "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=32MB"}
	for _, setting := range settings {
		arguments = append(arguments, "-c", setting)
	}
	late := time.After(30 * time.Second)
	for {
		// Children of a killed server may hold its memory for a moment: try again.
		out, err := s.launch(arguments)
		if err == nil {
			return nil
		}
		select {
		case <-late:
			return fmt.Errorf("%w: %s", err, out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) launch(arguments []string) (out []byte, err error) {
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
		conn, err := pgx.Connect(ctx, s.DSN())
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

// End ends the server by a signal: SIGKILL is a crash, SIGQUIT nearly one.
func (s *Server) End(signal syscall.Signal) {
	_ = s.process.Signal(signal)
	<-s.done
}

// Remove ends the server and deletes its folder.
func (s *Server) Remove() {
	s.End(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}

// Exec runs statements on a connection of its own.
func Exec(dsn, statement string, arguments ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, arguments...)
	return errors.Join(err, conn.Close(ctx))
}

// InSchema returns a connection string for one schema of a database.
func InSchema(dsn, name string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " search_path=" + name
	case strings.Contains(dsn, "?"):
		return dsn + "&search_path=" + name
	default:
		return dsn + "?search_path=" + name
	}
}
