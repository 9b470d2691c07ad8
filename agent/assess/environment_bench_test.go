package assess_test

import (
	"fmt"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// BenchmarkAround is what judging boot, space and file systems costs on a host
// of 1,500 packages with 225,000 files: compare with and without.
func BenchmarkAround(b *testing.B) {
	w := newWorld(b)
	var installed, carried []rpm
	for i := range 1500 {
		var list []string
		for j := range 150 {
			list = append(list, fmt.Sprintf("/usr/share/p%d/d%d/f%d", i, j/5, j))
		}
		installed = append(installed, pkg(fmt.Sprintf("p%d-1-1.el8.x86_64", i), files(append(list, fmt.Sprintf("/etc/p%d.conf", i))...)))
		carried = append(carried, pkg(fmt.Sprintf("p%d-1-2.el8.x86_64", i)))
	}
	w.install("centos", installed...)
	for i := range w.inv.Packages { // each folder once, as rpm has them
		f := &w.inv.Packages[i].Files
		at := map[string]uint32{}
		dirs := f.Dirs
		f.Dirs = nil
		for j, d := range f.DirIndex {
			n, ok := at[dirs[d]]
			if !ok {
				n = uint32(len(f.Dirs))
				at[dirs[d]] = n
				f.Dirs = append(f.Dirs, dirs[d])
			}
			f.DirIndex[j] = n
		}
	}
	w.carry("appstream", carried...)
	w.inv.Environment.Mounts = append(w.inv.Environment.Mounts, inventory.Mount{Point: "/mnt", FSType: "iso9660", ReadOnly: true})
	w.assess() // makes the indexes
	cat, err := catalog.Load(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	env := w.inv.Environment
	for _, c := range []struct {
		name string
		env  *inventory.Environment
	}{{"without", nil}, {"with", env}} {
		b.Run(c.name, func(b *testing.B) {
			w.inv.Environment = c.env
			for b.Loop() {
				assess.Assess(assess.Input{Inventory: w.inv, Catalog: cat, Major: w.major, Repos: w.repos})
			}
		})
	}
}
