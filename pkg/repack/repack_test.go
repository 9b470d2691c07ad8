package repack_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rpm runs rpm on a scratch root.
func rpm(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	if _, err := hostcmd.Look("/", "rpm"); err != nil {
		t.Skip("skipped: rpm is absent")
	}
	if os.Geteuid() != 0 {
		t.Skip("skipped: installing packages needs root")
	}
	args = append([]string{"--root", root, "--dbpath", "/var/lib/rpm", "--define", "_pkgverify_level digest"}, args...)
	res, err := hostcmd.Run(context.Background(), hostcmd.Cmd{Path: "rpm", Args: args, Timeout: 2 * time.Minute, Kill: hostcmd.KillNow})
	return string(res.Stdout) + string(res.Stderr), err
}

func mustRPM(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := rpm(t, root, args...)
	must(t, err)
	return out
}

var install = []string{"-U", "--force-debian", "--nodeps", "--noscripts", "--notriggers", "--ignorearch", "--ignoreos"}

func headers(t *testing.T, root string) map[string]*rpmhdr.Header {
	t.Helper()
	db, err := rpmdb.Open(root)
	must(t, err)
	defer db.Close()
	out := map[string]*rpmhdr.Header{}
	for row, err := range db.Rows() {
		must(t, err)
		out[row.Header.NEVRA().String()] = row.Header
	}
	return out
}

func newRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/var/lib/rpm", 0o755))
	return root
}

func rebuild(t *testing.T, root string, h *rpmhdr.Header, opt repack.Options) (string, repack.Report, error) {
	t.Helper()
	r, err := rootfs.Open(root)
	must(t, err)
	defer r.Close()
	path := filepath.Join(t.TempDir(), h.NEVRA().String()+".rpm")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	rep, err := repack.Write(t.Context(), f, r, h, opt)
	if err == nil {
		data, rerr := os.ReadFile(path)
		must(t, rerr)
		sum := sha256.Sum256(data)
		if rep.SHA256 != hex.EncodeToString(sum[:]) || rep.Size != int64(len(data)) {
			t.Errorf("%s: the report is of another file: %+v", rep.NEVRA, rep)
		}
	}
	return path, rep, err
}

func openFile(t *testing.T, path string) (*rpmfile.File, []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	f, err := rpmfile.Open(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	return f, data
}

// Real packages are installed, rebuilt from the database and the disk, and compared with the original files.
func TestRealPackagesComeBackToTheLastBit(t *testing.T) {
	dir := realdata.Dir(t)
	comp := repack.NewHostCompressor("/")
	n, exact, same := 0, 0, 0
	by := map[string][2]int{} // exact ones and all, by rpm's version and the compressor
	for _, group := range []string{"centos7", "almalinux8", "almalinux9", "epel", "thirdparty", "rocky9"} {
		files, _ := filepath.Glob(filepath.Join(dir, "rpms", group, "*.rpm"))
		for _, original := range files {
			name := filepath.Base(original)
			if st, err := os.Stat(original); err != nil || st.Size() > 4<<20 {
				continue
			}
			orig, data := func() (f *rpmfile.File, data []byte) {
				defer func() { _ = recover() }()
				data, err := os.ReadFile(original)
				must(t, err)
				f, err = rpmfile.Open(bytes.NewReader(data), int64(len(data)))
				if err != nil {
					return nil, nil // some are cut short
				}
				return f, data
			}()
			if orig == nil {
				continue
			}
			if _, err := orig.Verify(rpmsig.NewKeyring()); err != nil {
				continue
			}
			root := newRoot(t)
			if out, err := rpm(t, root, append(slices.Clone(install), "--nosignature", original)...); err != nil {
				t.Logf("%s: rpm does not install it: %v %s", name, err, out)
				continue
			}
			h := headers(t, root)[orig.Header().NEVRA().String()]
			if h == nil {
				t.Errorf("%s: not in the database", name)
				continue
			}
			n++
			path, rep, err := rebuild(t, root, h, repack.Options{Compressor: comp})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			again, got := openFile(t, path)
			if !bytes.Equal(again.Header().Raw(), orig.Header().Raw()) {
				t.Errorf("%s: another header", name)
			}
			method := orig.Header().String(rpmhdr.TagPayloadCompressor)
			if rep.Exact != bytes.HasSuffix(data, got[len(got)-int(again.PayloadSize()):]) {
				t.Errorf("%s: the report says exact=%v", name, rep.Exact)
			}
			kind := method + " " + orig.Header().String(rpmhdr.TagRPMVersion)[:4]
			count := by[kind]
			count[1]++
			if rep.Exact {
				count[0]++
			}
			by[kind] = count
			if rep.Exact {
				exact++
				if _, err := again.Verify(rpmsig.NewKeyring()); err != nil {
					t.Errorf("%s: exact, but %v", name, err)
				}
			} else if method == "xz" && !strings.HasPrefix(orig.Header().String(rpmhdr.TagRPMVersion), "4.11") {
				t.Errorf("%s: xz, and not exact", name)
			}
			if rep.SameContent {
				same++
			} else if orig.Header().Has(rpmhdr.TagPayloadDigestAlt) {
				t.Errorf("%s: the archive is not the original one", name)
			}
		}
	}
	t.Logf("%d packages rebuilt, %d exact to the last bit, %d with a proven archive: %v", n, exact, same, by)
	if n < 50 {
		t.Errorf("only %d packages", n)
	}
}
