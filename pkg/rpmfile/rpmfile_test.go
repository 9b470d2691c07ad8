package rpmfile_test

import (
	"bytes"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/rpmpack"

	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

func open(t testing.TB, data []byte) *rpmfile.File {
	t.Helper()
	f, err := rpmfile.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// pack makes a package with google/rpmpack.
func pack(t testing.TB, compressor string, files ...rpmpack.RPMFile) []byte {
	t.Helper()
	r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
		Name: "demo", Version: "1.0", Release: "1", Arch: "noarch", Summary: "A demo",
		Compressor: compressor, BuildTime: time.Unix(1_700_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		r.AddFile(f)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var demoFiles = []rpmpack.RPMFile{
	{Name: "/etc/demo.conf", Body: []byte("a=1\n"), Mode: 0o100644, Owner: "root", Group: "root"},
	{Name: "/etc/demo.link", Body: []byte("demo.conf"), Mode: 0o120777, Owner: "root", Group: "root"},
	{Name: "/usr/share/demo", Mode: 0o40755, Owner: "root", Group: "root"},
	{Name: "/usr/share/demo/big", Body: bytes.Repeat([]byte("0123456789abcde\n"), 20000), Mode: 0o100755, Owner: "root", Group: "root"},
}

// list gives a line per entry.
func list(f *rpmfile.File) (lines []string, err error) {
	for e, err := range f.Payload(0) {
		if err != nil {
			return lines, err
		}
		sum := md5.New()
		n, err := io.Copy(sum, e)
		if err != nil {
			return lines, err
		}
		lines = append(lines, fmt.Sprintf("%s %o %d %x %s", strings.TrimPrefix(e.Name, "."), e.Mode, n, sum.Sum(nil)[:2], e.Linkname))
	}
	return lines, nil
}

func TestPayloadOfEachCompressor(t *testing.T) {
	var want []string
	for _, c := range []string{"gzip", "gzip:9", "zstd", "xz", "lzma"} {
		f := open(t, pack(t, c, demoFiles...))
		got, err := list(f)
		if err != nil {
			t.Errorf("%s: %v", c, err)
		}
		if want == nil {
			want = got
			if len(got) != 4 || !strings.HasSuffix(got[1], " demo.conf") || !strings.Contains(got[3], "/usr/share/demo/big 100755 320000 ") {
				t.Errorf("%s: %q", c, got)
			}
		} else if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", c, got, want)
		}
		if r, err := f.Verify(nil); err != nil || r.Status != rpmsig.Missing {
			t.Errorf("%s: %+v, %v", c, r, err)
		}
	}
}

// TestEveryByteCounts changes bytes everywhere: nothing that is signed or
// digested may change unnoticed.
func TestEveryByteCounts(t *testing.T) {
	data := pack(t, "gzip", demoFiles[0])
	f := open(t, data)
	start := bytes.Index(data[96+16:], []byte{0x8e, 0xad, 0xe8, 0x01}) + 96 + 16
	end := int64(len(data)) - f.PayloadSize()
	for i := start; i < len(data); i++ {
		if i >= start+4 && i < start+8 {
			continue // reserved bytes of the header's magic
		}
		if i > start+200 && int64(i) < end-200 && i%7 != 0 {
			continue
		}
		changed := slices.Clone(data)
		changed[i] ^= 0x20
		g, err := rpmfile.Open(bytes.NewReader(changed), int64(len(changed)))
		if err != nil {
			if !errors.Is(err, rpmfile.ErrCorrupt) {
				t.Errorf("byte %d: %v wraps no sentinel", i, err)
			}
			continue
		}
		if r, err := g.Verify(nil); err == nil || r.Status == rpmsig.Good {
			t.Errorf("byte %d (header at %d, payload at %d): the change went unnoticed", i, start, end)
		}
	}
	for _, cut := range []int{0, 95, 96, 100, start - 1, start + 20, int(end) - 1, int(end), len(data) - 1} {
		g, err := rpmfile.Open(bytes.NewReader(data[:cut]), int64(cut))
		if err == nil {
			_, err = g.Verify(nil)
		}
		if !errors.Is(err, rpmfile.ErrCorrupt) && !errors.Is(err, rpmfile.ErrDigest) {
			t.Errorf("cut to %d bytes: %v", cut, err)
		}
	}
	if g := open(t, append(slices.Clone(data), 'x')); true {
		if _, err := g.Verify(nil); !errors.Is(err, rpmfile.ErrDigest) {
			t.Errorf("a byte more: %v", err)
		}
	}
	if _, err := rpmfile.Open(bytes.NewReader(make([]byte, 500)), 500); !errors.Is(err, rpmfile.ErrCorrupt) {
		t.Errorf("zeros: %v", err)
	}
}

func TestPayloadCap(t *testing.T) {
	f := open(t, pack(t, "zstd", demoFiles...))
	var last error
	for e, err := range f.Payload(100_000) {
		if err == nil {
			_, err = io.Copy(io.Discard, e)
		}
		last = err
		if err != nil {
			break
		}
	}
	if !errors.Is(last, rpmfile.ErrTooLarge) {
		t.Errorf("320 kB within a cap of 100 kB: %v", last)
	}
	// The caller may stop, and may skip contents.
	n := 0
	for range f.Payload(0) {
		if n++; n == 2 {
			break
		}
	}
	var kept *rpmfile.Entry
	for e, err := range f.Payload(0) {
		if err != nil {
			t.Fatal(err)
		}
		kept = e
		n++
	}
	if n != 6 {
		t.Errorf("%d steps, want 6", n)
	}
	if _, err := kept.Read(make([]byte, 1)); err == nil {
		t.Error("an entry can be read after the iteration")
	}
}

func TestNamesArePassedOn(t *testing.T) {
	f := open(t, pack(t, "gzip", rpmpack.RPMFile{Name: "/../../etc/x", Body: []byte("x"), Mode: 0o100644}))
	got, err := list(f)
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "/../../etc/x") {
		t.Errorf("%q, %v", got, err)
	}
}

// build makes a package with rpmbuild, for what rpmpack cannot do.
func build(t testing.TB, defines []string, files string, install string) []byte {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skipf("SKIPPED: rpmbuild is absent, packages of its making were not tried: %v", err)
	}
	dir := t.TempDir()
	spec := filepath.Join(dir, "t.spec")
	text := "Name: built\nVersion: 2\nRelease: 1\nSummary: built\nLicense: x\nBuildArch: noarch\n%description\nx\n%install\n" + install + "\n%files\n" + files + "\n"
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"-bb", "--quiet", "--define", "_topdir " + dir}
	for _, d := range defines {
		args = append(args, "--define", d)
	}
	cmd := exec.Command("rpmbuild", append(args, spec)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpmbuild: %v\n%s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "RPMS", "noarch", "built-2-1.noarch.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBuiltPackage(t *testing.T) {
	const install = `mkdir -p %{buildroot}/d
echo hello > %{buildroot}/d/a
ln %{buildroot}/d/a %{buildroot}/d/b
ln %{buildroot}/d/a %{buildroot}/d/c
ln -s a %{buildroot}/d/s
: > %{buildroot}/d/empty`
	for _, mode := range []string{"w9.gzdio", "w9.bzdio", "w2.xzdio", "w2.lzdio", "w3.zstdio", "w.ufdio"} {
		t.Run(mode, func(t *testing.T) {
			f := open(t, build(t, []string{"_binary_payload " + mode}, "%dir /d\n/d/*", install))
			if r, err := f.Verify(nil); err != nil || r.Status != rpmsig.Missing {
				t.Errorf("%+v, %v", r, err)
			}
			content, links := 0, 0
			var names []string
			for e, err := range f.Payload(0) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, e.Name)
				b, err := io.ReadAll(e)
				if err != nil {
					t.Fatal(err)
				}
				if string(b) == "hello\n" {
					content++
				}
				if e.Links == 3 {
					links++
				}
				if e.Name == "./d/s" && e.Linkname != "a" {
					t.Errorf("the link leads to %q", e.Linkname)
				}
			}
			slices.Sort(names)
			if want := []string{"./d", "./d/a", "./d/b", "./d/c", "./d/empty", "./d/s"}; !slices.Equal(names, want) || content != 1 || links != 3 {
				t.Errorf("%q, %d contents, %d linked names", names, content, links)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	for _, c := range []string{"gzip", "zstd", "xz", "lzma"} {
		f.Add(pack(f, c, demoFiles[:3]...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := rpmfile.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if !errors.Is(err, rpmfile.ErrCorrupt) {
				t.Errorf("%v wraps no sentinel", err)
			}
			return
		}
		if r, err := p.Verify(nil); err == nil && r.Status == rpmsig.Good {
			t.Error("good without a keyring")
		}
		n := 0
		for e, err := range p.Payload(1 << 20) {
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, e); err != nil {
				return
			}
			if n++; n > 1<<20 {
				t.Fatal("no end")
			}
		}
	})
}

// FuzzPayload gives the archive reader its input without a compressor.
func FuzzPayload(f *testing.F) {
	base := pack(f, "gzip", demoFiles[0])
	head := base[:int64(len(base))-open(f, base).PayloadSize()]
	num := func(v int) string { return fmt.Sprintf("%08X", v) }
	newc := func(name, body string, mode int) string {
		s := "070701" + num(1) + num(mode) + num(0) + num(0) + num(1) + num(0) + num(len(body)) + strings.Repeat(num(0), 4) + num(len(name)+1) + num(0) + name + "\x00"
		s += strings.Repeat("\x00", -len(s)&3) + body
		return s + strings.Repeat("\x00", -len(s)&3)
	}
	f.Add([]byte(newc("./a", "hello", 0o100644) + newc("./l", "a", 0o120777) + newc("TRAILER!!!", "", 0)))
	f.Add([]byte("07070X00000000\x00\x00a=1\n" + newc("TRAILER!!!", "", 0)))
	f.Fuzz(func(t *testing.T, archive []byte) {
		p := open(t, append(slices.Clone(head), archive...))
		total := int64(0)
		for e, err := range p.Payload(1 << 20) {
			if err != nil {
				return
			}
			n, err := io.Copy(io.Discard, e)
			if err == nil && n != e.Size {
				t.Errorf("%q: %d bytes, %d announced", e.Name, n, e.Size)
			}
			if total += n; total > int64(len(archive)) && bytes.HasPrefix(archive, []byte("0707")) {
				t.Errorf("%d bytes out of %d", total, len(archive))
			}
		}
	})
}
