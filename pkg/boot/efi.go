package boot

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"unicode/utf16"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// ErrFormat means that a firmware variable or a file is not what its
// specification says.
var ErrFormat = errors.New("malformed")

// The vendor GUIDs of the variables that are read.
const (
	guidGlobal   = "8be4df61-93ca-11d2-aa0d-00e098032b8c" // EFI_GLOBAL_VARIABLE
	guidSecurity = "d719b2cb-3d3a-4596-a3bc-dad00e67656f" // EFI_IMAGE_SECURITY_DATABASE
	guidShim     = "605dab50-e046-4300-abb6-3dd810dd8b23" // shim's MOK variables
)

const (
	efivars     = "/sys/firmware/efi/efivars"
	maxVariable = 1 << 20 // db of real machines has some 10 KB, dbx some 20 KB
)

// SecureBoot is the firmware's word on Secure Boot.
type SecureBoot string

// The states of Secure Boot.
const (
	SecureBootOn      SecureBoot = "enabled"
	SecureBootOff     SecureBoot = "disabled"
	SecureBootNone    SecureBoot = "not-available" // booted by BIOS, or firmware without it
	SecureBootUnknown SecureBoot = "unknown"       // the variable cannot be read
)

// Firmware is what started the kernel.
type Firmware struct {
	UEFI       bool       `json:"uefi"`
	SecureBoot SecureBoot `json:"secure_boot"`
	SetupMode  bool       `json:"setup_mode"`         // no platform key: anybody may enrol
	MokDisable bool       `json:"mok_disabled"`       // shim was told not to validate (mokutil --disable-validation)
	Lockdown   string     `json:"lockdown,omitempty"` // none, integrity, confidentiality; empty: not known
	FIPS       bool       `json:"fips"`
}

// ReadFirmware reads the state of the firmware and of what it enforces.
func ReadFirmware(r *rootfs.Root) Firmware {
	f := Firmware{UEFI: r.Exists("/sys/firmware/efi"), SecureBoot: SecureBootNone}
	if f.UEFI {
		switch v, err := Variable(r, "SecureBoot", guidGlobal); {
		case err == nil && len(v) == 1 && v[0] == 1:
			f.SecureBoot = SecureBootOn
		case err == nil && len(v) == 1:
			f.SecureBoot = SecureBootOff
		case errors.Is(err, fs.ErrNotExist) && r.Exists(efivars):
			// Firmware without Secure Boot has no such variable; an empty or
			// absent efivarfs says nothing.
			if names, _ := r.Names(efivars); len(names) == 0 {
				f.SecureBoot = SecureBootUnknown
			}
		default:
			f.SecureBoot = SecureBootUnknown
		}
		if v, err := Variable(r, "SetupMode", guidGlobal); err == nil && len(v) == 1 {
			f.SetupMode = v[0] == 1
		}
		if v, err := Variable(r, "MokSBStateRT", guidShim); err == nil && len(v) == 1 {
			f.MokDisable = v[0] == 1
		}
	}
	// "none [integrity] confidentiality": the one in brackets is in force.
	if text := r.Attr("/sys/kernel/security/lockdown"); text != "" {
		if _, rest, ok := strings.Cut(text, "["); ok {
			f.Lockdown, _, _ = strings.Cut(rest, "]")
		}
	}
	f.FIPS = r.Attr("/proc/sys/crypto/fips_enabled") == "1"
	return f
}

// Variable returns the value of an EFI variable without the four bytes of
// attributes that efivarfs puts before it.
func Variable(r *rootfs.Root, name, guid string) ([]byte, error) {
	file := efivars + "/" + name + "-" + guid
	data, err := r.ReadFile(file, maxVariable)
	if err != nil {
		return nil, fmt.Errorf("cannot read the firmware variable %s: %w", name, err)
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("cannot read the firmware variable %s: %w: %d bytes", name, ErrFormat, len(data))
	}
	return data[4:], nil
}

// Entry is one boot entry of the firmware (Boot####).
type Entry struct {
	Number      uint16 `json:"number"`
	Description string `json:"description"`
	Active      bool   `json:"active"`
	PartUUID    string `json:"part_uuid,omitempty"`   // GPT partition GUID, lower case
	Partition   uint32 `json:"partition,omitempty"`   // its number
	File        string `json:"file,omitempty"`        // as written, with backslashes
	DevicePath  string `json:"device_path,omitempty"` // the kinds of its nodes, for people
}

// Manager is the firmware's boot manager.
type Manager struct {
	Order   []uint16 `json:"order"`
	Current int      `json:"current"` // -1 if not known
	Entries []Entry  `json:"entries"` // sorted by number
}

