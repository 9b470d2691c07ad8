package capture

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// Errors that callers test for.
var (
	// ErrChanged means that a file was written to while it was being saved.
	ErrChanged = errors.New("changed while being read")
	// ErrCorrupt means that a saved set is not what was written.
	ErrCorrupt = errors.New("saved files are damaged")
	// ErrExists means that there is a saved set in the folder already.
	ErrExists = errors.New("a saved set is there already")
	// ErrTooLarge means that there is more to save than allowed.
	ErrTooLarge = errors.New("too large")
	// ErrImmutable means that a file carries the immutable or the append-only flag (chattr(1) +i, +a).
	ErrImmutable = errors.New("the file is immutable (see lsattr; chattr -ia makes it changeable)")
	// ErrInTheWay means that something that is not ours stands where something must be restored.
	ErrInTheWay = errors.New("something else is in the way")
)

// Kind is what is at a path.
type Kind string

// The kinds. Sockets are noted and never restored: their owners make them anew.
const (
	Absent  Kind = "absent"
	File    Kind = "file"
	Dir     Kind = "dir"
	Symlink Kind = "symlink"
	Char    Kind = "char-device"
	Block   Kind = "block-device"
	FIFO    Kind = "fifo"
	Socket  Kind = "socket"
)

// Name is a path or a link's target: bytes, not necessarily UTF-8. In JSON it is a string, "base64:..." where it has to be.
type Name string

const base64Prefix = "base64:"

// MarshalText implements encoding.TextMarshaler.
func (n Name) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(n)) && !strings.HasPrefix(string(n), base64Prefix) {
		return []byte(n), nil
	}
	return []byte(base64Prefix + base64.StdEncoding.EncodeToString([]byte(n))), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(b []byte) error {
	enc, ok := strings.CutPrefix(string(b), base64Prefix)
	if !ok {
		*n = Name(b)
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(enc)
	*n = Name(raw)
	return err
}

// Entry is what is, or was, at one path.
type Entry struct {
	Path Name `json:"path"` // absolute as seen below the root, no symbolic link in its folder
	Kind Kind `json:"kind"`
	// The fields below are empty for an absent path.
	Mode   uint32            `json:"mode,omitempty"` // permissions, set-id and sticky bits; 0 for symbolic links
	UID    uint32            `json:"uid,omitempty"`
	GID    uint32            `json:"gid,omitempty"`
	MTime  int64             `json:"mtime,omitempty"` // nanoseconds since 1970
	Size   int64             `json:"size,omitempty"`  // bytes of a file
	SHA256 string            `json:"sha256,omitempty"`
	Target Name              `json:"target,omitempty"` // of a symbolic link
	Rdev   uint64            `json:"rdev,omitempty"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // POSIX ACLs are system.posix_acl_access and _default
	Flags  uint32            `json:"flags,omitempty"`  // FS_IMMUTABLE_FL and FS_APPEND_FL only
	Links  uint64            `json:"links,omitempty"`  // names of a file with more than one
	LinkTo Name              `json:"link_to,omitempty"`
	Store  string            `json:"store,omitempty"` // the content below the saved set; empty with LinkTo

	dev, ino, ctime uint64
}

// The flags of ioctl_iflags(2) that forbid changes: FS_IMMUTABLE_FL and FS_APPEND_FL.
const flagMask = 0x10 | 0x20

// Immutable tells whether the file cannot be changed or replaced before chattr -i, -a.
func (e Entry) Immutable() bool { return e.Flags&flagMask != 0 }

// LinksOutside tells whether the file has names that were not saved with it: when it is replaced, they keep the other
// content. set holds all entries saved together.
func (e Entry) LinksOutside(set []Entry) bool {
	if e.Kind != File || e.Links < 2 {
		return false
	}
	first := e.Path
	if e.LinkTo != "" {
		first = e.LinkTo
	}
	n := uint64(0)
	for i := range set {
		if set[i].Path == first || set[i].LinkTo == first {
			n++
		}
	}
	return n < e.Links
}

const selinux = "security.selinux"

// differences names the aspects in which two entries differ. Times are among
// them for files and links, but not for folders, whose time changes with every
// name in them.
func differences(a, b Entry) []string {
	if a.Kind != b.Kind {
		return []string{"kind"}
	}
	var out []string
	add := func(differ bool, name string) {
		if differ {
			out = append(out, name)
		}
	}
	add(a.SHA256 != b.SHA256 || a.Size != b.Size, "content")
	add(a.Target != b.Target, "target")
	add(a.Rdev != b.Rdev, "device")
	add(a.Mode != b.Mode, "mode")
	add(a.UID != b.UID || a.GID != b.GID, "owner")
	add(a.Flags != b.Flags, "flags")
	names := map[string]bool{}
	for n := range a.Xattrs {
		names[n] = true
	}
	for n := range b.Xattrs {
		names[n] = true
	}
	var attrs []string
	for n := range names {
		va, ina := a.Xattrs[n]
		vb, inb := b.Xattrs[n]
		if n == selinux && ina != inb {
			// The kernel labels new files where SELinux is on, and a label cannot be taken off again: one side was read while it was off.
			continue
		}
		if ina != inb || !bytes.Equal(va, vb) {
			attrs = append(attrs, "xattr "+n)
		}
	}
	sort.Strings(attrs)
	out = append(out, attrs...)
	add(a.Kind != Dir && a.MTime != b.MTime, "mtime")
	return out
}

// same ignores times: they tell when something was written, not what.
func same(a, b Entry) bool {
	d := differences(a, b)
	return len(d) == 0 || slices.Equal(d, []string{"mtime"})
}

// State is what is at a number of paths, without the contents.
type State struct {
	Entries []Entry `json:"entries"` // sorted by path
}

// Bytes is the size of all contents: what Save needs, beside a few hundred bytes for every entry.
func (s *State) Bytes() (n int64) {
	for _, e := range s.Entries {
		if e.LinkTo == "" {
			n += e.Size
		}
	}
	return n
}

func (s *State) byPath() map[Name]Entry {
	m := make(map[Name]Entry, len(s.Entries))
	for _, e := range s.Entries {
		m[e.Path] = e
	}
	return m
}

func pathError(verb string, p Name, err error) error {
	return fmt.Errorf("cannot %s %s: %w", verb, p, err)
}
