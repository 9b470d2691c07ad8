package ldso_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/ldso"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// programs are this machine's own programs, at most n of them, spread.
func programs(t *testing.T, l *ldso.Linker, n int) []*ldso.Object {
	t.Helper()
	var names []string
	for _, dir := range []string{"/usr/bin", "/usr/sbin"} {
		found, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	var all []string
	for _, name := range names {
		info, err := os.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		var head [4]byte
		_, _ = f.Read(head[:])
		_ = f.Close()
		if elfdyn.Magic(head[:]) {
			all = append(all, name)
		}
	}
	var list []*ldso.Object
	step := max(len(all)/n, 1)
	for i := 0; i < len(all) && len(list) < n; i += step {
		o, err := l.Open(all[i])
		if err != nil {
			t.Error(err)
			continue
		}
		if o.File.Dynamic {
			list = append(list, o)
		}
	}
	return list
}

// TestLDD compares with what ld.so itself says.
func TestLDD(t *testing.T) {
	if _, err := exec.LookPath("ldd"); err != nil {
		t.Skip("skipped: no ldd on this machine")
	}
	root, err := rootfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := ldso.New(root)
	list := programs(t, l, 60)
	if len(list) < 20 {
		t.Skipf("skipped: only %d programs on this machine", len(list))
	}
	for _, o := range list {
		scope, missing := l.Scope(o)
		var have []string
		for _, s := range scope[1:] {
			if !strings.HasPrefix(filepath.Base(s.Path), "ld-linux") {
				have = append(have, s.Real)
			}
		}
		for _, m := range missing {
			have = append(have, m.Soname+" not found")
		}
		slices.Sort(have)
		if d := cmp.Diff(ldd(t, o.Path), have); d != "" {
			t.Errorf("%s (-ldd +ours):\n%s", o.Path, d)
		}
	}
}

func ldd(t *testing.T, name string) []string {
	cmd := exec.Command("ldd", name)
	cmd.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ldd %s: %v: %s", name, err, out)
	}
	var list []string
	for line := range bytes.Lines(out) {
		f := strings.Fields(string(line))
		switch {
		case len(f) > 3 && f[1] == "=>" && f[2] == "not":
			list = append(list, f[0]+" not found")
		case len(f) > 2 && f[1] == "=>":
			real, err := filepath.EvalSymlinks(f[2])
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, real)
		}
	}
	slices.Sort(list)
	return list
}

// TestBindReal binds the symbols of real programs against the libraries that
// they run with: every one must be there.
func TestBindReal(t *testing.T) {
	root, err := rootfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := ldso.New(root)
	list := programs(t, l, 200)
	if len(list) < 20 {
		t.Skipf("skipped: only %d programs on this machine", len(list))
	}
	symbols := 0
	for _, o := range list {
		scope, _ := l.Scope(o)
		for _, b := range ldso.Bind(scope) {
			symbols++
			switch {
			case b.By == nil:
				t.Errorf("%s: nobody has %s", o.Path, b.Symbol)
			case b.Symbol.Copied && b.Symbol.Size != b.Export.Size:
				t.Errorf("%s: %s has %d bytes, in %s %d", o.Path, b.Symbol, b.Symbol.Size, b.By.Path, b.Export.Size)
			}
		}
	}
	t.Logf("%d programs, %d symbols", len(list), symbols)
}