// ReadManager reads BootOrder, BootCurrent and every Boot####. An entry that
// cannot be parsed is in problems; the others are returned.
func ReadManager(r *rootfs.Root) (m Manager, problems []error, err error) {
	m.Current = -1
	if v, verr := Variable(r, "BootOrder", guidGlobal); verr == nil {
		for i := 0; i+1 < len(v); i += 2 {
			m.Order = append(m.Order, binary.LittleEndian.Uint16(v[i:]))
		}
	} else if !errors.Is(verr, fs.ErrNotExist) {
		return m, nil, verr
	}
	if v, verr := Variable(r, "BootCurrent", guidGlobal); verr == nil && len(v) == 2 {
		m.Current = int(binary.LittleEndian.Uint16(v))
	}
	names, err := r.Names(efivars)
	if err != nil {
		return m, nil, err
	}
	for _, n := range names {
		var num uint16
		if len(n) != len("Boot0000-")+len(guidGlobal) || !strings.HasPrefix(n, "Boot") || !strings.HasSuffix(n, "-"+guidGlobal) {
			continue
		}
		if _, serr := fmt.Sscanf(n[4:8], "%04X", &num); serr != nil {
			continue
		}
		v, verr := Variable(r, n[:8], guidGlobal)
		if verr != nil {
			problems = append(problems, verr)
			continue
		}
		e, perr := ParseLoadOption(v)
		if perr != nil {
			problems = append(problems, fmt.Errorf("cannot read the boot entry %s: %w", n[:8], perr))
			continue
		}
		e.Number = num
		m.Entries = append(m.Entries, e)
	}
	sort.Slice(m.Entries, func(i, j int) bool { return m.Entries[i].Number < m.Entries[j].Number })
	return m, problems, nil
}

// ParseLoadOption parses an EFI_LOAD_OPTION (UEFI 2.10, section 3.1.3).
func ParseLoadOption(b []byte) (Entry, error) {
	var e Entry
	if len(b) < 8 {
		return e, fmt.Errorf("%w: load option of %d bytes", ErrFormat, len(b))
	}
	e.Active = binary.LittleEndian.Uint32(b)&1 != 0
	pathLen := int(binary.LittleEndian.Uint16(b[4:]))
	text, n, ok := utf16z(b[6:])
	if !ok {
		return e, fmt.Errorf("%w: description without an end", ErrFormat)
	}
	e.Description = text
	rest := b[6+n:]
	if pathLen > len(rest) {
		return e, fmt.Errorf("%w: device path of %d bytes in %d", ErrFormat, pathLen, len(rest))
	}
	return e, parseDevicePath(rest[:pathLen], &e)
}

// parseDevicePath reads the nodes of a device path (section 10.3). Only the
// hard drive and the file path matter here; others are named.
func parseDevicePath(b []byte, e *Entry) error {
	var kinds []string
	for len(b) > 0 {
		if len(b) < 4 {
			return fmt.Errorf("%w: device path node of %d bytes", ErrFormat, len(b))
		}
		typ, sub, size := b[0], b[1], int(binary.LittleEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			return fmt.Errorf("%w: device path node says %d bytes, %d are left", ErrFormat, size, len(b))
		}
		node := b[4:size]
		b = b[size:]
		switch {
		case typ == 0x7f: // end
			e.DevicePath = strings.Join(kinds, "/")
			return nil
		case typ == 4 && sub == 1: // hard drive
			if len(node) < 38 {
				return fmt.Errorf("%w: hard drive node of %d bytes", ErrFormat, size)
			}
			e.Partition = binary.LittleEndian.Uint32(node)
			if node[37] == 2 { // signature type: GUID
				e.PartUUID = guidString(node[20:36])
			}
			kinds = append(kinds, fmt.Sprintf("HD(%d)", e.Partition))
		case typ == 4 && sub == 4: // file path
			text, _, ok := utf16z(node)
			if !ok {
				return fmt.Errorf("%w: file path without an end", ErrFormat)
			}
			e.File += text
			kinds = append(kinds, "File")
		default:
			kinds = append(kinds, fmt.Sprintf("%d.%d", typ, sub))
		}
	}
	// A path without an end node is what some firmware writes.
	e.DevicePath = strings.Join(kinds, "/")
	return nil
}

// utf16z decodes a NUL-terminated UTF-16LE string and returns the bytes used.
func utf16z(b []byte) (string, int, bool) {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			return string(utf16.Decode(units)), i + 2, true
		}
		units = append(units, u)
	}
	return "", 0, false
}

