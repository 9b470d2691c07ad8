package inventory_test

import (
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// BenchmarkEnvironment reads the machine that it runs on.
func BenchmarkEnvironment(b *testing.B) {
	h, err := host.New("/")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	cat, err := catalog.Load("/")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		inventory.ReadEnvironment(h, cat, true, inventory.Host{Arch: "x86_64"}, nil)
	}
}
