// Package systemd holds the units of almamigrate, for hosts that got the
// program as a single file and not as a package.
package systemd

import "embed"

// Units are the service and the timer, as packages install them to
// /usr/lib/systemd/system.
//
//go:embed almamigrate-report.service almamigrate-report.timer
var Units embed.FS

// The names of the units.
const (
	ReportService = "almamigrate-report.service"
	ReportTimer   = "almamigrate-report.timer"
)
