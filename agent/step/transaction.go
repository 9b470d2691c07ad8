package step

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

//go:embed swap.py
var swapScript []byte

// transaction is what the script is told.
type transaction struct {
	Install  []string          `json:"install"`            // paths of package files
	Upgrade  []string          `json:"upgrade,omitempty"`  // paths of package files that replace those of their names
	Replaced []string          `json:"replaced,omitempty"` // NEVRA of what one of Upgrade replaces by another build
	Erase    []string          `json:"erase"`              // NEVRA
	Rows     []row             `json:"rows,omitempty"`     // of the database, to be erased
	Names    map[string]string `json:"names"`              // NEVRA to name
	Test     bool              `json:"test,omitempty"`     // nothing is done
	JustDB   bool              `json:"justdb,omitempty"`   // no file is touched, no scriptlet is run
	Force    bool              `json:"force,omitempty"`    // broken dependencies are told and not obeyed
	GiveWay  []string          `json:"give_way,omitempty"` // folders that coming packages have something else for
	Macros   map[string]string `json:"macros,omitempty"`
	Lock     string            `json:"lock"`
	Parent   int               `json:"parent"`
	NoDocs   bool              `json:"nodocs,omitempty"`
}

// row is a package by its number in the database.
type row struct {
	Row  uint32 `json:"row"`
	Name string `json:"name"`
}

// event is a line of the script's.
type event struct {
	Event    string   `json:"event"`
	Path     string   `json:"path"`
	Name     string   `json:"name"`
	Of       string   `json:"of"`
	Packages []string `json:"packages"`
	Problems []string `json:"problems"`
}

// pythons are where EL's package manager finds rpm's Python module:
// platform-python on EL8, python3 elsewhere.
var pythons = []string{"/usr/libexec/platform-python", "/usr/bin/python3"}

// python finds an interpreter that has rpm's module.
func python(ctx context.Context) (string, error) {
	var last error
	for _, p := range pythons {
		if _, err := hostcmd.Look(root, p); err != nil {
			continue
		}
		_, err := hostcmd.Run(ctx, hostcmd.Cmd{Path: p, Args: []string{"-I", "-B", "-c", "import rpm"}, Kill: hostcmd.KillNow})
		if err == nil {
			return p, nil
		}
		last = err
	}
	return "", fmt.Errorf("cannot use rpm's library: %w: no Python with the module rpm (dnf needs it, too: package python3-rpm): %w", ErrHost, errors.Join(last))
}

// run runs one rpm transaction. Its error tells why rpm refused or what it
// complained about; only the rpm database tells what it did.
func (e *Env) run(ctx context.Context, c *txn.Change, name string, t transaction) error {
	py, err := python(ctx)
	if err != nil {
		return err
	}
	release, err := e.alone(c)
	if err != nil {
		return err
	}
	script, spec, log := filepath.Join(c.Dir, "swap.py"), filepath.Join(c.Dir, name+".json"), filepath.Join(c.Dir, name+".log")
	t.Lock, t.Parent = filepath.Join(c.Dir, "rpm.lock"), os.Getpid()
	release() // the script takes the lock itself, and ends at once where we are no longer its parent
	if err := atomicfile.Write(script, swapScript, 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", script, err)
	}
	if err := writeJSON(spec, t); err != nil {
		return err
	}
	otherSecond(log)
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot begin the log of the transaction: %w", err)
	}
	if err := fault.Point("rpm." + name + ".before"); err != nil {
		return err
	}
	var problems []string
	ended := false
	installs := counter{of: len(t.Install) + len(t.Upgrade)}
	erases := counter{of: len(t.Erase) + len(t.Rows) + len(t.Replaced)}
	_, rerr := hostcmd.Run(context.WithoutCancel(ctx), hostcmd.Cmd{
		Path: py, Args: []string{"-I", "-B", script, spec}, OutputFile: log,
		OnLine: func(_ hostcmd.Stream, line string) {
			var ev event
			if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &ev) != nil {
				return
			}
			switch ev.Event {
			case "install":
				e.sayPackage("installing", packageOf(ev.Path), installs.next())
			case "erase":
				e.sayPackage("removing", ev.Name, erases.next())
			case "script-warning":
				e.say("a scriptlet of %s failed, and rpm went on: see %s", packageOf(ev.Of), log)
			case "dependencies":
				problems = append(problems, ev.Problems...)
			case "end":
				ended = true
				problems = append(problems, ev.Problems...)
			}
			if !t.Test {
				_ = fault.Point("rpm." + name + "." + ev.Event)
			}
		},
	})
	if err := fault.Point("rpm." + name + ".after"); err != nil {
		return err
	}
	switch {
	case rerr == nil && ended:
		return nil
	case t.Force && ended:
		return nil // what is told about dependencies is in the log
	case len(problems) > 0:
		if len(problems) > 10 {
			problems = append(problems[:10], fmt.Sprintf("and %d more, see %s", len(problems)-10, log))
		}
		return fmt.Errorf("%w: %s", ErrRPM, strings.Join(problems, "; "))
	case rerr == nil:
		return fmt.Errorf("%w: the transaction ended without a word, see %s", ErrRPM, log)
	}
	return fmt.Errorf("%w: %w", ErrRPM, rerr)
}

// ourEpoch is how plan.FileName writes an epoch.
var ourEpoch = regexp.MustCompile(`^(.*)-([0-9]+)_([^-]+-[^-]+)$`)

// packageOf names a package by the file that we keep it in, or as rpm does.
func packageOf(file string) string {
	n := strings.TrimSuffix(filepath.Base(file), ".rpm")
	m := ourEpoch.FindStringSubmatch(n)
	switch {
	case m == nil:
		return n
	case m[2] == "0":
		return m[1] + "-" + m[3]
	}
	return m[1] + "-" + m[2] + ":" + m[3]
}

// counter counts packages of a transaction.
type counter struct{ n, of int }

func (k *counter) next() counter {
	k.n++
	return *k
}

// otherSecond waits, where a transaction was killed a moment ago, for the second
// to pass in which its log was last written: rpm's transaction id is the time in
// seconds, files are unpacked as "name;id", and one that two transactions share
// ends in "unpack-error".
func otherSecond(log string) {
	st, err := os.Stat(log)
	for range 20 { // a clock that was set back is not waited for
		if err != nil || time.Now().Unix() != st.ModTime().Unix() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// alone waits until no transaction of an earlier run of this change is still
// at work: rpm goes on when we are killed.
func (e *Env) alone(c *txn.Change) (release func(), err error) {
	name := filepath.Join(c.Dir, "rpm.lock")
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		e.say("waiting for the rpm transaction of the interrupted run to end")
		for {
			if err = unix.Flock(fd, unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("cannot lock %s: %w", name, err)
		}
	}
	return func() { _ = unix.Close(fd) }, nil
}

// noDocs tells whether dnf leaves documentation out on this host.
func noDocs() bool {
	data, err := os.ReadFile("/etc/dnf/dnf.conf")
	if err != nil {
		return false
	}
	for line := range bytes.Lines(data) {
		k, v, ok := strings.Cut(string(line), "=")
		if ok && strings.TrimSpace(k) == "tsflags" && strings.Contains(v, "nodocs") {
			return true
		}
	}
	return false
}

// Wait lets a transaction of an interrupted run of a change come to its end.
func (e *Env) Wait(c *txn.Change) error {
	release, err := e.alone(c)
	if err != nil {
		return err
	}
	release()
	return nil
}
