// Package luks reads the headers of LUKS volumes: which passphrases, TPMs and
// servers unlock them, without any key. It writes nothing and asks no kernel.
package luks

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
)

// What a reader may meet.
var (
	ErrNotLUKS = errors.New("not a LUKS volume")
	ErrCorrupt = errors.New("damaged LUKS header")
)

// Header is what a volume's header says about unlocking it.
type Header struct {
	Version  int     `json:"version"` // 1 or 2
	UUID     string  `json:"uuid,omitempty"`
	Label    string  `json:"label,omitempty"`
	Keyslots []int   `json:"keyslots"`         // numbers of those in use
	Tokens   []Token `json:"tokens,omitempty"` // in the order of their numbers
}

// Token says how a keyslot's passphrase is had without a person.
type Token struct {
	Type     string   `json:"type"` // clevis, systemd-tpm2, systemd-fido2, systemd-recovery, ...
	Keyslots []int    `json:"keyslots,omitempty"`
	Unlock   []Unlock `json:"unlock,omitempty"`  // what has to agree; empty where that is not known
	Problem  string   `json:"problem,omitempty"` // why Unlock is not known
}

// Unlock is one way to a passphrase. Of a clevis policy of several (sss) each
// part is one.
type Unlock struct {
	Kind   string `json:"kind"`             // tpm2, tang, or the name of another clevis pin
	PCRs   []int  `json:"pcrs,omitempty"`   // registers whose values are bound
	Bank   string `json:"bank,omitempty"`   // digest of the registers: sha256, sha1
	Signed []int  `json:"signed,omitempty"` // registers whose values a key vouches for, which may change
	PIN    bool   `json:"pin,omitempty"`    // a person types a PIN as well
	URL    string `json:"url,omitempty"`    // of a Tang server
	OneOf  int    `json:"one_of,omitempty"` // the policy has so many parts
	Needed int    `json:"needed,omitempty"` // and needs so many of them
}

// Keyless lists the keyslots that no token of a machine's opens: a person's
// passphrases and recovery keys.
func (h *Header) Keyless() []int {
	var out []int
	for _, k := range h.Keyslots {
		if !slices.ContainsFunc(h.Tokens, func(t Token) bool { return t.Type != "systemd-recovery" && slices.Contains(t.Keyslots, k) }) {
			out = append(out, k)
		}
	}
	return out
}

// The formats: cryptsetup's docs/on-disk-format-luks2.pdf and its predecessor
// for LUKS1. All numbers are big endian.
const (
	magic       = "LUKS\xba\xbe"
	magicSecond = "SKUL\xba\xbe"
	binarySize  = 4096
	maxHeader   = 4 << 20 // the largest area of LUKS2
	maxTokens   = 32
)

