package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/filelock"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// Where the engine keeps its state.
const (
	stateDir   = "/var/lib/almamigrate"
	changesDir = stateDir + "/changes"
	lockFile   = "/run/almamigrate.lock"
)

// engine is one run that changes the host: it holds the locks, and tells where
// it is.
type engine struct {
	a       *app
	env     *step.Env
	unlock  []func()
	events  io.Writer // JSON lines, may be nil
	started time.Time

	mu     sync.Mutex
	signal os.Signal // the first that asked to stop
	cancel context.CancelFunc
	quit   chan struct{}
	closed bool
}

// newEngine makes sure that we may change the host and that nobody else does.
func (a *app) newEngine(ctx context.Context, progressFD int) (*engine, context.Context, error) {
	if a.root != "/" {
		return nil, nil, usageError("cannot change %s: the running system only", a.root)
	}
	if os.Geteuid() != 0 {
		return nil, nil, &UserError{Msg: "changing the host needs root", Hint: "sudo " + typed, Code: ExitNotSupported}
	}
	e := &engine{a: a, started: time.Now(), quit: make(chan struct{})}
	l, err := filelock.TryLock(lockFile)
	if err != nil {
		return nil, nil, &UserError{Err: fmt.Errorf("cannot begin: another almamigrate is at work: %w", err), Code: ExitLocked, Hint: "almamigrate status"}
	}
	e.unlock = append(e.unlock, func() { _ = l.Unlock() })
	if a.unit != nil {
		e.events = a.unit.events
	}
	if progressFD > 2 {
		f := os.NewFile(uintptr(progressFD), "progress")
		e.events = f
		e.unlock = append(e.unlock, func() { _ = f.Close() })
	}
	e.env = e.watched()
	// The steps see the end of this context between two of them only.
	ctx, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	ch := make(chan os.Signal, 4)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for {
			select {
			case s := <-ch:
				e.mu.Lock()
				if e.signal == nil {
					e.signal = s
				}
				e.mu.Unlock()
				e.say("%s: stopping at the next safe point", s)
				e.cancel()
			case <-e.quit:
				signal.Stop(ch)
				return
			}
		}
	}()
	return e, ctx, nil
}

// watched is an environment whose steps tell how far they are.
func (e *engine) watched() *step.Env {
	return &step.Env{
		Progress: func(s string) { e.tell(map[string]any{"event": "progress", "text": s}, "      "+s) },
		Package: func(p step.PackageProgress) {
			text := p.Action + " " + p.Package
			if p.N <= p.Of {
				text += fmt.Sprintf(" (%d of %d)", p.N, p.Of)
			}
			e.tell(map[string]any{"event": "progress", "text": text, "action": p.Action, "package": p.Package, "n": p.N, "of": p.Of}, "      "+text)
		},
	}
}

// close gives the locks back. A second call does nothing.
func (e *engine) close() {
	if e.closed {
		return
	}
	e.closed = true
	close(e.quit)
	e.cancel()
	for i := len(e.unlock) - 1; i >= 0; i-- {
		e.unlock[i]()
	}
}

// interrupted is the signal that asked to stop, nil for none.
func (e *engine) interrupted() os.Signal {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.signal
}

// say writes a line for people to standard error.
func (e *engine) say(format string, args ...any) {
	e.tell(nil, fmt.Sprintf(format, args...))
}

func (e *engine) tell(machine map[string]any, human string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.a.quiet && human != "" {
		// Who watched may be gone; the work goes on.
		_, _ = fmt.Fprintln(e.a.err, report.Safe(human))
	}
	if e.events != nil && machine != nil {
		machine["time"] = time.Now().UTC().Format(time.RFC3339Nano)
		if data, err := json.Marshal(machine); err == nil {
			_, _ = e.events.Write(append(data, '\n'))
		}
	}
}

// runner drives a change and tells every step.
func (e *engine) runner(c *txn.Change) *txn.Runner {
	n := len(c.Plan.Steps)
	return &txn.Runner{Change: c, Registry: e.env.Registry(), Sync: step.Sync, Observe: func(ev txn.Event) {
		m := map[string]any{"event": "step", "change": c.Plan.ID, "step": ev.Step + 1, "steps": n, "name": ev.Name, "status": string(ev.Status)}
		if ev.Err != nil {
			m["error"] = ev.Err.Error()
		}
		human := ""
		switch ev.Status {
		case txn.Doing:
			human = fmt.Sprintf("[%d/%d] %s: %s", ev.Step+1, n, ev.Name, ev.Title)
		case txn.Undoing:
			human = fmt.Sprintf("[%d/%d] taking back %s", ev.Step+1, n, ev.Name)
		case txn.Failed, txn.UndoFailed:
			human = fmt.Sprintf("[%d/%d] %s: %v", ev.Step+1, n, ev.Status, ev.Err)
		}
		e.tell(m, human)
	}}
}

