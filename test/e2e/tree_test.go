package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Tree describes every entry below dir by all that can be changed about it:
// type, mode, owner, device, time of change of the content, extended
// attributes, and the content itself. Access times are not a part of it.
func Tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		d, err := describe(path)
		out["/"+strings.TrimPrefix(rel, ".")] = d
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func describe(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", fmt.Errorf("cannot stat %s: %w", path, err)
	}
	d := fmt.Sprintf("mode %o owner %d:%d device %d mtime %d.%09d", st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
		d += fmt.Sprintf(" links %d size %d sha256 %x", st.Nlink, st.Size, h.Sum(nil))
	case unix.S_IFLNK:
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		d += " to " + to
	}
	names, err := xattrNames(path)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		v := make([]byte, 64<<10)
		k, err := unix.Lgetxattr(path, n, v)
		if err != nil {
			return "", fmt.Errorf("cannot read attribute %s of %s: %w", n, path, err)
		}
		d += fmt.Sprintf(" %s=%x", n, v[:k])
	}
	return d, nil
}

func xattrNames(path string) ([]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list attributes of %s: %w", path, err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	slices.Sort(names)
	return names, nil
}

// Changes compares two trees and returns a line for each difference that is
// neither an allowed path, nor below one, nor a folder above one.
func Changes(before, after map[string]string, allowed ...string) []string {
	paths := make([]string, 0, len(after))
	for p := range before {
		paths = append(paths, p)
	}
	for p := range after {
		if _, ok := before[p]; !ok {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	var out []string
	for _, p := range paths {
		b, a := before[p], after[p]
		if a == b || slices.ContainsFunc(allowed, func(ok string) bool {
			return p == ok || strings.HasPrefix(p, ok+"/") || strings.HasPrefix(ok, strings.TrimSuffix(p, "/")+"/")
		}) {
			continue
		}
		switch {
		case b == "":
			out = append(out, fmt.Sprintf("%s is new: %s", p, a))
		case a == "":
			out = append(out, p+" is gone")
		default:
			out = append(out, fmt.Sprintf("%s changed:\n  from %s\n  to   %s", p, b, a))
		}
	}
	return out
}

func TestTreeSeesEveryChange(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"content": func(d string) error { return os.WriteFile(d+"/f", []byte("b"), 0o644) },
		"mode":    func(d string) error { return os.Chmod(d+"/f", 0o600) },
		"time":    func(d string) error { return unix.Utimes(d+"/f", []unix.Timeval{{Sec: 1}, {Sec: 1}}) },
		"new":     func(d string) error { return os.WriteFile(d+"/g", nil, 0o644) },
		"gone":    func(d string) error { return os.Remove(d + "/f") },
		"link": func(d string) error {
			if err := os.Remove(d + "/l"); err != nil {
				return err
			}
			return os.Symlink("elsewhere", d+"/l")
		},
		"attribute": func(d string) error {
			err := unix.Setxattr(d+"/f", "user.x", []byte("1"), 0)
			if errors.Is(err, unix.ENOTSUP) {
				return os.Chmod(d+"/f", 0o640) // a file system without them
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := t.TempDir()
			if err := errors.Join(os.WriteFile(d+"/f", []byte("a"), 0o644), os.Symlink("f", d+"/l")); err != nil {
				t.Fatal(err)
			}
			before := Tree(t, d)
			if c := Changes(before, Tree(t, d)); len(c) != 0 {
				t.Fatalf("reading changed: %v", c)
			}
			if err := change(d); err != nil {
				t.Fatal(err)
			}
			after := Tree(t, d)
			if len(Changes(before, after)) == 0 {
				t.Error("the change was not seen")
			}
			if c := Changes(before, after, "/f", "/g", "/l"); len(c) != 0 {
				t.Errorf("allowed, and told: %v", c)
			}
		})
	}
}
