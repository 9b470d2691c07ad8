package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// copyXattrs makes the extended attributes of the open file fd those of path. POSIX ACLs are attributes too
// (system.posix_acl_access, see xattr(7)).
func copyXattrs(path string, fd int) error {
	names, err := listXattrs(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, name := range names {
		want[name] = true
		value, err := readXattr(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// A label that the policy gave the new file anyway need not be set, which may be forbidden.
		have, err := readXattr(func(b []byte) (int, error) { return unix.Fgetxattr(fd, name, b) })
		if err == nil && bytes.Equal(have, value) {
			continue
		}
		if err := unix.Fsetxattr(fd, name, value, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	// The folder's default ACL gives a new file one that the old file may not have had.
	names, err = listXattrs(func(b []byte) (int, error) { return unix.Flistxattr(fd, b) })
	if err != nil {
		return err
	}
	for _, name := range names {
		if want[name] || strings.HasPrefix(name, "security.") {
			continue
		}
		if err := unix.Fremovexattr(fd, name); err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func listXattrs(list func([]byte) (int, error)) ([]string, error) {
	raw, err := readXattr(list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil // a file system without them
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range strings.SplitSeq(string(raw), "\x00") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// readXattr asks for the size, then for the value, again where it has grown in between.
func readXattr(get func([]byte) (int, error)) ([]byte, error) {
	for range 8 {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		buf := make([]byte, n)
		n, err = get(buf)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
	return nil, unix.ERANGE
}
