package ldso_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/ldso"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// TestABIDiff changes a library in the ways that a new build can change one,
// and compares what a program that imports all of it loses with what
// libabigail's abidiff says of the two libraries.
func TestABIDiff(t *testing.T) {
	for _, tool := range []string{"gcc", "abidiff"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: no %s on this machine (Debian: gcc, abigail-tools)", tool)
		}
	}
	const code = "int kept(void) { return 1; }\nint other(void) { return 2; }\nchar table[16] = \"x\";\n"
	const script = "V_1 { global: kept; table; local: *; };\nV_2 { global: other; } V_1;\n"
	for _, c := range []struct {
		name, code, script, soname string
		breaks                     bool
	}{
		{"nothing", code, script, "libx.so.1", false},
		{"a harmless addition", code + "int more(void) { return 3; }\n", script + "V_3 { global: more; } V_2;\n", "libx.so.1", false},
		{"a removed symbol", "int kept(void) { return 1; }\nchar table[16] = \"x\";\n", "V_1 { global: kept; table; local: *; };\nV_2 { } V_1;\n", "libx.so.1", true},
		{"a changed version", code, "V_1 { global: kept; table; local: *; };\nV_9 { global: other; } V_1;\n", "libx.so.1", true},
		{"data of another size", "int kept(void) { return 1; }\nint other(void) { return 2; }\nchar table[32] = \"x\";\n", script, "libx.so.1", true},
		{"another soname", code, script, "libx.so.2", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			build := func(out, code, script, soname string) {
				t.Helper()
				write(t, filepath.Join(dir, "lib.c"), code)
				write(t, filepath.Join(dir, "lib.map"), script)
				gcc(t, dir, "-g", "-shared", "-fPIC", "-Wl,-soname,"+soname, "-Wl,--version-script=lib.map", "-o", out, "lib.c")
			}
			for _, d := range []string{"old", "new"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			build("old/libx.so.1", code, script, "libx.so.1")
			build("new/"+c.soname, c.code, c.script, c.soname)
			write(t, filepath.Join(dir, "main.c"), "int kept(void), other(void); extern char table[16]; int main(void) { return kept() + other() + table[1]; }\n")
			gcc(t, dir, "-fno-pie", "-no-pie", "-o", "main", "main.c", "old/libx.so.1", "-Wl,-rpath,"+dir+"/new")

			// Bits of abidiff's exit code: 4 the ABI changed, 8 incompatibly for sure; 1 and 2 are errors. That data
			// grew, or a soname changed, it reports as a change only.
			code := 0
			out, err := exec.Command("abidiff", "--no-added-syms", filepath.Join(dir, "old/libx.so.1"), filepath.Join(dir, "new", c.soname)).CombinedOutput()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code&3 != 0 {
				t.Fatalf("abidiff: exit code %d: %s", code, out)
			}
			if theirs := code&12 != 0; theirs != c.breaks {
				t.Errorf("abidiff says %v, this test %v:\n%s", theirs, c.breaks, out)
			}

			root, err := rootfs.Open("/")
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			l := ldso.New(root)
			o, err := l.Open(filepath.Join(dir, "main"))
			if err != nil {
				t.Fatal(err)
			}
			scope, missing := l.Scope(o)
			broken := len(missing) > 0
			for _, b := range ldso.Bind(scope) {
				broken = broken || b.By == nil || b.Symbol.Copied && b.Symbol.Size != b.Export.Size
			}
			if broken != c.breaks {
				t.Errorf("found broken: %v, want %v (missing %v)", broken, c.breaks, missing)
			}
		})
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func gcc(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc %q: %v\n%s", args, err, out)
	}
}

// TestCompilers binds what other compilers make: Go with cgo, and a Python
// extension, whose symbols of the interpreter nobody in its own scope has.
func TestCompilers(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("skipped: no gcc on this machine")
	}
	root, err := rootfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := ldso.New(root)
	unbound := func(t *testing.T, name string) (none, all []string) {
		o, err := l.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		scope, missing := l.Scope(o)
		if len(missing) > 0 {
			t.Errorf("missing %v", missing)
		}
		for _, b := range ldso.Bind(scope) {
			all = append(all, b.Symbol.String())
			if b.By == nil {
				none = append(none, b.Symbol.Name)
			}
		}
		return none, all
	}
	t.Run("cgo", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.go"), "package main\n\n// #include <stdlib.h>\n// #include <math.h>\n// #cgo LDFLAGS: -lm\nimport \"C\"\n\nfunc main() { C.free(C.malloc(1)); println(float64(C.cos(1))) }\n")
		write(t, filepath.Join(dir, "go.mod"), "module x\n")
		cmd := exec.Command("go", "build", "-o", "main")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOFLAGS=-mod=mod", "GOTOOLCHAIN=local", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("skipped: Go cannot build with cgo here: %v\n%.300s", err, out)
		}
		none, all := unbound(t, filepath.Join(dir, "main"))
		if len(none) > 0 || len(all) < 10 {
			t.Errorf("%d symbols, unbound %q", len(all), none)
		}
	})
	t.Run("python", func(t *testing.T) {
		headers, _ := filepath.Glob("/usr/include/python3*/Python.h")
		if len(headers) == 0 {
			t.Skip("skipped: no Python.h on this machine (Debian: python3-dev)")
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "x.c"), "#include <Python.h>\n#include <string.h>\nstatic struct PyModuleDef def = {PyModuleDef_HEAD_INIT, \"x\"};\nPyMODINIT_FUNC PyInit_x(void) { return strlen(def.m_name) ? PyModule_Create(&def) : NULL; }\n")
		gcc(t, dir, "-shared", "-fPIC", "-fno-builtin", "-I"+filepath.Dir(headers[0]), "-o", "x.so", "x.c")
		none, all := unbound(t, filepath.Join(dir, "x.so"))
		if len(none) != 1 || none[0] != "PyModule_Create2" || len(all) < 2 {
			t.Errorf("of %q unbound %q, want the interpreter's only", all, none)
		}
	})
}
