package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// read reads a regular file of at most limit bytes. Its errors name the file.
func read(path string, limit int64) ([]byte, error) {
	// A pipe or a device could block, or never end. Links are followed: secrets
	// are often mounted as links.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path) // #nosec G304 -- the operator names the path
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, nil
}

// trimNewline takes off the one line ending that editors add.
func trimNewline(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

// disk does the durable steps of a store. A step is done when do returns nil,
// and may be done when it returns an error.
type disk struct {
	step func(name string, do func() error) error // for tests that crash; nil just does
}

func (d disk) do(name string, f func() error) error {
	if d.step == nil {
		return f()
	}
	return d.step(name, f)
}

// write writes a whole file or none, mode 0600: a temporary file in the folder
// temp, synced, read back and checked, then renamed, and the rename synced.
func (d disk) write(path, temp string, content []byte, check func(readBack []byte) error) error {
	return d.do("write "+filepath.Ext(path), func() (err error) {
		f, err := os.CreateTemp(temp, "."+filepath.Base(path)+".new-") // mode 0600
		if err != nil {
			return err
		}
		defer func() {
			if err != nil {
				_ = os.Remove(f.Name())
			}
		}()
		_, err = f.Write(content)
		if err == nil {
			err = f.Sync()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		got, err := os.ReadFile(f.Name())
		if err != nil {
			return err
		}
		defer clear(got)
		if !bytes.Equal(got, content) {
			return fmt.Errorf("%s: reads back differently", path)
		}
		if check != nil {
			if err := check(got); err != nil {
				return fmt.Errorf("read back %s: %w", path, err)
			}
		}
		return rename(f.Name(), path)
	})
}

// rename moves a file, durably, within a disk.
func (d disk) rename(from, to string) error {
	return d.do("rename "+filepath.Ext(to), func() error { return rename(from, to) })
}

// remove deletes a file, durably. None is no error.
func (d disk) remove(path string) error {
	return d.do("remove "+filepath.Ext(path), func() error {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return syncFolder(filepath.Dir(path))
	})
}

// folders makes the folders below an existing one, 0700, their names synced.
func (d disk) folders(root string, names ...string) (string, error) {
	at := root
	for _, name := range names {
		above := at
		at = filepath.Join(at, name)
		if info, err := os.Stat(at); err == nil && info.IsDir() {
			continue
		}
		err := d.do("folder", func() error {
			if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
			return syncFolder(above)
		})
		if err != nil {
			return "", err
		}
	}
	return at, nil
}

func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if filepath.Dir(from) != filepath.Dir(to) {
		if err := syncFolder(filepath.Dir(from)); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(to))
}

func syncFolder(folder string) error {
	d, err := os.Open(folder) // #nosec G304 -- the operator names the path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// exists says whether there is anything of that name; an error is a yes.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, os.ErrNotExist)
}

// folderName says whether a module id names a folder and no way out of it.
func folderName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}) < 0
}

// list returns the names in a folder; none if there is no such folder, or it is
// something else.
func list(folder string) (names []string, err error) {
	info, err := os.Stat(folder)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return nil, nil
	}
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}
