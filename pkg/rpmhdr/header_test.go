package rpmhdr_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/rpmpack"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// value is one entry of a header under construction.
type value struct {
	tag   rpmhdr.Tag
	typ   rpmhdr.Type
	count int
	data  []byte
}

func str(t rpmhdr.Tag, s string) value {
	return value{t, rpmhdr.TypeString, 1, []byte(s + "\x00")}
}

func strs(t rpmhdr.Tag, list ...string) value {
	v := value{tag: t, typ: rpmhdr.TypeStringArray, count: len(list)}
	for _, s := range list {
		v.data = append(v.data, s+"\x00"...)
	}
	return v
}

func u32s(t rpmhdr.Tag, list ...uint32) value {
	v := value{tag: t, typ: rpmhdr.TypeInt32, count: len(list)}
	for _, n := range list {
		v.data = binary.BigEndian.AppendUint32(v.data, n)
	}
	return v
}

// build lays a header out: region entries under a region tag (none if 0), then
// the others behind it.
func build(region rpmhdr.Tag, in, behind []value) []byte {
	var index, data []byte
	add := func(v value) {
		if size := map[rpmhdr.Type]int{rpmhdr.TypeInt16: 2, rpmhdr.TypeInt32: 4, rpmhdr.TypeInt64: 8}[v.typ]; size > 0 {
			for len(data)%size != 0 {
				data = append(data, 0)
			}
		}
		for _, n := range []uint32{uint32(v.tag), uint32(v.typ), uint32(len(data)), uint32(v.count)} {
			index = binary.BigEndian.AppendUint32(index, n)
		}
		data = append(data, v.data...)
	}
	for _, v := range in {
		add(v)
	}
	if region != 0 {
		var e []byte
		for _, n := range []uint32{uint32(region), 7, uint32(len(data)), 16} {
			e = binary.BigEndian.AppendUint32(e, n)
		}
		index = append(e, index...)
		for _, n := range []uint32{uint32(region), 7, uint32(-len(index)), 16} {
			data = binary.BigEndian.AppendUint32(data, n)
		}
	}
	for _, v := range behind {
		add(v)
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(len(index)/16))
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	return append(append(out, index...), data...)
}