// guidString writes a GUID of mixed byte order as text, lower case.
func guidString(b []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// Signature list types (section 32.4.1).
const (
	sigX509   = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
	sigSHA256 = "c1c41626-504c-4092-aca9-41f936934328"

	// Digests of a certificate's signed part, with the time of revocation behind them.
	sigX509SHA256 = "3bd2a492-96c0-4079-b420-fcf98ef103ed"
	sigX509SHA384 = "7076876e-80c2-4ee6-aad2-28b349a6865b"
	sigX509SHA512 = "446dbf63-2502-4cda-bcfa-2465d2b0fe9d"
)

// Trust is what one variable of certificates and hashes holds.
type Trust struct {
	Source       string // db, MokListRT
	Certificates []*x509.Certificate
	Raw          [][]byte // every X.509 signature as it stands, readable or not
	Hashes       int      // SHA-256 hashes of binaries
	TBS          [][]byte // SHA-2 hashes of certificates' signed parts
	Other        int      // signatures of other types
}

// Holds tells whether a certificate is listed, whole or by its digest.
func (t *Trust) Holds(c *x509.Certificate) bool {
	if slices.ContainsFunc(t.Raw, func(raw []byte) bool { return bytes.Equal(raw, c.Raw) }) {
		return true
	}
	s256, s384, s512 := sha256.Sum256(c.RawTBSCertificate), sha512.Sum384(c.RawTBSCertificate), sha512.Sum512(c.RawTBSCertificate)
	return slices.ContainsFunc(t.TBS, func(h []byte) bool {
		return bytes.Equal(h, s256[:]) || bytes.Equal(h, s384[:]) || bytes.Equal(h, s512[:])
	})
}

// ReadTrust reads the keys that the firmware (db) and shim (MokListRT) accept.
// A variable that does not exist is left out.
func ReadTrust(r *rootfs.Root) ([]Trust, error) {
	return readLists(r, variable{"db", guidSecurity}, variable{"MokListRT", guidShim})
}

// ReadRevoked reads the keys that the firmware (dbx) and shim (MokListXRT)
// refuse, whatever the lists of ReadTrust hold. A variable that does not exist
// is left out.
func ReadRevoked(r *rootfs.Root) ([]Trust, error) {
	return readLists(r, variable{"dbx", guidSecurity}, variable{"MokListXRT", guidShim})
}

type variable struct{ name, guid string }

func readLists(r *rootfs.Root, variables ...variable) ([]Trust, error) {
	var all []Trust
	for _, v := range variables {
		data, err := Variable(r, v.name, v.guid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		t, err := ParseSignatureLists(data)
		if err != nil {
			return all, fmt.Errorf("cannot read the firmware variable %s: %w", v.name, err)
		}
		t.Source = v.name
		all = append(all, t)
	}
	return all, nil
}

// ParseSignatureLists parses a sequence of EFI_SIGNATURE_LIST. A certificate
// that Go cannot parse is kept in Raw.
func ParseSignatureLists(b []byte) (Trust, error) {
	var t Trust
	for len(b) > 0 {
		if len(b) < 28 {
			return t, fmt.Errorf("%w: signature list of %d bytes", ErrFormat, len(b))
		}
		kind := guidString(b[:16])
		listSize := int64(binary.LittleEndian.Uint32(b[16:]))
		headSize := int64(binary.LittleEndian.Uint32(b[20:]))
		sigSize := int64(binary.LittleEndian.Uint32(b[24:]))
		if listSize < 28+headSize || listSize > int64(len(b)) || sigSize < 16 || (listSize-28-headSize)%sigSize != 0 {
			return t, fmt.Errorf("%w: signature list of %d bytes with entries of %d", ErrFormat, listSize, sigSize)
		}
		for s := b[28+headSize : listSize]; len(s) > 0; s = s[sigSize:] {
			body := s[16:sigSize] // after the owner's GUID
			switch kind {
			case sigX509:
				t.Raw = append(t.Raw, bytes.Clone(body))
				if c, err := x509.ParseCertificate(body); err == nil {
					t.Certificates = append(t.Certificates, c)
				}
			case sigSHA256:
				t.Hashes++
			case sigX509SHA256, sigX509SHA384, sigX509SHA512:
				if n := map[string]int{sigX509SHA256: 32, sigX509SHA384: 48, sigX509SHA512: 64}[kind]; len(body) >= n {
					t.TBS = append(t.TBS, bytes.Clone(body[:n]))
				}
			default:
				t.Other++
			}
		}
		b = b[listSize:]
	}
	return t, nil
}
