package boot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"
)

// The errors of changing the firmware's variables.
var (
	ErrFull     = errors.New("the firmware has no room for it") // its store is full
	ErrReadOnly = errors.New("the firmware's variables are read-only")
)

// Attributes of boot variables: non-volatile, readable at boot and at run time
// (UEFI 2.10, section 8.2).
const bootAttributes = 7

// Variables are the firmware's boot variables of a running system, as files of
// efivarfs: four bytes of attributes, then the value, written in one write.
type Variables struct{ dir string }

// OpenVariables returns the variables of the system below root. It fails where
// efivarfs is not mounted.
func OpenVariables(root string) (*Variables, error) {
	v := &Variables{filepath.Join(root, efivars)}
	if _, err := v.names(); err != nil {
		return nil, fmt.Errorf("cannot list the firmware's variables: %w", err)
	}
	return v, nil
}

// Writable tells whether variables can be changed at all: ErrReadOnly if not.
func (v *Variables) Writable() error {
	var st unix.Statfs_t
	if err := unix.Statfs(v.dir, &st); err != nil {
		return fmt.Errorf("cannot look at %s: %w", v.dir, err)
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return ErrReadOnly
	}
	return nil
}

var bootVariable = regexp.MustCompile(`^Boot[0-9A-F]{4}$`)

// EntryName is the variable of a boot entry, e.g. "Boot0003".
func EntryName(number uint16) string { return fmt.Sprintf("Boot%04X", number) }

func (v *Variables) file(name string) string { return filepath.Join(v.dir, name+"-"+guidGlobal) }

