package rpmhdr_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// FuzzParse: whatever Parse accepts, no accessor may panic on, and the lists
// must have as many elements as the entry claims.
func FuzzParse(f *testing.F) {
	f.Add(sample())
	f.Add(build(0, []value{strs(rpmhdr.TagOldFilenames, "/a", "b", "")}, nil))
	sig, hdr := headers(f, rpmFile(f))
	f.Add(sig.Raw())
	f.Add(hdr.Raw())
	f.Fuzz(func(t *testing.T, blob []byte) {
		h, err := rpmhdr.Parse(blob)
		if err != nil {
			return
		}
		h.NEVRA()
		for k := rpmhdr.Requires; k <= rpmhdr.Enhances; k++ {
			h.Deps(k)
		}
		if dirs, idx, base, err := h.FilePaths(); err == nil {
			if len(idx) != len(base) {
				t.Fatalf("%d indexes, %d names", len(idx), len(base))
			}
			for _, d := range idx {
				_ = dirs[d]
			}
		}
		for range h.Files() {
		}
		for at := 8; at < 8+16*min(200, (len(blob)-8)/16); at += 16 {
			tag := rpmhdr.Tag(uint32(blob[at])<<24 | uint32(blob[at+1])<<16 | uint32(blob[at+2])<<8 | uint32(blob[at+3]))
			if !h.Has(tag) {
				continue
			}
			s := h.Strings(tag)
			if (len(s) > 0) && s[0] != h.String(tag) {
				t.Fatalf("tag %d: String %q, Strings %q", tag, h.String(tag), s)
			}
			h.Bytes(tag)
			h.Uint16s(tag)
			h.Uint32s(tag)
			n, ok := h.Uint64(tag)
			if all := h.Uint64s(tag); ok != (len(all) > 0) || ok && all[0] != n {
				t.Fatalf("tag %d: Uint64 %d %v, Uint64s %v", tag, n, ok, all)
			}
		}
		h.VerifyDigests()
		if raw, err := h.Immutable(); err == nil {
			again, _, err := rpmhdr.ParseMagic(bytes.NewReader(raw))
			if err != nil {
				t.Fatalf("the immutable region alone: %v", err)
			}
			if _, err := again.WriteImmutable(io.Discard); err != nil {
				t.Fatal(err)
			}
		}
	})
}
