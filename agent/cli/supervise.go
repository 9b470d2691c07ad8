package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/login1"
	"github.com/coreos/go-systemd/v22/util"
	godbus "github.com/godbus/dbus/v5"

	"github.com/almamigrate/almamigrate/agent/plan"
)

// unitName is the unit that a migration or rollback runs in. One name for all,
// so that systemd itself refuses a second one.
const unitName = "almamigrate-run.service"

// underSystemd tells whether systemd is the first process of this system and
// can supervise a run: not in most containers, an installer, or a chroot. A
// chroot may well see the /run of the system around it; a unit started there
// would change that system and not this one.
func underSystemd() bool {
	if !util.IsRunningSystemd() {
		return false
	}
	mine, err := os.Stat("/")
	if err != nil {
		return false
	}
	its, err := os.Stat("/proc/1/root")
	if err != nil || !os.SameFile(mine, its) {
		return false
	}
	comm, err := os.ReadFile("/proc/1/comm")
	name := strings.TrimSpace(string(comm))
	return err == nil && (name == "systemd" || name == "init")
}

// supervised tells whether a run is to be a unit of its own.
func (a *app) supervised(foreground bool) bool {
	return !foreground && a.unit == nil && underSystemd()
}

// noteForeground says what it means that a run which would be a unit of its own
// is none; to be said when it is certain that there will be a run.
func (a *app) noteForeground(asked bool) {
	if !asked && a.unit == nil && !underSystemd() {
		a.note("There is no systemd here: running in the foreground, where a dropped connection stops it at the next safe point.")
	}
}

// note writes a line for people to standard error.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		_, _ = fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// request is a run that is to be a unit.
type request struct {
	command    []string   // of the program, with flags of fixed text only: everybody can read them
	free       []string   // flags with text of the user's
	plan       *plan.Plan // the approved one, nil for none
	progressFD int
}

// inUnit starts a run as a unit, shows what it tells, and ends with its exit
// code. The locks must be free.
func (a *app) inUnit(ctx context.Context, r request) error {
	dir, err := newRunFolder(runsDir, time.Now())
	if err != nil {
		return err
	}
	args := append([]string(nil), r.command...)
	if r.plan != nil {
		file, err := dir.writePlan(r.plan)
		if err != nil {
			return err
		}
		args = append(args, "--plan", file)
	}
	for flag, on := range map[string]bool{"--json": a.json, "--quiet": a.quiet, "--debug": a.debug} {
		if on {
			args = append(args, flag)
		}
	}
	free := r.free
	if a.configFile != "" {
		free = append(free, "--config="+absolute(a.configFile))
	}
	if err := dir.writeStart(free); err != nil {
		return err
	}
	if err := startUnit(ctx, dir, args); err != nil {
		return errors.Join(err, os.RemoveAll(string(dir)))
	}
	a.note("Running as %s: it goes on without this terminal. Ctrl-C only stops watching.", unitName)
	return a.follow(ctx, dir, a.out, r.progressFD)
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// unitFlags are the repository flags of a unit that carries out a plan: what
// was overridden is in the plan.
func (f *repoFlags) unitFlags() (fixed, free []string) {
	if f.offline {
		fixed = append(fixed, "--offline")
	}
	if f.mirror != "" {
		free = append(free, "--mirror="+f.mirror)
	}
	for _, r := range f.repos {
		free = append(free, "--repo="+r)
	}
	if f.cacheDir != "" {
		free = append(free, "--cache-dir="+absolute(f.cacheDir))
	}
	return fixed, free
}

// connect reaches systemd: by its own socket, which stays when the message bus
// is restarted, or else by the bus.
func connect(ctx context.Context) (*dbus.Conn, error) {
	ctx = context.WithoutCancel(ctx)
	if os.Geteuid() == 0 {
		if conn, err := dbus.NewSystemdConnectionContext(ctx); err == nil {
			return conn, nil
		}
	}
	conn, err := dbus.NewSystemConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot reach systemd: %w", err)
	}
	return conn, nil
}

// startUnit runs the program with args as a transient unit of its own, so that
// a dropped ssh session, or sshd restarted by the very transaction, does not
// end it.
func startUnit(ctx context.Context, dir runFolder, args []string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find the program's own file: %w", err)
	}
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A unit that failed stays known until it is reset; one that runs is not
	// touched by this.
	_ = conn.ResetFailedUnitContext(ctx, unitName)
	prop := func(name string, v any) dbus.Property {
		return dbus.Property{Name: name, Value: godbus.MakeVariant(v)}
	}
	props := []dbus.Property{
		dbus.PropDescription("almamigrate " + args[0]),
		// SELinux does not let systemd itself run a program from a home folder,
		// where many a downloaded binary is; env(1) may.
		dbus.PropExecStart(append([]string{"/usr/bin/env", exe}, args...), false),
		dbus.PropType("simple"),
		// The program opens its output itself: files as output are no property
		// of transient units in EL8's systemd.
		prop("Environment", []string{runVariable + "=" + string(dir)}),
		// At a stop only the program is told, never rpm below it, and nothing
		// is killed: the program ends at the next safe point by itself.
		prop("KillMode", "process"),
		prop("SendSIGKILL", false),
		prop("TimeoutStopUSec", ^uint64(0)),
		prop("OOMScoreAdjust", int32(-900)),
	}
	done := make(chan string, 1)
	if _, err := conn.StartTransientUnitContext(ctx, unitName, "fail", props, done); err != nil {
		var de godbus.Error
		if errors.As(err, &de) && de.Name == "org.freedesktop.systemd1.UnitExists" {
			return &UserError{Msg: "cannot start: another run is at work in " + unitName, Code: ExitLocked, Hint: "almamigrate status --follow"}
		}
		return fmt.Errorf("cannot start the unit %s: %w", unitName, err)
	}
	select {
	case res := <-done:
		if res != "done" {
			return &UserError{Msg: fmt.Sprintf("cannot start the unit %s: systemd says %q", unitName, res), Hint: "journalctl -u " + unitName}
		}
	case <-ctx.Done(): // it starts all the same; the follower says so
	}
	return nil
}

