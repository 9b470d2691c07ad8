// Package realdata finds the real-world material (rpm databases, repositories,
// keys, kernel files) that some tests compare against. That material carries
// other people's licences and is not part of this project; the tests that use
// it are additional to those built on the project's own fixtures.
package realdata

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns the folder of the real-world material, or skips the test,
// saying what it looked for.
func Dir(t testing.TB) string {
	t.Helper()
	root := ProjectRoot(t)
	dir := filepath.Join(root, "..", "shared", "data")
	if _, err := os.Stat(filepath.Join(dir, "INDEX.md")); err != nil {
		t.Skipf("SKIPPED: the real-world material is absent: looked for %s", dir)
	}
	return dir
}

// ProjectRoot returns the folder that holds go.mod.
func ProjectRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("cannot find go.mod above the test's folder")
		}
		dir = up
	}
}
