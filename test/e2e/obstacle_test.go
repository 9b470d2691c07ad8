package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// linked makes the folder of repositories a link that leads out of /etc, and
// writes an exclude into one of them, as the PostgreSQL project asks for.
const linked = `set -e
mkdir /srv/site; mv /etc/yum.repos.d /srv/site/repos.d; ln -s /srv/site/repos.d /etc/yum.repos.d
f=$(grep -l '^\[baseos\]' /srv/site/repos.d/*.repo)
printf '[extras-common]\nname=by a tool\nbaseurl=http://tool.invalid/\nenabled=1\n' > /srv/site/tool.repo; ln -s ../tool.repo /srv/site/repos.d/tool.repo
sed -i '/^\[baseos\]/a exclude=acl postgresql*' $f
touch -h -d 2020-02-02 /srv/site/tool.repo /srv/site/repos.d/tool.repo $f /etc/yum.repos.d /srv/site/repos.d /srv/site /srv /etc
`

// What stands in the way of the files: links among their folders, on both
// ways; and on the way back chattr, and a folder of somebody's where a file
// was. What cannot be taken back is told as commands that do it.
func TestRollbackObstacles(t *testing.T) {
	lab(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	for _, x := range []*Host{h, twin} {
		x.Must("bash", "-c", linked)
	}
	if r := h.code(0, "plan"); !strings.Contains(r.Stdout, "AlmaLinux's baseos gets excludepkgs=acl postgresql*, as baseos has it") {
		t.Errorf("the exclude is not planned:\n%s", r.Stdout)
	}
	h.code(0, "migrate", "-y", "-q")
	if got := h.Must("sh", "-c", "ls /srv/site/repos.d | tr '\\n' ' '"); !strings.Contains(got, "almalinux.repo ") || !strings.Contains(got, "CentOS-Linux-BaseOS.repo.before-almalinux ") || strings.Contains(got, "CentOS-Linux-BaseOS.repo ") {
		t.Errorf("the repository files: %s", got)
	}
	if got := h.Must("sh", "-c", "readlink /etc/yum.repos.d/tool.repo.before-almalinux; readlink /etc/yum.repos.d/tool.repo || echo gone"); got != "../tool.repo\ngone\n" {
		t.Errorf("the repository file that is a link: %s", got)
	}
	if got := h.Must("sh", "-c", "dnf -q repoquery --available --repo baseos acl; sed -n '/^\\[baseos\\]/,/^\\[/s/^excludepkgs=//p' /etc/yum.repos.d/almalinux.repo"); got != "acl postgresql*\n" {
		t.Errorf("the exclude is not carried over: %q", got)
	}
	h.code(0, "verify")
	if r := h.Run("sh", "-c", "chattr +i /usr/lib/os-release && lsattr /usr/lib/os-release | grep -q i"); r.Code != 0 {
		h.code(0, "rollback", "-y", "-q")
		mustEqual(t, "after the rollback", h, twin, true)
		t.Skipf("SKIPPED: no chattr in this lab: %s", r.Stderr)
	}
	t.Cleanup(func() { h.Run("chattr", "-i", "/usr/lib/os-release") })
	h.Must("sh", "-c", "rm -f /etc/centos-release; mkdir /etc/centos-release; echo of somebody > /etc/centos-release/mine")
	r := h.code(21, "rollback", "-y", "--json")
	var d struct {
		Commands, Errors []string
	}
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(d.Errors, "\n"); !strings.Contains(s, "chattr -ia makes it changeable") || !strings.Contains(s, "/etc/centos-release: something else is in the way") {
		t.Errorf("errors: %q", d.Errors)
	}
	h.code(21, "rollback", "-y", "-q") // still
	if r := h.Do(Cmd{Args: []string{"sh", "-ex"}, Stdin: strings.Join(d.Commands[1:], "\n")}); r.Code != 0 {
		t.Fatalf("the commands %q: exit code %d\n%s", d.Commands, r.Code, r.Stderr)
	}
	if got := h.Must("cat", "/etc/centos-release.in-the-way/mine"); got != "of somebody\n" {
		t.Errorf("what stood in the way: %q", got)
	}
	h.Must("rm", "-r", "/etc/centos-release.in-the-way")
	mustEqual(t, "by hand", h, twin, false)
	h.code(0, "rollback", "-y", "-q")
	h.Must("touch", "-d", "2020-02-02", "/etc")
	mustEqual(t, "after the rollback", h, twin, true)
}

// newer installs a newer build of a package: it brings files, a folder, a
// library, a repository and a configuration, and drops what the old one has.
const newer = `set -e
cd /root; mkdir spec
sed "s|@NAME@|$1|; s|@FILE@|$2|g" > spec/r.spec <<'S'
Name: @NAME@
Version: 99
Release: 1
Summary: x
License: x
BuildArch: noarch
Provides: redhat-indexhtml = 99
%description
x
%install
mkdir -p %{buildroot}/usr/share/newer/deep %{buildroot}/usr/lib64 %{buildroot}/etc/yum.repos.d %{buildroot}$(dirname @FILE@)
echo one > %{buildroot}/usr/share/newer/deep/one
echo two > %{buildroot}/usr/share/newer/two
echo lib > %{buildroot}/usr/lib64/libnewer.so.2.0
ln -s libnewer.so.2.0 %{buildroot}/usr/lib64/libnewer.so.2
echo '[newer]' > %{buildroot}/etc/yum.repos.d/almalinux-newer.repo
echo 'a=1' > %{buildroot}/etc/newer.conf
echo 'newer start page' > %{buildroot}@FILE@
%files
/usr/share/newer
/usr/lib64/libnewer.so*
%config(noreplace) /etc/yum.repos.d/almalinux-newer.repo
%config(noreplace) /etc/newer.conf
@FILE@
S
rpmbuild -bb --quiet --define '_topdir /root/spec' --define '_rpmdir /root/spec' --define '_buildshell /bin/bash' spec/r.spec >/dev/null 2>&1
rpm -U --nosignature --nodeps spec/noarch/$1-99-1.noarch.rpm
rm -r spec
`

// A package of the migration that dnf updated since goes with a rollback, and
// so do its files that the migration never saw; an edit of one stays. Killed in
// the middle, too.
func TestRollbackAfterUpdates(t *testing.T) {
	lab(t)
	program := faulty(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	// A program that watches is told which package of how many.
	events := h.Must("sh", "-c", binary+" migrate -y -q --progress-fd 3 3>/tmp/events >/dev/null && cat /tmp/events && rm /tmp/events")
	var last struct {
		Event, Action, Package string
		N, Of                  int
	}
	for l := range strings.Lines(events) {
		valid(t, "progress-1.0.json", l)
		if strings.Contains(l, `"action":"installing"`) {
			if err := json.Unmarshal([]byte(l), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last.Event != "progress" || last.N < 3 || last.N != last.Of || !strings.HasPrefix(last.Package, "almalinux-") || !strings.Contains(events, `"status":"finished"`) {
		t.Errorf("%+v\n%s", last, events)
	}
	h.Must("bash", "-c", newer, "bash", "almalinux-indexhtml", "/usr/share/doc/HTML/index.html")
	h.Must("test", "-e", "/usr/lib64/libnewer.so.2")
	h.Write("/etc/newer.conf", "a=2\n")
	r := h.code(0, "rollback", "--dry-run")
	if says := "the old distribution's come back:\n  - almalinux-indexhtml-8-7.el8.noarch\n  + almalinux-indexhtml-99-1.noarch\n"; !strings.Contains(r.Stdout, says) {
		t.Errorf("does not say %q:\n%s", says, r.Stdout)
	}
	for _, not := range []string{"that stays so", "Files that"} {
		if strings.Contains(r.Stdout, not) {
			t.Errorf("an update's files are taken for edits, or its packages for those that stay:\n%s", r.Stdout)
		}
	}
	// A way back that is known not to end does not begin.
	const lost = "/var/lib/almamigrate/changes/*/files/single/c/000003"
	h.Must("sh", "-c", "mv "+lost+" /root/lost")
	before := Tree(t, h.Upper())
	for _, flag := range []string{"-y", "--dry-run"} {
		if r := h.code(1, "rollback", flag); !strings.Contains(r.Stderr, "the host is unchanged: what was saved for the way back is not whole") || !strings.Contains(r.Stderr, "--despite-damage") {
			t.Errorf("%s, with a lost file: %s", flag, r.Stderr)
		}
	}
	for _, c := range Changes(before, Tree(t, h.Upper()), notCompared...) {
		t.Errorf("with a lost file: %s", c)
	}
	h.Must("sh", "-c", "mv /root/lost $(dirname /var/lib/almamigrate/changes/*/files/single/c/000004)/000003")
	h.kill("step.updated.remove:%s:2", program, "rollback", "-y", "-q")
	h.code(0, "rollback", "-y", "-q")
	if got := h.Must("cat", "/etc/newer.conf"); got != "a=2\n" {
		t.Errorf("the edit: %q", got)
	}
	h.Must("rm", "/etc/newer.conf")
	for _, x := range []*Host{h, twin} {
		x.Must("touch", "-d", "2020-02-02", "/root", "/etc", "/usr/lib64", "/usr/share")
	}
	mustEqual(t, "after the rollback", h, twin, true)
}

// The same where all packages had moved, of one whose files are alike in both
// distributions. ALMAMIGRATE_FULL=all: it takes a while.
func TestRollbackDepthAfterUpdates(t *testing.T) {
	lab(t)
	if os.Getenv("ALMAMIGRATE_FULL") != "all" {
		t.Skip("SKIPPED: run `make full`")
	}
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	h.code(0, full("-y", "-q")...)
	const conf = "/etc/lab/webserver.conf"
	was := twin.Must("cat", conf)
	h.Must("bash", "-c", newer, "bash", "webserver", "/usr/share/newer/more")
	if r := h.Run("test", "-e", conf); r.Code == 0 {
		t.Fatalf("the newer build still has %s", conf)
	}
	h.code(0, "rollback", "-y", "-q")
	if got := h.Must("cat", conf); got != was {
		t.Errorf("%s: %q, was %q", conf, got, was)
	}
	for _, x := range []*Host{h, twin} {
		x.Must("touch", "-d", "2020-02-02", "/root", "/etc", "/usr/lib64", "/usr/share")
	}
	mustEqual(t, "after the rollback", h, twin, true)
}
