package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// binary is where hosts see what `make build` made.
const binary = "/mnt/project/bin/almamigrate"

// lab returns the path of the lab's driver and of its state, or skips.
func lab(t testing.TB) (driver, state string) {
	t.Helper()
	if os.Getenv("ALMAMIGRATE_LAB") != "1" {
		t.Skip("SKIPPED: end-to-end tests need the lab: run `make test` as root (sets ALMAMIGRATE_LAB=1)")
	}
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: end-to-end tests need root for the lab's hosts")
	}
	root := realdata.ProjectRoot(t)
	state = os.Getenv("LAB")
	if state == "" {
		state = filepath.Join(root, ".lab")
	}
	return filepath.Join(root, "test", "lab", "lab"), state
}

// driver runs the lab's driver and returns its standard output.
func driver(t testing.TB, args ...string) string {
	t.Helper()
	path, _ := lab(t)
	var out, errs bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot run lab %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

// Host is a host of its own, gone when its test ends.
type Host struct {
	t      testing.TB
	Name   string
	Distro string
	Major  int

	farm bool  // its fixtures are shown to every command
	disk *Disk // all that it writes, if that is a file system of its own
}

var hosts atomic.Int64

// NewHost makes a host of centos, stream, rocky, oracle, rhel or alma. The
// option "--bdb" gives it a Berkeley DB that only readers understand.
func NewHost(t testing.TB, distro string, major int, options ...string) *Host {
	t.Helper()
	name := regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(strings.ToLower(t.Name()), "-")
	h := &Host{t: t, Name: fmt.Sprintf("%s-%d-%d", name[:min(len(name), 40)], os.Getpid(), hosts.Add(1)), Distro: distro, Major: major}
	driver(t, append([]string{"new", h.Name, distro, strconv.Itoa(major)}, options...)...)
	t.Cleanup(func() { driver(t, "rm", h.Name) })
	return h
}

// Result is how a command in a host ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Cmd is a command in a host.
type Cmd struct {
	Args  []string
	Stdin string
	User  string            // name of a user, empty is root
	Env   map[string]string // in the host
	Farm  bool              // a /proc that shows the host's fixtures
}

// Do runs a command; only a failure to start it fails the test.
func (h *Host) Do(c Cmd) Result {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd := h.command(c)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.Stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("cannot run %q in host %s: %v", c.Args, h.Name, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// command is what runs a command in the host.
func (h *Host) command(c Cmd) *exec.Cmd {
	path, _ := lab(h.t)
	words := append([]string{path, "run", h.Name}, c.Args...)
	if h.disk != nil {
		words = append(h.disk.enter(), words...)
	}
	cmd := exec.Command(words[0], words[1:]...)
	var env []string
	for k, v := range c.Env {
		env = append(env, k+"="+v)
	}
	cmd.Env = append(os.Environ(), "LAB_ENV="+strings.Join(env, " "), "LAB_USER="+c.User)
	if c.Farm || h.farm {
		cmd.Env = append(cmd.Env, "LAB_PROC=farm")
	}
	return cmd
}

// Run runs a command as root.
func (h *Host) Run(args ...string) Result {
	h.t.Helper()
	return h.Do(Cmd{Args: args})
}

// Must runs a command as root that has to succeed, and returns its output.
func (h *Host) Must(args ...string) string {
	h.t.Helper()
	r := h.Run(args...)
	if r.Code != 0 {
		h.t.Fatalf("%q in host %s: exit code %d\n%s%s", args, h.Name, r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Almamigrate runs the binary that was built.
func (h *Host) Almamigrate(args ...string) Result {
	h.t.Helper()
	return h.Run(append([]string{binary}, args...)...)
}

// Write writes a file of the host, with the folders above it.
func (h *Host) Write(path, content string) {
	h.t.Helper()
	r := h.Do(Cmd{Args: []string{"sh", "-c", `mkdir -p "$(dirname "$1")" && cat > "$1"`, "sh", path}, Stdin: content})
	if r.Code != 0 {
		h.t.Fatalf("cannot write %s in host %s: %s", path, h.Name, r.Stderr)
	}
}

// Upper is the folder with everything that the host changed since it was made:
// the whole host is that over read-only layers.
func (h *Host) Upper() string {
	h.t.Helper()
	upper := strings.TrimSpace(driver(h.t, "upper", h.Name))
	if h.disk != nil && !h.disk.part {
		return h.disk.path("/upper")
	}
	return upper
}

// memory lists what is in a host's file systems that are in memory and so not
// in Upper.
const memory = `find /tmp /run /dev/shm -printf "%p %y %m %U %G %s %T@ %l\n" | LC_ALL=C sort`

// DoUnchanged runs a command and fails the test if anything in the host
// changed by it: content, mode, owner, time or attribute of any file anywhere,
// but for what is in or below the allowed paths (and the times of the folders
// that hold those).
func (h *Host) DoUnchanged(c Cmd, allowed ...string) Result {
	h.t.Helper()
	before := Tree(h.t, h.Upper())
	// what leaves no trace on disk is compared inside; 97 is nobody's exit code
	c.Args = append([]string{"bash", "-c", `b=$(` + memory + `); "$@"; rc=$?; a=$(` + memory + `)
[ "$a" = "$b" ] || { diff <(echo "$b") <(echo "$a") >&2; exit 97; }; exit $rc`, "bash"}, c.Args...)
	r := h.Do(c)
	if r.Code == 97 {
		h.t.Errorf("%q changed files in memory:\n%s", c.Args[4:], r.Stderr)
	}
	for _, d := range Changes(before, Tree(h.t, h.Upper()), allowed...) {
		h.t.Errorf("%q in host %s: %s", c.Args[4:], h.Name, d)
	}
	return r
}

// SyncRow is what dnf's distro-sync to AlmaLinux would do with one package.
type SyncRow struct {
	Name, Arch string
	Action     string // keep, upgrade, downgrade, reinstall, obsoleted, remove, install
	From       string // EVR, "-" for install
	To         string // EVR.arch, or what obsoletes it; "-" for remove
	Repo       string
}

// DistroSync asks the host's own dnf (test/lab/diff-distro-sync); kinds are
// baseos, appstream, extras, crb, ha, plus.
func (h *Host) DistroSync(kinds ...string) []SyncRow {
	h.t.Helper()
	path, _ := lab(h.t)
	args := []string{h.Name}
	if len(kinds) > 0 {
		args = append(args, strings.Join(kinds, ","))
	}
	cmd := exec.Command(filepath.Join(filepath.Dir(path), "diff-distro-sync"), args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("cannot resolve the distro-sync of host %s: %v\n%s", h.Name, err, errs.String())
	}
	var rows []SyncRow
	for l := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		if len(f) != 6 {
			h.t.Fatalf("not six columns: %q", l)
		}
		rows = append(rows, SyncRow{f[0], f[1], f[2], f[3], f[4], f[5]})
	}
	return rows
}

// Meta is what the lab knows of a distribution of a major.
type Meta struct {
	ID      string
	Major   int
	Key     string
	Install []string // NEVRA without epoch
	Streams []string
	Repos   map[string]struct {
		Path, Kind string
		Enabled    bool
	}
}

// ReadMeta reads it for a part such as "centos-8".
func ReadMeta(t testing.TB, part string) Meta {
	t.Helper()
	_, state := lab(t)
	data, err := os.ReadFile(filepath.Join(state, "world", "meta", part+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var m Meta
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// World is the folder of the package worlds: www (as served), keys, meta.
func World(t testing.TB) string {
	t.Helper()
	_, state := lab(t)
	return filepath.Join(state, "world")
}

// ServerURL is where World's www is served, without a slash at the end; the
// server runs as soon as there is a host.
func ServerURL(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(driver(t, "serve", "url"))
}
