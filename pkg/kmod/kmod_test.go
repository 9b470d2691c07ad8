package kmod_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// tool returns the path of a program that a test needs, or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if p := filepath.Join(dir, name); isFile(p) {
			return p
		}
	}
	t.Skipf("SKIPPED: %s is not installed", name)
	return ""
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errText.String())
	}
	return string(out)
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// modinfoFields are the entries that modinfo -0 prints for a file, without the
// file name and those that it computes itself.
func modinfoFields(t testing.TB, file string) (fields []kmod.Field, signature map[string]string) {
	t.Helper()
	signature = map[string]string{}
	for _, entry := range strings.Split(strings.TrimRight(run(t, tool(t, "modinfo"), "-0", file), "\x00"), "\x00") {
		// The file name and the parameters are printed for people even so.
		name, rest, ok := strings.Cut(entry, ":")
		if !ok || name != "filename" && name != "parm" {
			name, rest, _ = strings.Cut(entry, "=")
		}
		switch name {
		case "filename", "signature":
		case "sig_id", "signer", "sig_key", "sig_hashalgo":
			signature[name] = strings.TrimSpace(rest)
		default:
			fields = append(fields, kmod.Field{Key: name, Value: strings.TrimLeft(rest, " ")})
		}
	}
	return fields, signature
}

func realModules(t testing.TB) []string {
	files, err := filepath.Glob(filepath.Join(realdata.Dir(t), "kernel/ko/*.ko.xz"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules in the real-world material: %v", err)
	}
	return files
}

func TestRealModulesAgainstModinfo(t *testing.T) {
	for _, file := range realModules(t) {
		raw, err := kmod.DecompressModule(read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		m, err := kmod.ParseModule(raw)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		compareModinfo(t, file, m)
	}
}

func compareModinfo(t testing.TB, file string, m *kmod.Module) {
	t.Helper()
	want, sig := modinfoFields(t, file)
	mine := slices.DeleteFunc(slices.Clone(m.Info.Fields), func(f kmod.Field) bool { return f.Key == "parm" || f.Key == "parmtype" })
	for _, p := range m.Info.Parameters() {
		v := p.Name + ":" + p.Description
		if p.Type != "" && p.Description == "" {
			v += p.Type
		} else if p.Type != "" {
			v += " (" + p.Type + ")"
		}
		mine = append(mine, kmod.Field{Key: "parm", Value: v})
	}
	trim := func(fields []kmod.Field) (out []string) {
		for _, f := range fields {
			out = append(out, f.Key+"="+strings.TrimSpace(f.Value))
		}
		sort.Strings(out)
		return out
	}
	if diff := cmp.Diff(trim(want), trim(mine)); diff != "" {
		t.Errorf("%s: modinfo (-) and ParseModule (+) differ:\n%s", file, diff)
	}
	got := map[string]string{}
	if s := m.Signature; s != nil {
		got = map[string]string{"sig_id": s.Format, "signer": s.Signer, "sig_key": s.KeyLabel(), "sig_hashalgo": s.Hash}
	}
	if diff := cmp.Diff(sig, got); diff != "" {
		t.Errorf("%s: signature: modinfo (-) and ParseModule (+) differ:\n%s", file, diff)
	}
}

// TestHpsaAgainstStablelist is the case that shows what a kABI list can say: 95
// of the 143 symbols that a packaged hpsa requires are protected, and agree.
func TestHpsaAgainstStablelist(t *testing.T) {
	dir := realdata.Dir(t)
	var deps []rpmver.Dep
	rpm := filepath.Join(dir, "kernel/kmod-rpms/kmod-hpsa-4.18.0~477.10.1-1.el8.aarch64.rpm")
	for line := range strings.Lines(run(t, tool(t, "rpm"), "-qp", "--nosignature", "--requires", rpm)) {
		d, err := rpmver.ParseDep(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		deps = append(deps, d)
	}
	pkg, err := kmod.ParsePackageDeps(deps)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "kernel/kabi/4.18.0-477.27.1.el8_8/Module.kabi_aarch64"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := kmod.ParseSymvers(f)
	if err != nil {
		t.Fatal(err)
	}
	var table kmod.SymbolTable
	table.Add(list...)
	c := kmod.CompareImports(pkg.Symbols, &table)
	got := map[string]int{"imports": len(pkg.Symbols), "met": len(c.Met), "mismatched": len(c.Mismatched), "missing": len(c.Missing), "no crc": len(c.NoCRC)}
	want := map[string]int{"imports": 143, "met": 95, "mismatched": 0, "missing": 48, "no crc": 0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	// The module itself imports what its package requires.
	raw, err := kmod.DecompressModule(read(t, filepath.Join(dir, "kernel/ko/hpsa-4.18.0-477.10.1.el8_8.aarch64.ko.xz")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := kmod.ParseModule(raw)
	if err != nil {
		t.Fatal(err)
	}
	var mine kmod.SymbolTable
	mine.Add(m.Imports()...)
	c = kmod.CompareImports(pkg.Symbols, &mine)
	if len(c.Met) != 143 || len(m.Imports()) != 143 {
		b, _ := json.Marshal(c)
		t.Errorf("the package requires 143 symbols, the module imports %d, %d agree: %s", len(m.Imports()), len(c.Met), b)
	}
}
