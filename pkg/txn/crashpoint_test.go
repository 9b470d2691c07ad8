package txn_test

import (
	"time"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

var fixed = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func crashPoint(name string) { _ = fault.Point(name) }
