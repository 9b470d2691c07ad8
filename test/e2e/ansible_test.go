package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// tool finds a program of the controller's, or skips.
func tool(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s is not here: apt-get install %s (make test does, as root)", name, pkg)
	}
	return path
}

// collection is the source of the Ansible collection.
func collection(t testing.TB) string {
	t.Helper()
	return filepath.Join(realdata.ProjectRoot(t), "packaging", "ansible")
}

// Controller is a folder to run Ansible in, with the collection installed as
// its users do it.
type Controller struct {
	t   testing.TB
	Dir string
}

// NewController builds and installs the collection.
func NewController(t testing.TB) *Controller {
	t.Helper()
	tool(t, "ansible-playbook", "ansible-core")
	// The sockets of ssh are below it, and their names may have 108 bytes.
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c := &Controller{t, dir}
	if err := os.WriteFile(dir+"/ansible.cfg", nil, 0o644); err != nil { // not the one of whoever runs the tests
		t.Fatal(err)
	}
	c.must("ansible-galaxy", "collection", "build", "--output-path", dir, collection(t))
	built, err := filepath.Glob(dir + "/almamigrate-agent-*.tar.gz")
	if err != nil || len(built) != 1 {
		t.Fatalf("built collections: %v %v", built, err)
	}
	c.must("ansible-galaxy", "collection", "install", "--offline", "-p", dir+"/collections", built[0])
	return c
}

func (c *Controller) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), "ANSIBLE_HOME="+c.Dir+"/home", "ANSIBLE_COLLECTIONS_PATHS="+c.Dir+"/collections", "ANSIBLE_NOCOLOR=1", "ANSIBLE_CONFIG="+c.Dir+"/ansible.cfg",
		"ANSIBLE_SSH_CONTROL_PATH_DIR="+c.Dir+"/cp", "ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_FORKS=5", "LC_ALL=C.UTF-8", "HOME="+c.Dir)
	return cmd
}