func parse(t testing.TB, blob []byte) *rpmhdr.Header {
	t.Helper()
	h, err := rpmhdr.Parse(blob)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func sample() []byte {
	return build(rpmhdr.TagHeaderImmutable, []value{
		strs(rpmhdr.TagI18NTable, "C", "de"),
		str(rpmhdr.TagName, "demo"),
		str(rpmhdr.TagVersion, "1.2"),
		str(rpmhdr.TagRelease, "3.el8"),
		u32s(rpmhdr.TagEpoch, 7),
		{rpmhdr.TagSummary, rpmhdr.TypeI18NString, 2, []byte("a demo\x00eine Probe\x00")},
		str(rpmhdr.TagArch, "x86_64"),
		{rpmhdr.TagFileModes, rpmhdr.TypeInt16, 3, []byte{0x81, 0xa4, 0x81, 0xed, 0x41, 0xed}},
		strs(rpmhdr.TagRequireName, "libc.so.6", "bash", "(a if b)"),
		u32s(rpmhdr.TagRequireFlags, 0, 0x0c, 1<<27),
		strs(rpmhdr.TagRequireVersion, "", "2:4.4-1", ""),
		u32s(rpmhdr.TagDirIndexes, 0, 1, 1),
		strs(rpmhdr.TagBasenames, "demo", "a", "b"),
		strs(rpmhdr.TagDirNames, "/usr/bin/", "/usr/share/demo/"),
		{rpmhdr.TagLongFileSizes, rpmhdr.TypeInt64, 1, []byte{0, 0, 0, 2, 0, 0, 0, 1}},
	}, []value{
		u32s(rpmhdr.TagInstallTime, 1700000000),
		{rpmhdr.TagFileStates, rpmhdr.TypeChar, 3, []byte{0, 0, 1}},
		{rpmhdr.TagSigMD5, rpmhdr.TypeBin, 4, []byte{0xde, 0xad, 0xbe, 0xef}},
	})
}

func TestAccessors(t *testing.T) {
	h := parse(t, sample())
	want := rpmver.NEVRA{Name: "demo", EVR: rpmver.EVR{Epoch: 7, Version: "1.2", Release: "3.el8"}, Arch: "x86_64"}
	if d := cmp.Diff(want, h.NEVRA()); d != "" {
		t.Errorf("NEVRA: %s", d)
	}
	if got := h.String(rpmhdr.TagSummary); got != "a demo" {
		t.Errorf("summary in the first locale: %q", got)
	}
	if d := cmp.Diff([]string{"a demo", "eine Probe"}, h.Strings(rpmhdr.TagSummary)); d != "" {
		t.Errorf("all locales: %s", d)
	}
	if d := cmp.Diff([]uint16{0x81a4, 0x81ed, 0x41ed}, h.Uint16s(rpmhdr.TagFileModes)); d != "" {
		t.Errorf("modes: %s", d)
	}
	if d := cmp.Diff([]uint64{2<<32 + 1}, h.Uint64s(rpmhdr.TagLongFileSizes)); d != "" {
		t.Errorf("64-bit: %s", d)
	}
	if d := cmp.Diff([]uint64{1700000000}, h.Uint64s(rpmhdr.TagInstallTime)); d != "" {
		t.Errorf("32-bit widened: %s", d)
	}
	if h.Uint32s(rpmhdr.TagLongFileSizes) != nil || h.Uint32s(rpmhdr.TagName) != nil || h.Strings(rpmhdr.TagEpoch) != nil {
		t.Error("an entry of another type must give nothing")
	}
	if d := cmp.Diff([]byte{0xde, 0xad, 0xbe, 0xef}, h.Bytes(rpmhdr.TagSigMD5)); d != "" {
		t.Errorf("bytes: %s", d)
	}
	if h.Has(rpmhdr.TagVendor) || h.String(rpmhdr.TagVendor) != "" || h.Strings(rpmhdr.TagVendor) != nil {
		t.Error("an absent tag must be absent")
	}
	deps, err := h.Deps(rpmhdr.Requires)
	wantDeps := []rpmver.Dep{
		{Name: "libc.so.6"},
		{Name: "bash", Flags: 0x0c, EVR: rpmver.EVR{Epoch: 2, Version: "4.4", Release: "1"}},
		{Name: "(a if b)", Flags: 1 << 27},
	}
	if d := cmp.Diff(wantDeps, deps); err != nil || d != "" {
		t.Errorf("requires: %v %s", err, d)
	}
	if deps, err := h.Deps(rpmhdr.Conflicts); err != nil || deps != nil {
		t.Errorf("no conflicts: %v %v", deps, err)
	}
	if d := cmp.Diff([]string{"/usr/bin/demo", "/usr/share/demo/a", "/usr/share/demo/b"}, slices.Collect(h.Files())); d != "" {
		t.Errorf("files: %s", d)
	}
}

func TestEntryBehindRegionReplaces(t *testing.T) {
	h := parse(t, build(rpmhdr.TagHeaderImmutable,
		[]value{str(rpmhdr.TagName, "built")}, []value{str(rpmhdr.TagName, "relocated")}))
	if got := h.String(rpmhdr.TagName); got != "relocated" {
		t.Errorf("name is %q", got)
	}
}

func TestWithoutRegion(t *testing.T) {
	h := parse(t, build(0, []value{
		str(rpmhdr.TagName, "old"),
		strs(rpmhdr.TagOldFilenames, "/etc/a", "/etc/b", "/usr/c"),
		strs(rpmhdr.TagProvideName, "old", "ancient"),
	}, nil))
	if _, err := h.Immutable(); !errors.Is(err, rpmhdr.ErrNoRegion) {
		t.Errorf("Immutable: %v", err)
	}
	if err := h.VerifyDigests(); !errors.Is(err, rpmhdr.ErrNoDigest) {
		t.Errorf("VerifyDigests: %v", err)
	}
	dirs, idx, base, err := h.FilePaths()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{[]string{"/etc/", "/usr/"}, []uint32{0, 0, 1}, []string{"a", "b", "c"}}, []any{dirs, idx, base}); d != "" {
		t.Error(d)
	}
	deps, err := h.Deps(rpmhdr.Provides)
	if d := cmp.Diff([]rpmver.Dep{{Name: "old"}, {Name: "ancient"}}, deps); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
}

// patch returns the sample with a 32-bit word replaced.
func patch(at int, word uint32) []byte {
	b := sample()
	binary.BigEndian.PutUint32(b[at:], word)
	return b
}

