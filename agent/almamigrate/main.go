// Command almamigrate checks whether a RHEL-family host can become AlmaLinux,
// and says what exactly would change.
package main

import (
	"os"

	"github.com/almamigrate/almamigrate/agent/cli"
)

func main() {
	cli.TuneMemory()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
