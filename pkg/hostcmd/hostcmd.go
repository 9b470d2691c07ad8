package hostcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Path is the search path of programs and what they get as PATH.
const Path = "/usr/sbin:/usr/bin:/sbin:/bin"

// DefaultMaxOutput is how much of each stream is kept where a Cmd does not say.
const DefaultMaxOutput = 4 << 20

// KillPolicy says what happens to a running program when its context is
// cancelled or its Timeout is over.
type KillPolicy int

const (
	// KillNever waits for the end whatever happens: for everything that changes the host.
	KillNever KillPolicy = iota
	// KillTerm sends SIGTERM to the program and its children, and SIGKILL after KillGrace.
	KillTerm
	// KillNow sends SIGKILL to the program and its children: for queries.
	KillNow
)

// KillGrace is how long KillTerm leaves a program to end by itself.
const KillGrace = 10 * time.Second

// pipeGrace is how long output is awaited after a program's end: a daemon that a scriptlet started may hold the pipe for ever.
const pipeGrace = 2 * time.Second

// Stream tells where a line came from.
type Stream int

// The streams. With Cmd.OutputFile all lines are Stdout.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Cmd is one run of a program.
type Cmd struct {
	// Path is the program: absolute (as seen below Root), or a bare name that is looked for in Path below Root.
	Path string
	// Args are its arguments, without the program's name.
	Args []string
	// Env is added to the fixed environment (LC_ALL=C.UTF-8, PATH, HOME=/root, TERM=dumb); a later entry replaces an earlier one.
	Env []string
	// Dir is the working directory as seen below Root; "" is "/".
	Dir string
	// Root is the folder to chroot to; "" and "/" mean the running system.
	Root string
	// Stdin is given to the program; nil is /dev/null.
	Stdin io.Reader
	// StdoutTo, if set, gets the standard output, of which nothing is kept then: for programs that filter data. An error of
	// its Write ends the program. Not together with OutputFile.
	StdoutTo io.Writer
	// LogTo gets both streams as they come; its errors are not the program's and are ignored. May be nil.
	LogTo io.Writer
	// OutputFile, if set, is opened for appending, and the program writes both streams straight into it, with no pipe to us.
	// That is how anything that changes the host must run: should we be killed, a pipe would break and take the program or
	// one of its scriptlets down with SIGPIPE. LogTo and OnLine are fed from the file. It is a path of ours, not below Root.
	OutputFile string
	// OnLine is called for every line of output, without its newline, from one goroutine at a time. A line longer than 64 KiB
	// comes in pieces. May be nil.
	OnLine func(Stream, string)
	// Timeout after the start; 0 is none. It needs a Kill policy.
	Timeout time.Duration
	// Kill says what a cancelled context or the Timeout does.
	Kill KillPolicy
	// MaxOutput is how many bytes of each stream are kept in the Result; 0 is DefaultMaxOutput. What is beyond is read,
	// passed on to LogTo and OnLine, and dropped.
	MaxOutput int
}

// Result is how a program ended.
type Result struct {
	Stdout, Stderr []byte         // the first MaxOutput bytes; with OutputFile both are in Stdout
	Truncated      bool           // there was more
	ExitCode       int            // -1 if it was ended by a signal, or never started
	Signal         syscall.Signal // that ended it, 0 if none
	Duration       time.Duration
}

// ErrNotFound means that there is no such program below the root.
var ErrNotFound = errors.New("no such program")

// ErrKilled means that the program was killed by us: the context was cancelled
// or the timeout was over. The context's error is wrapped beside it.
var ErrKilled = errors.New("killed")

// ErrTruncated means that a program wrote more than was allowed for.
var ErrTruncated = errors.New("output too long")

// ExitError means that the program ended with a code other than 0 or by a
// signal.
type ExitError struct {
	Command string
	Result  Result
}

// Error quotes the command and the end of what it said.
func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit code %d", e.Result.ExitCode)
	if e.Result.Signal != 0 {
		how = "killed by signal " + e.Result.Signal.String()
	}
	said := lastLines(e.Result.Stderr, 5)
	if said == "" {
		said = lastLines(e.Result.Stdout, 5)
	}
	if said != "" {
		how += ": " + said
	}
	return "cannot run " + e.Command + ": " + how
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	s := strings.Join(lines, "; ")
	if len(s) > 1000 {
		s = "..." + strings.ToValidUTF8(s[len(s)-1000:], "")
	}
	return s
}

// Output runs a program and returns what it wrote to its standard output; more
// than MaxOutput is ErrTruncated, since a list cut short must not be taken for
// the whole.
func Output(ctx context.Context, c Cmd) ([]byte, error) {
	res, err := Run(ctx, c)
	if err != nil {
		return res.Stdout, err
	}
	if res.Truncated {
		return res.Stdout, fmt.Errorf("cannot run %s: %w", c, ErrTruncated)
	}
	return res.Stdout, nil
}