// holdPackageManager keeps rpm and dnf away, or says who is at work.
func (e *engine) holdPackageManager() error {
	release, err := step.HoldPackageManager()
	if err != nil {
		if errors.Is(err, step.ErrBusy) {
			return &UserError{Err: err, Code: ExitLocked, Hint: "wait until it has finished, then run the same command again"}
		}
		return err
	}
	e.unlock = append(e.unlock, release)
	return nil
}

// listChanges returns all changes, oldest first.
func listChanges() ([]*txn.Change, error) {
	list, err := txn.List(changesDir)
	if err != nil {
		return list, &UserError{Err: fmt.Errorf("cannot read what was done before: %w", err), Code: ExitError,
			Hint: "bring that folder below " + changesDir + " back from a backup; or move it away: then nothing of it can be taken back"}
	}
	return list, nil
}

// openChange finds a change by its id, or the last one that did anything.
func openChange(id string) (*txn.Change, error) {
	list, err := listChanges()
	if id == "" {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].State() != txn.StatePlanned {
				return list[i], nil
			}
		}
		if err != nil {
			return nil, err
		}
		return nil, &UserError{Msg: "there is no migration on this host", Hint: "almamigrate plan", Code: ExitUsage}
	}
	for _, c := range list {
		if c.Plan.ID == id {
			return c, nil
		}
	}
	return nil, &UserError{Msg: "cannot find the change " + id, Hint: "almamigrate changes list", Code: ExitUsage, Err: err}
}

// pendingChange returns a change that must be finished, or taken back, first.
func pendingChange() (*txn.Change, error) {
	list, err := listChanges()
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if !c.State().Settled() {
			return c, nil
		}
	}
	return nil, nil
}

// outcome is the document of migrate, of its --commit, and of rollback.
type outcome struct {
	header
	Change   string    `json:"change"`
	State    string    `json:"state"`
	DryRun   bool      `json:"dry_run"`
	Code     int       `json:"exit_code"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Errors   []string  `json:"errors"`
	Commands []string  `json:"commands"` // left to a human
	Verify   any       `json:"verify,omitempty"`
	Since    any       `json:"since,omitempty"`
	Commit   any       `json:"commit,omitempty"` // what was removed, or would be
}

func (e *engine) outcome(kind string, c *txn.Change, code int) *outcome {
	o := &outcome{
		header: newHeader(kind), Code: code,
		Started: e.started.UTC(), Finished: time.Now().UTC(), Errors: []string{}, Commands: []string{},
	}
	if c != nil {
		o.Change, o.State = c.Plan.ID, string(c.State())
		o.Errors = append(o.Errors, c.Errors()...)
		if c.State() == txn.StateIncomplete {
			o.Commands = append(o.Commands, leftToDo(c)...)
		}
	}
	return o
}

// finish writes the outcome and returns its code.
func (e *engine) finish(o *outcome, text string) error {
	if e.a.json {
		if err := writeDocument(e.a.out, o); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintln(e.a.out, text); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if o.Code != ExitOK {
		return &finished{o.Code}
	}
	return nil
}

// leftToDo names the commands that bring an incomplete rollback to its end:
// the program itself, and what to do where that does not help.
func leftToDo(c *txn.Change) []string {
	out := []string{"almamigrate rollback " + c.Plan.ID + " # again, once the cause is gone"}
	hand := step.LeftToDo(c)
	if len(hand) == 0 {
		return out
	}
	const most = 40
	if len(hand) > most {
		name := filepath.Join(c.Dir, "left-to-do.sh")
		if err := atomicfile.Write(name, []byte(strings.Join(hand, "\n")+"\n"), 0o600); err == nil {
			return append(out, "sh -x "+name+" # or by hand: these "+fmt.Sprint(len(hand))+" commands")
		}
		hand = append(hand[:most], fmt.Sprintf("# and %d more", len(hand)-most))
	}
	hand[0] += " # or by hand, from here on"
	return append(out, hand...)
}

// changeID names a change by its time.
func changeID(now time.Time) string {
	return strings.ToLower(now.UTC().Format("20060102T150405Z"))
}
