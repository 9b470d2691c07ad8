package ldso_test

import (
	"fmt"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
	"github.com/almamigrate/almamigrate/pkg/ldso"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// TestGivesUp ends the search for what a hostile file names.
func TestGivesUp(t *testing.T) {
	root, err := rootfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := ldso.New(root)
	f := &elfdyn.File{Class: 64, Type: elfdyn.Dyn}
	for i := range 60000 {
		f.Needed = append(f.Needed, fmt.Sprint("lib", i))
	}
	for i := range 4000 {
		f.RunPath = append(f.RunPath, fmt.Sprint("/d", i))
	}
	if _, missing := l.Scope(ldso.NewObject("/x", f)); len(missing) != 60000 || !l.GaveUp() {
		t.Errorf("%d missing, gave up: %v", len(missing), l.GaveUp())
	}
	if l.Scope(ldso.NewObject("/y", &elfdyn.File{Class: 64, Needed: []string{"a"}})); l.GaveUp() {
		t.Error("still given up at the next program")
	}
}