// Run runs a program to its end. A program that cannot be started is an error
// that wraps ErrNotFound or the system's; one that does not end with 0 is an
// *ExitError; one that we had to kill wraps ErrKilled. The Result holds what is
// known in every case. A context that is over before the start starts nothing.
func Run(ctx context.Context, c Cmd) (Result, error) {
	res := Result{ExitCode: -1}
	if c.Timeout > 0 && c.Kill == KillNever {
		return res, fmt.Errorf("internal error: cannot run %s: a timeout needs a kill policy", c)
	}
	if err := ctx.Err(); err != nil {
		return res, fmt.Errorf("cannot run %s: %w", c, err)
	}
	path := c.Path
	if !strings.HasPrefix(path, "/") {
		p, err := Look(c.Root, path)
		if err != nil {
			return res, err
		}
		path = p
	}
	cmd := &exec.Cmd{Path: path, Args: append([]string{c.Path}, c.Args...), Env: c.environment(), Dir: c.Dir, Stdin: c.Stdin}
	if cmd.Dir == "" {
		// Without it a program below a root would begin in a folder outside of it.
		cmd.Dir = "/"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if chrooted(c.Root) {
		cmd.SysProcAttr.Chroot = c.Root
	}
	cmd.WaitDelay = pipeGrace

	sink := newSink(c)
	filter := &keepError{w: c.StdoutTo}
	var follow *follower
	if c.OutputFile != "" {
		f, err := os.OpenFile(c.OutputFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return res, fmt.Errorf("cannot run %s: %w", c, err)
		}
		defer f.Close()
		if follow, err = newFollower(c.OutputFile, sink.stream(Stdout)); err != nil {
			return res, fmt.Errorf("cannot run %s: %w", c, err)
		}
		cmd.Stdout, cmd.Stderr = f, f
	} else {
		cmd.Stdout, cmd.Stderr = sink.stream(Stdout), sink.stream(Stderr)
		if c.StdoutTo != nil {
			cmd.Stdout = filter
		}
	}

	began := time.Now()
	if err := cmd.Start(); err != nil {
		follow.stop()
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return res, fmt.Errorf("cannot run %s: %w", c, err)
	}
	follow.start()
	killed := watch(ctx, c, cmd.Process.Pid)
	waitErr := cmd.Wait()
	cause := killed()
	follow.stop()
	sink.flush()

	res.Duration = time.Since(began)
	res.Stdout, res.Stderr, res.Truncated = sink.stream(Stdout).kept.Bytes(), sink.stream(Stderr).kept.Bytes(), sink.truncated()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		if status.Signaled() {
			res.Signal = status.Signal()
		} else {
			res.ExitCode = status.ExitStatus()
		}
	}
	switch {
	case cause != nil:
		return res, fmt.Errorf("cannot run %s: %w: %w", c, ErrKilled, cause)
	case filter.err != nil:
		// The program itself died of a broken pipe then.
		return res, fmt.Errorf("cannot pass on the output of %s: %w", c, filter.err)
	case res.ExitCode != 0:
		return res, &ExitError{Command: c.String(), Result: res}
	}
	if c.StdoutTo != nil && errors.Is(waitErr, exec.ErrWaitDelay) {
		return res, fmt.Errorf("cannot run %s: its output did not end with it: %w", c, waitErr)
	}
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) && !errors.Is(waitErr, exec.ErrWaitDelay) {
		return res, fmt.Errorf("cannot run %s: %w", c, waitErr)
	}
	return res, nil
}

// watch kills the process group when the context or the timeout is over and the
// policy allows it. The function it returns ends the watch and tells why a kill
// was sent, nil if none was.
func watch(ctx context.Context, c Cmd, pid int) func() error {
	if c.Kill == KillNever {
		return func() error { return nil }
	}
	cancel := func() {}
	if c.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
	}
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() {
		select {
		case <-ended:
			done <- nil
			return
		case <-ctx.Done():
		}
		// The program leads its own session, so its group is its pid.
		if c.Kill == KillTerm {
			_ = syscall.Kill(-pid, syscall.SIGTERM)
			select {
			case <-ended:
				done <- ctx.Err()
				return
			case <-time.After(KillGrace):
			}
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		<-ended
		done <- ctx.Err()
	}()
	return func() error {
		close(ended)
		err := <-done
		cancel()
		return err
	}
}

func chrooted(root string) bool { return root != "" && root != "/" }

func (c Cmd) environment() []string {
	env := []string{"LC_ALL=C.UTF-8", "PATH=" + Path, "HOME=/root", "TERM=dumb"}
	for _, e := range c.Env {
		name, _, _ := strings.Cut(e, "=")
		kept := env[:0]
		for _, old := range env {
			if !strings.HasPrefix(old, name+"=") {
				kept = append(kept, old)
			}
		}
		env = append(kept, e)
	}
	return env
}

// String is the command as one would type it into a shell, for logs and for
// the hands of a human: chroot and added environment included, all quoted.
func (c Cmd) String() string {
	var words []string
	if chrooted(c.Root) {
		words = append(words, "chroot", Quote(c.Root))
	}
	if len(c.Env) > 0 {
		words = append(words, "env")
		for _, e := range c.Env {
			name, value, _ := strings.Cut(e, "=")
			words = append(words, name+"="+Quote(value))
		}
	}
	words = append(words, Quote(c.Path))
	for _, a := range c.Args {
		words = append(words, Quote(a))
	}
	return strings.Join(words, " ")
}

// Quote quotes a word for a POSIX shell where that is needed. Control
// characters are written as $'\x1b', so that a log stays one line and harmless.
func Quote(s string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=@%+,"
	if s == "" {
		return "''"
	}
	if strings.Trim(s, plain) == "" {
		return s
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f }) {
		var b strings.Builder
		b.WriteString("$'")
		for i := range len(s) {
			switch ch := s[i]; {
			case ch == '\'' || ch == '\\':
				b.WriteByte('\\')
				b.WriteByte(ch)
			case ch < 0x20 || ch >= 0x7f:
				fmt.Fprintf(&b, `\x%02x`, ch)
			default:
				b.WriteByte(ch)
			}
		}
		b.WriteString("'")
		return b.String()
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

type cappedBuffer struct {
	bytes.Buffer
	max       int
	truncated bool
}

func (b *cappedBuffer) add(p []byte) {
	if room := b.max - b.Len(); len(p) > room {
		p, b.truncated = p[:max(room, 0)], true
	}
	b.Write(p)
}