func (c *Controller) must(name string, args ...string) string {
	c.t.Helper()
	out, err := c.command(name, args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// Recap is a host's line at the end of a playbook.
type Recap struct{ OK, Changed, Unreachable, Failed, Rescued int }

// Play is how a playbook ended.
type Play struct {
	Output string
	Code   int
	Recap  map[string]Recap
}

var recapLine = regexp.MustCompile(`(?m)^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=\d+\s+rescued=(\d+)`)

// Play runs a playbook: of the collection (almamigrate.agent.rollout) or a file.
func (c *Controller) Play(playbook string, args ...string) Play {
	c.t.Helper()
	cmd := c.command("ansible-playbook", append([]string{"-i", c.Dir + "/inventory", playbook}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("cannot run ansible-playbook: %v", err)
	}
	p := Play{out.String(), cmd.ProcessState.ExitCode(), map[string]Recap{}}
	for _, m := range recapLine.FindAllStringSubmatch(p.Output, -1) {
		n := make([]int, 5)
		for i := range n {
			n[i], _ = strconv.Atoi(m[i+2]) // digits, by the expression
		}
		p.Recap[m[1]] = Recap{n[0], n[1], n[2], n[3], n[4]}
	}
	return p
}

// play runs a playbook that has to end with a code.
func (c *Controller) play(code int, playbook string, args ...string) Play {
	c.t.Helper()
	p := c.Play(playbook, args...)
	if p.Code != code {
		c.t.Fatalf("%s %q: exit code %d, not %d\n%s", playbook, args, p.Code, code, p.Output)
	}
	return p
}

// changed fails the test unless exactly these hosts of the play were changed.
func (p Play) changed(t testing.TB, what string, hosts ...string) {
	t.Helper()
	want := strings.Join(hosts, " ")
	var got []string
	for h, r := range p.Recap {
		if r.Changed > 0 {
			got = append(got, h)
		}
	}
	if len(got) != len(hosts) {
		t.Fatalf("%s: changed %v, not %s\n%s", what, got, want, p.Output)
	}
	for _, h := range hosts {
		if p.Recap[h].Changed == 0 {
			t.Fatalf("%s: changed %v, not %s\n%s", what, got, want, p.Output)
		}
	}
}

// sshHost is a host that is reached by ssh.
type sshHost struct {
	*Host
	facts string
}

func sshd(t testing.TB, args ...string) string {
	t.Helper()
	path, _ := lab(t)
	// A file: sshd would keep a pipe open as long as the host is up.
	f, err := os.CreateTemp(t.TempDir(), "sshd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(filepath.Join(filepath.Dir(path), "sshd"), args...)
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	out, _ := os.ReadFile(f.Name())
	if err != nil {
		t.Fatalf("cannot run sshd %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// in runs a command in the host, beside its sshd.
func (h *sshHost) in(script string) string {
	h.t.Helper()
	path, _ := lab(h.t)
	out, err := exec.Command(filepath.Join(filepath.Dir(path), "sshd"), "enter", h.Name, "bash", "-c", script).Output()
	if err != nil {
		h.t.Fatalf("%s in host %s: %v\n%s", script, h.Name, err, out)
	}
	return string(out)
}

func (h *sshHost) id() string { return strings.TrimSpace(h.in(". /etc/os-release; echo $ID")) }

// state are the facts that a way back has to bring back.
func (h *sshHost) state() string {
	return h.in(`rpm -qa --qf '%{NEVRA} %{SIGMD5}\n' | LC_ALL=C sort
cd /etc; sha256sum os-release yum.repos.d/* dnf/vars/* pki/rpm-gpg/*; ls -l redhat-release system-release os-release`)
}

// newFleet makes hosts, starts their sshd and writes the inventory.
func (c *Controller) newFleet(specs ...string) []*sshHost {
	t := c.t
	t.Helper()
	tool(t, "/usr/sbin/sshd", "openssh-server")
	var fleet []*sshHost
	var names []string
	for _, s := range specs {
		distro, major, _ := strings.Cut(s, " ")
		m, err := strconv.Atoi(major)
		if err != nil {
			t.Fatal(err)
		}
		h := &sshHost{Host: NewHost(t, distro, m)}
		fleet, names = append(fleet, h), append(names, h.Name)
	}
	t.Cleanup(func() { sshd(t, append([]string{"stop"}, names...)...) })
	sshd(t, append([]string{"start"}, names...)...)
	// No module of Ansible's that wants Python may run on a host.
	inventory := sshd(t, append([]string{"inventory"}, names...)...) + "ansible_python_interpreter=/nonexistent\n"
	if err := os.WriteFile(c.Dir+"/inventory", []byte(inventory), 0o600); err != nil {
		t.Fatal(err)
	}
	return fleet
}

// unchanged compares hosts with what they were, but for the metadata cache and
// what sshd notes of logins.
func unchanged(t testing.TB, what string, fleet []*sshHost, before []map[string]string) {
	t.Helper()
	for i, h := range fleet {
		for _, d := range Changes(before[i], Tree(t, h.Upper()), "/var/cache/almamigrate", "/var/log/lastlog", "/var/log/wtmp") {
			t.Errorf("%s: %s (%s %d): %s", what, h.Name, h.Distro, h.Major, d)
		}
	}
}

func trees(t testing.TB, fleet []*sshHost) (out []map[string]string) {
	t.Helper()
	for _, h := range fleet {
		out = append(out, Tree(t, h.Upper()))
	}
	return out
}

// A fleet of five distributions, by ssh and with real Ansible: reports, a dry
// run, a rollout that a canary stops, the same again once it is mended, once
// more, and one host taken back.
func TestFleetRollout(t *testing.T) {
	lab(t)
	c := NewController(t)
	fleet := c.newFleet("centos 8", "rocky 9", "oracle 8", "rhel 9", "stream 9")
	canary, sick := fleet[0], fleet[1]
	var names []string
	for _, h := range fleet {
		names = append(names, h.Name)
		h.facts = h.state()
	}
	src := "almamigrate_install_src=" + filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate")
	const install, report, rollout, rollback = "almamigrate.agent.install", "almamigrate.agent.report", "almamigrate.agent.rollout", "almamigrate.agent.rollback"

	c.play(0, install, "-e", src).changed(t, "install", names...)
	c.play(0, install, "-e", src).changed(t, "install again")

	p := c.play(0, report)
	p.changed(t, "report")
	for _, h := range fleet {
		var doc struct {
			Kind    string
			Verdict string
			Host    struct{ Name string }
		}
		data, err := os.ReadFile(filepath.Join(c.Dir, "almamigrate-reports", h.Name+".json"))
		if err == nil {
			err = json.Unmarshal(data, &doc)
		}
		if err != nil || doc.Kind != "almamigrate.report" || !strings.HasPrefix(doc.Verdict, "ready") {
			t.Errorf("report of %s: %v %+v", h.Name, err, doc)
		}
	}

	before := trees(t, fleet)
	p = c.play(0, rollout, "--check", "--diff")
	unchanged(t, "rollout --check", fleet, before)
	p.changed(t, "rollout --check: would change", names...)
	for _, s := range []string{"-centos-linux-release-", "-rocky-release-", "-oraclelinux-release-", "-redhat-release-", "-centos-stream-release-", "+almalinux-release-8", "+almalinux-release-9"} {
		if !strings.Contains(p.Output, "\n"+s) {
			t.Errorf("rollout --check --diff does not show %s", s)
		}
	}

	// The second host's migration is killed in the middle.
	faulty := faulty(t)
	sick.in(`printf '#!/bin/sh\nALMAMIGRATE_FAULT=txn.did.swap-packages:kill exec ` + faulty + ` "$@"\n' > /root/almamigrate; chmod 755 /root/almamigrate`)
	vars := filepath.Join(c.Dir, "host_vars", sick.Name+".yml")
	if err := errors.Join(os.Mkdir(filepath.Dir(vars), 0o755), os.WriteFile(vars, []byte("almamigrate_binary: /root/almamigrate\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	before = trees(t, fleet)
	waves := []string{"-e", `{"almamigrate_waves": [1, 1, "100%"]}`}
	p = c.play(2, rollout, waves...)
	if r := p.Recap[sick.Name]; r.Failed != 1 || !strings.Contains(p.Output, "The host was taken back") {
		t.Errorf("the sick host was not taken back: %+v\n%s", r, p.Output)
	}
	if got := canary.id(); got != "almalinux" {
		t.Errorf("the canary is %s", got)
	}
	if d := lineDiff(sick.facts, sick.state()); d != "" {
		t.Errorf("the sick host is not as it was:\n%s", d)
	}
	unchanged(t, "after the failure", fleet[2:], before[2:])

	// Mended: the rest follows, what is done stays as it is.
	if err := os.Remove(vars); err != nil {
		t.Fatal(err)
	}
	p = c.play(0, rollout, waves...)
	p.changed(t, "resumed", names[1:]...)
	for _, h := range fleet {
		if got := h.id(); got != "almalinux" {
			t.Errorf("%s is %s", h.Name, got)
		}
	}
	c.play(0, rollout, waves...).changed(t, "second run")

	last := fleet[4]
	c.play(0, rollback, "-l", last.Name).changed(t, "rollback", last.Name)
	if d := lineDiff(last.facts, last.state()); d != "" {
		t.Errorf("%s is not as it was:\n%s", last.Name, d)
	}
	c.play(0, rollback, "-l", last.Name).changed(t, "rollback again")
}
