// Command fleetgen writes the reports of a fleet that does not exist, to
// measure with: go run ./test/fleetgen/fleetgen -hosts 10000 -o DIR TEMPLATE.json
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/fleetgen"
)

func main() {
	hosts := flag.Int("hosts", 10000, "how many")
	packages := flag.Int("packages", 500, "of each host")
	out := flag.String("o", "reports", "the folder to write to")
	flag.Parse()
	err := os.MkdirAll(*out, 0o755)
	var t *report.Report
	if err == nil {
		t, err = report.ReadReportFile(flag.Arg(0))
	}
	if err == nil {
		err = fleetgen.Fleet{Template: t, Hosts: *hosts, Packages: *packages, Seed: 1, Now: time.Now()}.Each(func(name string, doc []byte) error {
			return os.WriteFile(filepath.Join(*out, name), doc, 0o644)
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
