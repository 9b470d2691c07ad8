package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/report"
)

// progress is one line on standard error that is rewritten in place. It exists
// only on a terminal; logs and pipes never see it.
type progress struct {
	mu   sync.Mutex
	w    io.Writer
	last time.Time
	used bool
}

// newProgress returns nil, which does nothing, where nobody looks.
func (a *app) newProgress() *progress {
	if a.quiet || a.debug || os.Getenv("TERM") == "dumb" || !isTerminal(a.err) {
		return nil
	}
	return &progress{w: a.err}
}

// say shows a text; texts in quick succession are dropped.
func (p *progress) say(format string, args ...any) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < 50*time.Millisecond {
		return
	}
	p.last = time.Now()
	p.used = true
	text := report.Safe(fmt.Sprintf(format, args...))
	if r := []rune(text); len(r) > 78 {
		text = string(r[:75]) + "..."
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
}

// done clears the line.
func (p *progress) done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}
