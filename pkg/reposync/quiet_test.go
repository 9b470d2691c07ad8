package reposync_test

import (
	"io"
	"log"
)

// quiet keeps expected handshake failures out of the tests' output.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
