package repack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/rpmpack"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// hook is a Compressor for tests.
type hook struct {
	find     func()
	compress func(in io.Reader, out io.Writer) error
}

func (h hook) Find(string) error {
	if h.find != nil {
		h.find()
	}
	return nil
}

func (h hook) Compress(_ context.Context, _, _ string, in io.Reader, out io.Writer) error {
	return h.compress(in, out)
}

func passOn(in io.Reader, out io.Writer) error {
	_, err := io.Copy(out, in)
	return err
}

type fullDisk struct{ left int }

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestFailuresAreErrors(t *testing.T) {
	root := newRoot(t)
	mustRPM(t, root, append(slices.Clone(install), build(t, kinds, "1.0", "w2.xzdio"))...)
	h := headers(t, root)["kinds-3:1.0-1.x86_64"]
	r, err := rootfs.Open(root)
	must(t, err)
	defer r.Close()
	broken := errors.New("broken")
	host := repack.NewHostCompressor("/")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	file := root + "/usr/lib/kinds/random"
	content, err := os.ReadFile(file)
	must(t, err)

	for name, c := range map[string]struct {
		ctx  context.Context
		w    io.Writer
		opt  repack.Options
		want error
	}{
		"full disk":                          {t.Context(), &fullDisk{100 << 10}, repack.Options{}, syscall.ENOSPC},
		"full disk, compressed by a program": {t.Context(), &fullDisk{100 << 10}, repack.Options{Compressor: host}, syscall.ENOSPC},
		"full disk in the header":            {t.Context(), &fullDisk{200}, repack.Options{Compressor: host}, syscall.ENOSPC},
		"cancelled":                          {cancelled, io.Discard, repack.Options{}, context.Canceled},
		"cancelled, with a program":          {cancelled, io.Discard, repack.Options{Compressor: host}, context.Canceled},
		"a compressor that fails at once":    {t.Context(), io.Discard, repack.Options{Compressor: hook{compress: func(io.Reader, io.Writer) error { return broken }}}, broken},
		"a compressor that fails at the end": {t.Context(), io.Discard, repack.Options{Compressor: hook{compress: func(in io.Reader, out io.Writer) error {
			_ = passOn(in, out)
			return broken
		}}}, broken},
		"a file that changes": {t.Context(), io.Discard, repack.Options{Compressor: hook{compress: passOn, find: func() {
			must(t, os.WriteFile(file, bytes.Repeat([]byte("x"), len(content)), 0o600))
		}}}, repack.ErrChanged},
		"a file that shrinks": {t.Context(), io.Discard, repack.Options{Compressor: hook{compress: passOn, find: func() {
			must(t, os.Truncate(file, 5))
		}}}, repack.ErrChanged},
	} {
		if rep, err := repack.Write(c.ctx, c.w, r, h, c.opt); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v (%+v)", name, err, c.want, rep)
		}
		must(t, os.WriteFile(file, content, 0o600))
	}
}

// A database holds headers that nothing is known of but what they say: rebuilt without a single file on disk, header and
// signature must be those of the distribution.
func TestHeadersOfBerkeleyDatabases(t *testing.T) {
	dir := realdata.Dir(t)
	r, err := rootfs.Open(t.TempDir())
	must(t, err)
	defer r.Close()
	for _, name := range []string{"go-rpmdb-centos7-plain.Packages.xz", "go-rpmdb-centos8-modularitylabel.Packages.xz", "go-rpmdb-ubi8-s390x.Packages.xz"} {
		f, err := os.Open(filepath.Join(dir, "rpmdb", name))
		must(t, err)
		x, err := xz.NewReader(f)
		must(t, err)
		data, err := io.ReadAll(x)
		must(t, err)
		f.Close()
		file := filepath.Join(t.TempDir(), "Packages")
		must(t, os.WriteFile(file, data, 0o600))
		db, err := rpmdb.OpenFile(file, "bdb")
		must(t, err)
		n := 0
		for row, err := range db.Rows() {
			must(t, err)
			h := row.Header
			rep, err := repack.Inspect(r, h)
			if errors.Is(err, repack.ErrUnsupported) {
				if h.NEVRA().Name != "gpg-pubkey" {
					t.Errorf("%s: %v", h.NEVRA(), err)
				}
				continue
			}
			must(t, err)
			if rep.ContentSize > 1<<20 { // keeps the test short
				continue
			}
			n++
			var out bytes.Buffer
			if rep, err = repack.Write(t.Context(), &out, r, h, repack.Options{Placeholders: true}); err != nil {
				t.Errorf("%s: %v", h.NEVRA(), err)
				continue
			}
			again, err := rpmfile.Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
			must(t, err)
			a, err := h.Immutable()
			must(t, err)
			b, err := again.Header().Immutable()
			must(t, err)
			if !bytes.Equal(a, b) {
				t.Errorf("%s: another header", h.NEVRA())
			}
			if err := again.Header().VerifyDigestsOf(again.Signature()); err != nil {
				t.Errorf("%s: %v", h.NEVRA(), err)
			}
			ring := rpmsig.NewKeyring()
			want, got := rpmsig.VerifyHeader(h, ring), rpmsig.VerifyHeaderWith(again.Header(), again.Signature(), ring)
			if want.Status != got.Status || want.KeyID != got.KeyID {
				t.Errorf("%s: signature %+v, want %+v", h.NEVRA(), got, want)
			}
			files := 0
			for e, err := range again.Payload(0) {
				must(t, err)
				if _, err := io.Copy(io.Discard, e); err != nil {
					t.Errorf("%s: %v", h.NEVRA(), err)
				}
				files++
			}
			if files != rep.Packed {
				t.Errorf("%s: %d files in the archive, %d by the report", h.NEVRA(), files, rep.Packed)
			}
		}
		must(t, db.Close())
		t.Logf("%s: %d packages", name, n)
		if n < 50 {
			t.Errorf("%s: only %d packages", name, n)
		}
	}
}

func FuzzInspect(f *testing.F) {
	p, err := rpmpack.NewRPM(rpmpack.RPMMetaData{Name: "seed", Version: "1", Release: "1", Arch: "noarch"})
	if err != nil {
		f.Fatal(err)
	}
	p.AddFile(rpmpack.RPMFile{Name: "/etc/seed", Body: []byte("seed"), Mode: 0o644, Type: rpmpack.ConfigFile})
	p.AddFile(rpmpack.RPMFile{Name: "/usr/bin/seed", Body: []byte("/etc/seed"), Mode: 0o120777})
	var seed bytes.Buffer
	if err := p.Write(&seed); err != nil {
		f.Fatal(err)
	}
	file, err := rpmfile.Open(bytes.NewReader(seed.Bytes()), int64(seed.Len()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file.Header().Raw())
	root, err := rootfs.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := rpmhdr.Parse(data)
		if err != nil {
			return
		}
		rep, err := repack.Inspect(root, h)
		if err != nil || rep.ContentSize > 1<<16 {
			return
		}
		var out bytes.Buffer
		if _, err := repack.Write(context.Background(), &out, root, h, repack.Options{Placeholders: true}); err != nil {
			return
		}
		again, err := rpmfile.Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		a, _ := h.Immutable()
		b, _ := again.Header().Immutable()
		if !bytes.Equal(a, b) {
			t.Fatal("another header")
		}
	})
}