// names lists the boot entries.
func (v *Variables) names() ([]string, error) {
	list, err := os.ReadDir(v.dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range list {
		if n, ok := strings.CutSuffix(e.Name(), "-"+guidGlobal); ok && bootVariable.MatchString(n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Raw returns a variable as efivarfs shows it, attributes first; nil if there
// is none.
func (v *Variables) Raw(name string) ([]byte, error) {
	data, err := os.ReadFile(v.file(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read the firmware variable %s: %w", name, err)
	case len(data) == 0:
		return nil, nil // what a write leaves that the firmware refused
	case len(data) < 4 || len(data) > maxVariable:
		return nil, fmt.Errorf("cannot read the firmware variable %s: %w: %d bytes", name, ErrFormat, len(data))
	}
	return data, nil
}

// SetRaw writes a variable, attributes first, or removes it where raw is nil,
// and reads it back. What is as wanted already is not written: the firmware's
// store wears out.
func (v *Variables) SetRaw(name string, raw []byte) error {
	if raw != nil && len(raw) < 4 {
		return fmt.Errorf("cannot write the firmware variable %s: %w: %d bytes", name, ErrFormat, len(raw))
	}
	now, err := v.Raw(name)
	if err == nil && bytes.Equal(now, raw) && (raw == nil) == (now == nil) {
		return nil
	}
	if raw == nil {
		err = v.remove(name)
	} else {
		err = v.write(name, raw)
	}
	if err != nil {
		return err
	}
	if now, err = v.Raw(name); err != nil {
		return err
	}
	if !bytes.Equal(now, raw) {
		return fmt.Errorf("cannot change the firmware variable %s: the firmware took it and shows %d other bytes", name, len(now))
	}
	return nil
}

func (v *Variables) write(name string, raw []byte) error {
	file := v.file(name)
	_, serr := os.Lstat(file)
	fresh := errors.Is(serr, fs.ErrNotExist)
	restore := mutable(file)
	defer restore()
	// Without O_TRUNC: a write replaces the variable as a whole, and an empty one would be a removed one.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err == nil {
		_, err = f.Write(raw)
		// On efivarfs the file now has the variable's size; what only looks like it keeps a longer one's end.
		if st, serr := f.Stat(); err == nil && serr == nil && st.Size() > int64(len(raw)) {
			err = f.Truncate(int64(len(raw)))
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		return nil
	}
	if fresh {
		_ = os.Remove(file) // the empty file that a refused variable leaves
	}
	return v.explain("write", name, err)
}

func (v *Variables) remove(name string) error {
	restore := mutable(v.file(name))
	err := os.Remove(v.file(name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	restore()
	return v.explain("remove", name, err)
}

func (v *Variables) explain(verb, name string, err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC):
		err = fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return fmt.Errorf("cannot %s the firmware variable %s: %w", verb, name, err)
}

// immutableFlag is FS_IMMUTABLE_FL of linux/fs.h.
const immutableFlag = 0x10

// mutable takes away the flag that efivarfs protects variables with which it
// does not know (Documentation/filesystems/efivarfs.rst), and returns what puts
// it back. Boot variables are without it on kernels of today.
func mutable(file string) (restore func()) {
	nothing := func() {}
	f, err := os.Open(file)
	if err != nil {
		return nothing
	}
	defer f.Close()
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutableFlag == 0 {
		return nothing
	}
	if unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^immutableFlag)) != nil {
		return nothing
	}
	return func() {
		if f, err := os.Open(file); err == nil {
			_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags))
			_ = f.Close()
		}
	}
}

// Boot is the state of all boot entries: what is needed to put them back.
type Boot struct {
	Order   []byte            `json:"order"`   // BootOrder as efivarfs shows it, nil: none
	Entries map[string][]byte `json:"entries"` // Boot#### likewise
}

// Snapshot reads BootOrder and all entries.
func (v *Variables) Snapshot() (Boot, error) {
	b := Boot{Entries: map[string][]byte{}}
	var err error
	if b.Order, err = v.Raw("BootOrder"); err != nil {
		return b, err
	}
	names, err := v.names()
	if err != nil {
		return b, fmt.Errorf("cannot list the firmware's variables: %w", err)
	}
	for _, n := range names {
		raw, err := v.Raw(n)
		if err != nil {
			return b, err
		}
		if raw != nil {
			b.Entries[n] = raw
		}
	}
	return b, nil
}

// Numbers are the entries that BootOrder names, in its order.
func (b Boot) Numbers() []uint16 {
	var out []uint16
	for i := 4; i+1 < len(b.Order); i += 2 {
		out = append(out, binary.LittleEndian.Uint16(b.Order[i:]))
	}
	return out
}

// Find returns the numbers of the entries whose value is exactly option, in
// their order.
func (b Boot) Find(option []byte) []uint16 {
	var out []uint16
	for n, raw := range b.Entries {
		if num, err := hex.DecodeString(n[4:]); err == nil && bytes.Equal(raw[4:], option) {
			out = append(out, binary.BigEndian.Uint16(num))
		}
	}
	slices.Sort(out)
	return out
}

// Free is the lowest number that no entry has and BootOrder does not name.
func (b Boot) Free() (uint16, error) {
	taken := map[uint16]bool{}
	for _, n := range b.Numbers() {
		taken[n] = true
	}
	for n := range 0x10000 {
		if _, ok := b.Entries[EntryName(uint16(n))]; !ok && !taken[uint16(n)] {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("cannot add a boot entry: %w: all numbers are taken", ErrFull)
}

// SetEntry writes an entry with the attributes of a boot variable.
func (v *Variables) SetEntry(number uint16, option []byte) error {
	return v.SetRaw(EntryName(number), append([]byte{bootAttributes, 0, 0, 0}, option...))
}

// SetOrder writes BootOrder.
func (v *Variables) SetOrder(order []uint16) error {
	raw := []byte{bootAttributes, 0, 0, 0}
	for _, n := range order {
		raw = binary.LittleEndian.AppendUint16(raw, n)
	}
	return v.SetRaw("BootOrder", raw)
}

// Partition is where a load option finds its file: an entry of a partition
// table. Start and Blocks count the disk's own logical blocks.
type Partition struct {
	Number        uint32
	Start, Blocks uint64
	GUID          string // GPT
	MBR           uint32 // the disk's signature, where the table is an MBR
}

// FormatLoadOption makes an EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3) with the
// short form of a device path: the hard drive node (10.3.5.1) and the file path
// (10.3.5.2), which firmware completes by looking for the partition.
func FormatLoadOption(description string, p Partition, file string) ([]byte, error) {
	if description == "" || strings.ContainsRune(description+file, 0) || !strings.HasPrefix(file, `\`) {
		return nil, fmt.Errorf("cannot make a boot entry: %w: %q, %q", ErrFormat, description, file)
	}
	hd := binary.LittleEndian.AppendUint32(nil, p.Number)
	hd = binary.LittleEndian.AppendUint64(hd, p.Start)
	hd = binary.LittleEndian.AppendUint64(hd, p.Blocks)
	switch {
	case p.GUID != "":
		guid, err := parseGUID(p.GUID)
		if err != nil {
			return nil, err
		}
		hd = append(append(hd, guid...), 2, 2) // GPT, GUID
	case p.MBR != 0:
		hd = binary.LittleEndian.AppendUint32(hd, p.MBR)
		hd = append(append(hd, make([]byte, 12)...), 1, 1)
	default:
		return nil, fmt.Errorf("cannot make a boot entry: %w: partition %d has no identity", ErrFormat, p.Number)
	}
	path := node(4, 1, hd)
	path = append(path, node(4, 4, encode(file))...)
	path = append(path, 0x7f, 0xff, 4, 0)
	out := binary.LittleEndian.AppendUint32(nil, 1) // active
	out = binary.LittleEndian.AppendUint16(out, uint16(len(path)))
	out = append(out, encode(description)...)
	return append(out, path...), nil
}

func node(typ, sub byte, body []byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{typ, sub}, uint16(len(body)+4)), body...)
}

// encode writes text as UTF-16LE with a NUL at its end.
func encode(s string) []byte {
	var out []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

// parseGUID is the reverse of guidString.
func parseGUID(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 || len(s) != 36 {
		return nil, fmt.Errorf("cannot make a boot entry: %w: %q is no GUID", ErrFormat, s)
	}
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return b, nil
}
