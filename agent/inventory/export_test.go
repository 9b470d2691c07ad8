package inventory

import (
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
)

// Identify runs the identification on a given list of packages.
func Identify(h *host.Host, cat *catalog.Catalog, pkgs []Package) Host {
	t := &taker{h: h, cat: cat, inv: &Inventory{Packages: pkgs}}
	t.identify(t.osRelease())
	return t.inv.Host
}

// Pack is worker.pack.
func Pack(dirs []string, index []uint32, base []string) Files {
	return (&worker{words: map[string]string{}}).pack(dirs, index, base)
}

// AppendString and Encode write a string, without and with reflection.
var (
	AppendString = appendString
	Encode       = encode
)

// ReadEnvironment reads what is around the packages of a tree.
func ReadEnvironment(h *host.Host, cat *catalog.Catalog, live bool, who Host, pkgs []Package) (*Environment, []Skipped) {
	t := &taker{h: h, cat: cat, inv: &Inventory{Host: who, Packages: pkgs}}
	t.environment(live, false)
	return t.inv.Environment, t.inv.Skipped
}

// ProcessLibraryPath is processLibraryPath.
var ProcessLibraryPath = processLibraryPath

// ReadBoth reads the environment of a tree, and then its kernel side.
func ReadBoth(h *host.Host, cat *catalog.Catalog, live bool, who Host, pkgs []Package) (*Kernel, []Skipped) {
	t := &taker{h: h, cat: cat, inv: &Inventory{Host: who, Packages: pkgs}}
	t.environment(live, false)
	t.kernel()
	return t.inv.Kernel, t.inv.Skipped
}

// ReadCaptured reads what is around the packages of a captured system.
func ReadCaptured(h *host.Host, cat *catalog.Catalog, who Host) (*Environment, []Skipped) {
	t := &taker{h: h, cat: cat, inv: &Inventory{Host: who}}
	t.environment(false, true)
	return t.inv.Environment, t.inv.Skipped
}