// unitRunning finds the folder of the run that is at work in the unit, "" where
// none is. An error means that systemd did not answer.
func unitRunning(ctx context.Context) (runFolder, error) {
	if !underSystemd() {
		return "", nil
	}
	conn, err := connect(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if active, err := unitActive(ctx, conn); err != nil || !active {
		return "", err
	}
	p, err := conn.GetServicePropertyContext(ctx, unitName, "Environment")
	if err != nil {
		return "", fmt.Errorf("cannot ask systemd for %s: %w", unitName, err)
	}
	list, _ := p.Value.Value().([]string)
	for _, e := range list {
		if v, ok := strings.CutPrefix(e, runVariable+"="); ok {
			return runFolder(v), nil
		}
	}
	return "", nil
}

// awaitRunning is unitRunning for somebody who is to watch: it does not take
// the moment in which systemd executes itself again for the end of the run.
func awaitRunning(ctx context.Context) (runFolder, error) {
	began := time.Now()
	for {
		dir, err := unitRunning(ctx)
		if err == nil || time.Since(began) > 10*time.Second {
			return dir, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func unitActive(ctx context.Context, conn *dbus.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	p, err := conn.GetUnitPropertyContext(ctx, unitName, "ActiveState")
	if err != nil {
		return false, fmt.Errorf("cannot ask systemd for %s: %w", unitName, err)
	}
	switch s, _ := p.Value.Value().(string); s {
	case "active", "activating", "deactivating", "reloading":
		return true, nil
	}
	return false, nil
}

// lostSystemd is how long a follower goes on without an answer of systemd,
// which is away for a moment when it is updated.
const lostSystemd = time.Minute

// follow shows what the unit tells until it has ended, and ends with its exit
// code. Ending the follower does not end the unit.
func (a *app) follow(ctx context.Context, dir runFolder, out io.Writer, progressFD int) error {
	t, err := dir.tail(out, a.err, progressFD)
	if err != nil {
		return err
	}
	defer t.close()
	var conn *dbus.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	answered := time.Now()
	for {
		if conn == nil {
			conn, err = connect(ctx)
		}
		active := true
		if conn != nil {
			if active, err = unitActive(ctx, conn); err != nil {
				conn.Close()
				conn, active = nil, true
			} else {
				answered = time.Now()
			}
		}
		// Read after the question: nothing is written after the end.
		if cerr := t.copy(); cerr != nil {
			return cerr
		}
		if !active {
			break
		}
		if time.Since(answered) > lostSystemd {
			return &UserError{Err: err, Hint: "almamigrate status", Code: ExitLocked}
		}
		select {
		case <-ctx.Done():
			return &UserError{Msg: "no longer watching; the run goes on in " + unitName, Hint: "almamigrate status --follow", Code: ExitLocked}
		case <-time.After(100 * time.Millisecond):
		}
	}
	code, err := dir.exitCode()
	if err != nil {
		return a.ended(err)
	}
	if code != ExitOK {
		return &finished{code}
	}
	return nil
}

// ended tells about a run that could not say itself how it ended.
func (a *app) ended(cause error) error {
	e := &UserError{Msg: "the run was cut short", Err: cause, Code: ExitError, Hint: "journalctl -u " + unitName + "; then: almamigrate status"}
	if c, err := pendingChange(); err != nil || c != nil {
		e.Code = ExitPending
		e.Hint = "almamigrate migrate --resume, or: almamigrate rollback"
	}
	return e
}

// inhibitTimeout bounds the wait for logind: a migration does not hang on it.
const inhibitTimeout = 10 * time.Second

// inhibit keeps the machine from being shut down by others while the host is
// between two states, until the engine is closed. Without logind it says so,
// and the work goes on.
func (e *engine) inhibit(why string) {
	if !underSystemd() {
		return
	}
	type answer struct {
		release func()
		err     error
	}
	ch := make(chan answer, 1)
	go func() {
		conn, err := login1.New()
		if err != nil {
			ch <- answer{err: err}
			return
		}
		fd, err := conn.Inhibit("shutdown:sleep", "almamigrate", why, "block")
		if err != nil {
			conn.Close()
			ch <- answer{err: err}
			return
		}
		ch <- answer{release: func() { _ = fd.Close(); conn.Close() }}
	}()
	var err error
	select {
	case a := <-ch:
		if a.err == nil {
			e.unlock = append(e.unlock, a.release)
			return
		}
		err = a.err
	case <-time.After(inhibitTimeout):
		err = errors.New("logind does not answer")
	}
	e.say("cannot keep others from shutting the machine down: %v; going on", err)
}
