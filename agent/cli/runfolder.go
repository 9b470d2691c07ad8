package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// runsDir holds a folder for every supervised run, the last runsKept of them.
const (
	runsDir  = "/var/log/almamigrate"
	runsKept = 10
)

// runVariable tells the program in the unit which folder is its own.
const runVariable = "ALMAMIGRATE_RUN"

// runFolder is what the starter of a supervised run and the program in the
// unit share. Files rather than pipes: who watches may go and come.
type runFolder string

const (
	runStart  = "start.json" // starter to unit; gone once it was read
	runPlan   = "plan.json"  // the approved plan
	runErr    = "run.log"    // standard error
	runOut    = "run.out"    // standard output
	runEvents = "run.jsonl"  // progress for machines
	runExit   = "exit"       // the exit code; absent while at work, and after a kill
)

// newRunFolder makes a folder in dir, readable for its owner only, with empty
// output, and removes the oldest ones.
func newRunFolder(dir string, now time.Time) (runFolder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the log folder: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "run-*"))
	if err != nil {
		return "", fmt.Errorf("cannot list the log folder: %w", err)
	}
	slices.Sort(old) // names are times
	for i := 0; i < len(old)-(runsKept-1); i++ {
		_ = os.RemoveAll(old[i]) // an old log that stays hurts nobody
	}
	r := runFolder(filepath.Join(dir, fmt.Sprintf("run-%s-%d", now.UTC().Format("20060102T150405.000"), os.Getpid())))
	if err := os.Mkdir(string(r), 0o700); err != nil {
		return "", fmt.Errorf("cannot make the log folder: %w", err)
	}
	for _, n := range []string{runErr, runOut, runEvents} {
		if err := os.WriteFile(r.file(n), nil, 0o600); err != nil {
			return "", fmt.Errorf("cannot write the log: %w", err)
		}
	}
	return r, nil
}

func (r runFolder) file(name string) string { return filepath.Join(string(r), name) }

func (r runFolder) writePlan(p *plan.Plan) (file string, err error) {
	var b bytes.Buffer
	if err := p.WriteJSON(&b); err != nil {
		return "", err
	}
	if err := atomicfile.Write(r.file(runPlan), b.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("cannot write the plan: %w", err)
	}
	return r.file(runPlan), nil
}

// start is what the unit gets besides its command line, which everybody on the
// host can read: a URL or a proxy may hold a password.
type start struct {
	Args        []string          `json:"args"`
	Environment map[string]string `json:"environment"`
}

// passed are the variables that the program and Go's libraries heed.
var passed = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "TZ", "GOGC", "GOMEMLIMIT",
}

func (r runFolder) writeStart(args []string) error {
	s := start{Args: args, Environment: map[string]string{}}
	for _, k := range passed {
		if v, ok := os.LookupEnv(k); ok {
			s.Environment[k] = v
		}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("internal error: cannot encode the start: %w", err)
	}
	if err := os.WriteFile(r.file(runStart), data, 0o600); err != nil {
		return fmt.Errorf("cannot write what to start: %w", err)
	}
	return nil
}

// exitCode returns how the program in the unit ended.
func (r runFolder) exitCode() (int, error) {
	data, err := os.ReadFile(r.file(runExit))
	if errors.Is(err, os.ErrNotExist) {
		return 0, errors.New("it did not say how it ended")
	}
	if err != nil {
		return 0, fmt.Errorf("cannot read how the run ended: %w", err)
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("cannot read how the run ended: %w", err)
	}
	return code, nil
}

// tails copies a run's output to those who watch.
type tails struct{ list []tail }

type tail struct {
	from *os.File
	to   io.Writer
}

// tail opens a run's output; progressFD above 2 gets the progress for machines.
func (r runFolder) tail(out, errw io.Writer, progressFD int) (*tails, error) {
	t := &tails{}
	add := func(name string, to io.Writer) error {
		f, err := os.Open(r.file(name))
		if err != nil {
			return fmt.Errorf("cannot follow the run: %w", err)
		}
		t.list = append(t.list, tail{f, to})
		return nil
	}
	// Progress comes before the results that it leads to.
	err := add(runErr, errw)
	if progressFD > 2 {
		err = errors.Join(err, add(runEvents, os.NewFile(uintptr(progressFD), "progress")))
	}
	err = errors.Join(err, add(runOut, out))
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tails) copy() error {
	for _, x := range t.list {
		if _, err := io.Copy(x.to, x.from); err != nil {
			return fmt.Errorf("cannot follow the run: %w", err)
		}
	}
	return nil
}

func (t *tails) close() {
	for _, x := range t.list {
		_ = x.from.Close()
	}
}

// unitRun is the program in the unit.
type unitRun struct {
	dir              runFolder
	args             []string
	out, err, events *os.File
}

// enterUnit takes up what the starter left in the folder that the environment
// names. Outside of the unit it returns nil.
func enterUnit(dir string) (*unitRun, error) {
	name := os.Getenv(runVariable)
	if name == "" {
		return nil, nil
	}
	_ = os.Unsetenv(runVariable) // not for those we start
	u := &unitRun{dir: runFolder(filepath.Clean(name))}
	if filepath.Dir(string(u.dir)) != dir {
		return nil, fmt.Errorf("cannot use %s=%s: it is not in %s", runVariable, name, dir)
	}
	data, err := os.ReadFile(u.dir.file(runStart))
	if err != nil {
		return nil, fmt.Errorf("cannot read what to start: %w", err)
	}
	var s start
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("cannot read what to start: %w", err)
	}
	for k, v := range s.Environment {
		if slices.Contains(passed, k) {
			_ = os.Setenv(k, v)
		}
	}
	u.args = s.Args
	if err := os.Remove(u.dir.file(runStart)); err != nil {
		return nil, fmt.Errorf("cannot remove what was started: %w", err)
	}
	for _, f := range []struct {
		name string
		to   **os.File
	}{{runErr, &u.err}, {runOut, &u.out}, {runEvents, &u.events}} {
		if *f.to, err = os.OpenFile(u.dir.file(f.name), os.O_WRONLY|os.O_APPEND, 0); err != nil {
			return nil, fmt.Errorf("cannot write the log: %w", err)
		}
	}
	return u, nil
}

// end notes the exit code, after all output. On a full disk a follower is told
// that the run did not say how it ended; "status" knows.
func (u *unitRun) end(code int) {
	for _, f := range []*os.File{u.out, u.err, u.events} {
		_ = f.Close()
	}
	_ = atomicfile.Write(u.dir.file(runExit), []byte(strconv.Itoa(code)+"\n"), 0o600)
}
