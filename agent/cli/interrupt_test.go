package cli_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/agent/cli"
)

// silent is a terminal at which nobody types.
type silent struct{ asked chan struct{} }

func (s silent) Read([]byte) (int, error) {
	s.asked <- struct{}{}
	select {}
}

// Ctrl-C ends a command that waits for input, which no signal ends by itself:
// at a terminal, and at a pipe that nobody has opened to write.
func TestInterruptWhileReading(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"fleet", "-"}, {"report", "--input", "-"}, {"fleet", pipe}, {"report", "--input", pipe}, {"check", "--inventory", pipe}} {
		in := silent{make(chan struct{}, 9)}
		var errw bytes.Buffer
		code := make(chan int, 1)
		go func() { code <- cli.Main(args, in, io.Discard, &errw) }()
		if args[len(args)-1] == "-" {
			<-in.asked
		} else {
			time.Sleep(500 * time.Millisecond)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		select {
		case c := <-code:
			if c != cli.ExitInterrupted || !strings.Contains(errw.String(), "interrupted: the input did not come to its end") {
				t.Errorf("%q: code %d: %s", args, c, errw.String())
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q goes on after SIGINT", args)
		}
	}
}