func TestParseRefuses(t *testing.T) {
	good := sample()
	nameEntry := 8 + 2*16 // the third: region, locales, name
	for name, blob := range map[string][]byte{
		"nothing":                 nil,
		"no entries":              patch(0, 0),
		"too many entries":        patch(0, 0x10000),
		"too much data":           patch(4, 256<<20+1),
		"one byte short":          good[:len(good)-1],
		"one byte more":           append(slices.Clone(good), 0),
		"unknown type":            patch(nameEntry+4, 10),
		"offset outside":          patch(nameEntry+8, 1<<20),
		"negative offset":         patch(nameEntry+8, 0xfffffff0),
		"no elements":             patch(nameEntry+12, 0),
		"one string, twice":       patch(nameEntry+12, 2),
		"unaligned":               patch(8+5*16+8, 2+4*5+1),
		"int array too long":      patch(8+5*16+12, 1<<24),
		"string array too long":   patch(8+13*16+12, 1<<16),
		"region of wrong type":    patch(8+4, 8),
		"region trailer outside":  patch(8+8, uint32(len(good))),
		"region trailer mistaken": patch(8+8, 0),
		"string does not end": build(0, []value{
			{rpmhdr.TagName, rpmhdr.TypeString, 1, []byte("demo")}}, nil),
	} {
		if _, err := rpmhdr.Parse(blob); !errors.Is(err, rpmhdr.ErrCorrupt) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestListsMustBelongTogether(t *testing.T) {
	h := parse(t, build(0, []value{
		strs(rpmhdr.TagRequireName, "a", "b"), u32s(rpmhdr.TagRequireFlags, 0), strs(rpmhdr.TagRequireVersion, "", ""),
		strs(rpmhdr.TagBasenames, "x"), u32s(rpmhdr.TagDirIndexes, 1), strs(rpmhdr.TagDirNames, "/"),
	}, nil))
	if _, err := h.Deps(rpmhdr.Requires); !errors.Is(err, rpmhdr.ErrCorrupt) {
		t.Errorf("Deps: %v", err)
	}
	if _, _, _, err := h.FilePaths(); !errors.Is(err, rpmhdr.ErrCorrupt) {
		t.Errorf("FilePaths: %v", err)
	}
}

// TestOverlapIsBounded parses a header whose entries all cover the same bytes:
// without a bound that would take hours.
func TestOverlapIsBounded(t *testing.T) {
	const il, dl = 0xffff, 4 << 20
	b := binary.BigEndian.AppendUint32(nil, il)
	b = binary.BigEndian.AppendUint32(b, dl)
	for i := range uint32(il) {
		for _, n := range []uint32{1000 + i, uint32(rpmhdr.TypeString), 0, 1} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
	}
	b = append(b, bytes.Repeat([]byte{'x'}, dl-1)...)
	b = append(b, 0)
	if _, err := rpmhdr.Parse(b); !errors.Is(err, rpmhdr.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

// rpmFile makes a package file with rpmpack, which knows nothing of this code.
func rpmFile(t testing.TB) []byte {
	t.Helper()
	r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
		Name: "demo", Version: "1", Release: "2", Arch: "noarch", Summary: "s", Description: "d", OS: "linux", Compressor: "gzip",
		Provides:  rpmpack.Relations{{Name: "demo-feature", Version: "3", Sense: rpmpack.SenseEqual}},
		Obsoletes: rpmpack.Relations{{Name: "old-demo", Version: "1", Sense: rpmpack.SenseLess}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.AddFile(rpmpack.RPMFile{Name: "/etc/demo.conf", Body: []byte("x\n"), Mode: 0o100644, Owner: "root", Group: "root"})
	r.AddFile(rpmpack.RPMFile{Name: "/usr/share/demo/data", Body: []byte("y\n"), Mode: 0o100644, Owner: "root", Group: "root"})
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// headers reads both headers of a package file: lead of 96 bytes, signature
// header, padding to 8, header.
func headers(t testing.TB, file []byte) (sig, hdr *rpmhdr.Header) {
	t.Helper()
	r := bytes.NewReader(file[96:])
	sig, n, err := rpmhdr.ParseMagic(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Seek((n+7)/8*8, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	hdr, _, err = rpmhdr.ParseMagic(r)
	if err != nil {
		t.Fatal(err)
	}
	return sig, hdr
}

func TestPackageFile(t *testing.T) {
	file := rpmFile(t)
	sig, hdr := headers(t, file)
	if got := hdr.NEVRA().String(); got != "demo-1-2.noarch" {
		t.Errorf("NEVRA %s", got)
	}
	if d := cmp.Diff([]string{"/etc/demo.conf", "/usr/share/demo/data"}, slices.Collect(hdr.Files())); d != "" {
		t.Error(d)
	}
	if err := hdr.VerifyDigestsOf(sig); err != nil {
		t.Error(err)
	}
	raw, err := hdr.Immutable()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, raw) {
		t.Error("Immutable is not what the file holds")
	}

	at := bytes.Index(file, []byte("demo-feature"))
	file[at] = 'D'
	sig, hdr = headers(t, file)
	if err := hdr.VerifyDigestsOf(sig); !errors.Is(err, rpmhdr.ErrDigest) {
		t.Errorf("an altered header: %v", err)
	}
}

func TestParseMagicRefuses(t *testing.T) {
	file := append([]byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}, sample()...)
	h, n, err := rpmhdr.ParseMagic(bytes.NewReader(append(slices.Clone(file), "payload"...)))
	if err != nil || n != int64(len(file)) || h.String(rpmhdr.TagName) != "demo" {
		t.Fatalf("%v, %d bytes", err, n)
	}
	for cut := range len(file) {
		if _, _, err := rpmhdr.ParseMagic(bytes.NewReader(file[:cut])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	file[0] = 0
	if _, _, err := rpmhdr.ParseMagic(bytes.NewReader(file)); !errors.Is(err, rpmhdr.ErrCorrupt) {
		t.Errorf("no magic: %v", err)
	}
	// 256 MiB claimed, nothing there: must not be allocated.
	huge := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x0f, 0xff, 0xff, 0xff}
	if n := testing.AllocsPerRun(1, func() { rpmhdr.ParseMagic(bytes.NewReader(huge)) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
}
