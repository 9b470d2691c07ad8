//go:build faultinject

package fault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrInjected is what the action "error" returns.
var ErrInjected = errors.New("injected fault")

var (
	mu   sync.Mutex
	seen int
)

// Point acts as ALMAMIGRATE_FAULT says when it names this point.
func Point(name string) error {
	mu.Lock()
	defer mu.Unlock()
	if file := os.Getenv("ALMAMIGRATE_FAULT_LOG"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			_, _ = fmt.Fprintln(f, name)
			_ = f.Close()
		}
	}
	parts := strings.Split(os.Getenv("ALMAMIGRATE_FAULT"), ":")
	if len(parts) < 2 {
		return nil
	}
	prefix, wild := strings.CutSuffix(parts[0], "*")
	if parts[0] != name && (!wild || !strings.HasPrefix(name, prefix)) {
		return nil
	}
	seen++
	if want := 1; len(parts) > 2 {
		if n, err := strconv.Atoi(parts[2]); err == nil {
			want = n
		}
		if seen != want {
			return nil
		}
	} else if seen != want {
		return nil
	}
	switch parts[1] {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return nil
	case "enospc":
		return fmt.Errorf("at %s: %w", name, syscall.ENOSPC)
	case "eio":
		return fmt.Errorf("at %s: %w", name, syscall.EIO)
	}
	return fmt.Errorf("at %s: %w", name, ErrInjected)
}
