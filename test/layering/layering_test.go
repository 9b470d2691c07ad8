// Package layering_test checks the rules that keep the house in order, on the
// source itself, so that they hold wherever the tests run:
//
//   - pkg never imports agent;
//   - os/exec only in pkg/hostcmd, net/http only in pkg/reposync and in
//     agent/report's sink, log and slog never in pkg;
//   - os.Exit and log.Fatal only in a main package;
//   - no package is called util, helpers or common, no file is very long.
package layering_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

const (
	module   = "github.com/almamigrate/almamigrate/"
	maxLines = 700
)

// allowed names, for an import that is not for everybody, the folders that may
// have it.
var allowed = map[string][]string{
	"os/exec":                               {"pkg/hostcmd", "test"},
	"net/http":                              {"pkg/reposync", "agent/report/sink", "test"},
	"github.com/hashicorp/go-retryablehttp": {"pkg/reposync", "agent/report/sink"},
	"log":                                   {},
	"log/slog":                              {"agent", "test"},
	"plugin":                                {},
	"unsafe":                                {"test"},
	"C":                                     {},
}

// file is one source file, by its path below the project.
type file struct {
	path string
	ast  *ast.File
	size int // lines
}

func sources(t *testing.T, root string) (*token.FileSet, []file) {
	t.Helper()
	fset := token.NewFileSet()
	var out []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || rel == "bin" || rel == "dist" || rel == "packaging") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, rel, data, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, file{filepath.ToSlash(rel), f, bytes.Count(data, []byte("\n"))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fset, out
}

func within(path string, dirs []string) bool {
	for _, d := range dirs {
		if path == d || strings.HasPrefix(path, d+"/") || strings.HasPrefix(path, d+".go") {
			return true
		}
	}
	return false
}

// breaches returns what a file does against the rules.
func breaches(fset *token.FileSet, f file) []string {
	var out []string
	add := func(pos token.Pos, format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s", fset.Position(pos), fmt.Sprintf(format, args...)))
	}
	test := strings.HasSuffix(f.path, "_test.go")
	for _, im := range f.ast.Imports {
		path, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			add(im.Pos(), "unreadable import")
			continue
		}
		if strings.HasPrefix(f.path, "pkg/") && strings.HasPrefix(path, module+"agent") {
			add(im.Pos(), "pkg imports %s: pkg never imports agent", path)
		}
		if !strings.HasPrefix(f.path, "test/") && !test && strings.HasPrefix(path, module+"test") {
			add(im.Pos(), "the product imports %s", path)
		}
		if dirs, ok := allowed[path]; ok && !test && !within(f.path, dirs) {
			add(im.Pos(), "imports %s, which is for %v", path, dirs)
		}
	}
	switch f.ast.Name.Name {
	case "util", "utils", "helpers", "helper", "common", "misc":
		add(f.ast.Name.Pos(), "a package called %s says nothing", f.ast.Name.Name)
	}
	if f.ast.Name.Name != "main" && !test {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && sel.Sel.Name == "Exit" {
				add(sel.Pos(), "os.Exit outside of a main package")
			}
			return true
		})
	}
	if f.size > maxLines {
		out = append(out, fmt.Sprintf("%s: %d lines; split it (at most %d)", f.path, f.size, maxLines))
	}
	return out
}

func TestLayering(t *testing.T) {
	fset, files := sources(t, realdata.ProjectRoot(t))
	if len(files) < 10 {
		t.Fatalf("found only %d source files: looking in the wrong place", len(files))
	}
	for _, f := range files {
		for _, b := range breaches(fset, f) {
			t.Error(b)
		}
	}
}

// The rules must be able to fail.
func TestBreachesAreSeen(t *testing.T) {
	for _, c := range []struct{ path, src, want string }{
		{"pkg/x/x.go", `package x; import _ "` + module + `agent/cli"`, "pkg never imports agent"},
		{"pkg/x/x.go", `package x; import _ "os/exec"`, "imports os/exec"},
		{"agent/cli/x.go", `package cli; import _ "net/http"`, "imports net/http"},
		{"pkg/x/x.go", `package x; import _ "log/slog"`, "imports log/slog"},
		{"agent/cli/x.go", `package cli; import "os"; func f() { os.Exit(1) }`, "os.Exit"},
		{"pkg/util/x.go", `package util`, "says nothing"},
		{"pkg/x/x.go", `package x; import _ "` + module + `test/realdata"`, "the product imports"},
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, c.path, c.src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(breaches(fset, file{c.path, f, 1}), "\n")
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %q: got %q, want %q in it", c.path, c.src, got, c.want)
		}
	}
	fset := token.NewFileSet()
	src := `package x_test; import _ "os/exec"`
	f, err := parser.ParseFile(fset, "pkg/x/x_test.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if b := breaches(fset, file{"pkg/x/x_test.go", f, 1}); len(b) != 0 {
		t.Errorf("a test may run commands: %v", b)
	}
}