// Read reads the header at the start of a volume, at most 4 MiB. Errors wrap
// ErrNotLUKS or ErrCorrupt, or are those of r.
func Read(r io.ReaderAt) (*Header, error) {
	b, err := readAt(r, 0, binarySize)
	if err != nil {
		return nil, err
	}
	if len(b) < 8 || string(b[:6]) != magic {
		// The first copy of a LUKS2 header may be gone; the second is at one of
		// the sizes that an area can have.
		for size := int64(16 << 10); size <= maxHeader; size *= 2 {
			second, err := readAt(r, size, binarySize)
			if err != nil {
				return nil, err
			}
			if len(second) == binarySize && string(second[:6]) == magicSecond {
				return readSecond(r, second, size)
			}
		}
		return nil, ErrNotLUKS
	}
	switch v := binary.BigEndian.Uint16(b[6:]); v {
	case 1:
		return readV1(r, b)
	case 2:
		h, err := readV2(r, b, 0)
		if !errors.Is(err, ErrCorrupt) {
			return h, err
		}
		if size := binary.BigEndian.Uint64(b[8:]); size <= maxHeader && size >= 16<<10 {
			if second, err2 := readAt(r, int64(size), binarySize); err2 == nil && len(second) == binarySize && string(second[:6]) == magicSecond {
				if h, err2 := readSecond(r, second, int64(size)); err2 == nil {
					return h, nil
				}
			}
		}
		return nil, err
	default:
		return nil, corrupt("version %d", v)
	}
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// readAt returns what there is of n bytes.
func readAt(r io.ReaderAt, at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := r.ReadAt(b, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read the LUKS header: %w", err)
	}
	return b[:got], nil
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// ---- version 2 ----------------------------------------------------------------------

func readSecond(r io.ReaderAt, b []byte, at int64) (*Header, error) {
	if v := binary.BigEndian.Uint16(b[6:]); v != 2 {
		return nil, corrupt("second header of version %d", v)
	}
	return readV2(r, b, at)
}

func readV2(r io.ReaderAt, b []byte, at int64) (*Header, error) {
	if len(b) < binarySize {
		return nil, corrupt("header of %d bytes", len(b))
	}
	size := binary.BigEndian.Uint64(b[8:])
	if size < 16<<10 || size > maxHeader || size&(size-1) != 0 {
		return nil, corrupt("header area of %d bytes", size)
	}
	if off := binary.BigEndian.Uint64(b[256:]); off != uint64(at) {
		return nil, corrupt("a header for offset %d at offset %d", off, at)
	}
	whole, err := readAt(r, at, int(size))
	if err != nil {
		return nil, err
	}
	if uint64(len(whole)) < size {
		return nil, corrupt("%d of %d bytes", len(whole), size)
	}
	var sum hash.Hash
	switch alg := text(b[72:104]); alg {
	case "sha256":
		sum = sha256.New()
	case "sha512":
		sum = sha512.New()
	case "sha1":
		sum = sha1.New()
	default:
		return nil, corrupt("checksum %q", clip(alg))
	}
	const sumAt = 448
	stored := bytes.Clone(whole[sumAt : sumAt+sum.Size()])
	clear(whole[sumAt : sumAt+64])
	sum.Write(whole)
	if !bytes.Equal(stored, sum.Sum(nil)) {
		return nil, corrupt("its checksum is wrong")
	}
	h := &Header{Version: 2, Label: text(b[24:72]), UUID: text(b[168:208]), Keyslots: []int{}}
	area := whole[binarySize:]
	if i := bytes.IndexByte(area, 0); i >= 0 {
		area = area[:i]
	}
	return h, h.parse(area)
}

// parse reads the JSON area.
func (h *Header) parse(area []byte) error {
	var doc struct {
		Keyslots map[string]json.RawMessage `json:"keyslots"`
		Tokens   map[string]json.RawMessage `json:"tokens"`
	}
	if err := json.Unmarshal(area, &doc); err != nil {
		return corrupt("metadata: %v", err)
	}
	if len(doc.Keyslots) > maxTokens || len(doc.Tokens) > maxTokens {
		return corrupt("%d keyslots, %d tokens", len(doc.Keyslots), len(doc.Tokens))
	}
	for n := range doc.Keyslots {
		k, err := strconv.Atoi(n)
		if err != nil || k < 0 {
			return corrupt("keyslot %q", clip(n))
		}
		h.Keyslots = append(h.Keyslots, k)
	}
	slices.Sort(h.Keyslots)
	var ids []int
	for n := range doc.Tokens {
		k, err := strconv.Atoi(n)
		if err != nil || k < 0 {
			return corrupt("token %q", clip(n))
		}
		ids = append(ids, k)
	}
	slices.Sort(ids)
	for _, id := range ids {
		t, err := parseToken(doc.Tokens[strconv.Itoa(id)])
		if err != nil {
			return corrupt("token %d: %v", id, err)
		}
		h.Tokens = append(h.Tokens, t)
	}
	return nil
}

func parseToken(data []byte) (Token, error) {
	var x struct {
		Type     string          `json:"type"`
		Keyslots []string        `json:"keyslots"`
		JWE      json.RawMessage `json:"jwe"`
		// systemd-tpm2 (systemd's src/shared/tpm2-util.c)
		PCRs       pcrList `json:"tpm2-pcrs"`
		Bank       string  `json:"tpm2-pcr-bank"`
		PIN        bool    `json:"tpm2-pin"`
		SignedPCRs pcrList `json:"tpm2_pubkey_pcrs"`
	}
	if err := json.Unmarshal(data, &x); err != nil {
		return Token{}, err
	}
	t := Token{Type: x.Type}
	for _, s := range x.Keyslots {
		k, err := strconv.Atoi(s)
		if err != nil {
			return Token{}, fmt.Errorf("keyslot %q", clip(s))
		}
		t.Keyslots = append(t.Keyslots, k)
	}
	switch x.Type {
	case "systemd-tpm2":
		t.Unlock = []Unlock{{Kind: "tpm2", PCRs: x.PCRs, Bank: x.Bank, Signed: x.SignedPCRs, PIN: x.PIN}}
	case "clevis":
		var jwe struct {
			Protected string `json:"protected"`
		}
		if err := json.Unmarshal(x.JWE, &jwe); err != nil {
			t.Problem = "its JWE: " + err.Error()
			break
		}
		t.fill(jwe.Protected)
	}
	return t, nil
}

// ---- version 1 ----------------------------------------------------------------------

// readV1 reads LUKS1: eight keyslots, and between them and the data the area
// where clevis keeps what a token of LUKS2 has (LUKSMETA).
func readV1(r io.ReaderAt, b []byte) (*Header, error) {
	const headerSize = 592
	if len(b) < headerSize {
		return nil, corrupt("header of %d bytes", len(b))
	}
	h := &Header{Version: 1, UUID: text(b[168:208]), Keyslots: []int{}}
	keyBytes := uint64(binary.BigEndian.Uint32(b[108:]))
	payload := uint64(binary.BigEndian.Uint32(b[104:])) * 512
	end := uint64(0)
	for i := range 8 {
		s := b[208+48*i:]
		switch binary.BigEndian.Uint32(s) {
		case 0x00ac71f3:
			h.Keyslots = append(h.Keyslots, i)
		case 0x0000dead:
		default:
			return nil, corrupt("keyslot %d is neither on nor off", i)
		}
		end = max(end, uint64(binary.BigEndian.Uint32(s[40:]))*512+keyBytes*uint64(binary.BigEndian.Uint32(s[44:])))
	}
	const align = 4096
	hole := (end + align - 1) / align * align
	if hole > maxHeader || payload != 0 && hole >= payload {
		return h, nil // no room, so nothing is there
	}
	limit := uint64(maxHeader)
	if payload != 0 {
		limit = min(limit, payload-hole)
	}
	return h, h.luksmeta(r, int64(hole), int64(limit))
}

// clevisSlot marks a slot of LUKSMETA as clevis's.
const clevisSlot = "\xcb\x6e\x89\x04\x81\xff\x40\xda\xa8\x4a\x07\xab\x9a\xb5\x71\x5e"

// luksmeta reads the area of libluksmeta: magic, version, checksum, and for
// each keyslot the UUID of who wrote there, offset, length and checksum.
func (h *Header) luksmeta(r io.ReaderAt, at, limit int64) error {
	b, err := readAt(r, at, 16+8*32)
	if err != nil || len(b) < 16+8*32 || string(b[:8]) != "LUKSMETA" {
		return err
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != 1 {
		return corrupt("LUKSMETA of version %d", v)
	}
	for i := range 8 {
		s := b[16+32*i:]
		off, n := int64(binary.BigEndian.Uint32(s[16:])), int64(binary.BigEndian.Uint32(s[20:]))
		if string(s[:16]) != clevisSlot || n == 0 {
			continue
		}
		if off > limit || n > limit-off || n > 1<<20 {
			return corrupt("LUKSMETA slot %d of %d bytes at %d", i, n, off)
		}
		data, err := readAt(r, at+off, int(n))
		if err != nil {
			return err
		}
		t := Token{Type: "clevis", Keyslots: []int{i}}
		protected, _, _ := strings.Cut(string(data), ".")
		t.fill(protected)
		h.Tokens = append(h.Tokens, t)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return s
}
