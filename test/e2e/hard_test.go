package e2e

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A file system that is read-only, in the middle of a rollback: what is left
// is told as commands, these do it, and a second rollback goes on.
func TestHardReadOnly(t *testing.T) {
	lab(t)
	twin := NewHost(t, "centos", 8)
	h := NewHost(t, "centos", 8)
	h.mounts("/etc . ro")
	before := Tree(t, h.Upper())
	if r := h.code(10, "migrate", "-y", "-q"); !strings.Contains(r.Stderr, "fs.read-only") {
		t.Errorf("with a read-only /etc: %s", r.Stderr)
	}
	for _, c := range Changes(before, Tree(t, h.Upper()), append([]string{"/var/lib/dnf"}, notCompared...)...) {
		t.Errorf("with a read-only /etc: %s", c)
	}
	if s := h.state(); s != "nothing" {
		t.Errorf("with a read-only /etc: state %s", s)
	}
	for _, by := range []string{"almamigrate", "hand"} {
		h := NewHost(t, "centos", 8)
		h.code(0, "migrate", "-y", "-q")
		h.mounts("/etc . ro")
		r := h.code(21, "rollback", "-y", "--json")
		var d struct {
			State    string
			Commands []string
			Errors   []string
		}
		if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil || d.State != "incomplete" || len(d.Commands) < 3 || len(d.Errors) == 0 {
			t.Fatalf("%v: %+v\n%s%s", err, d, r.Stdout, r.Stderr)
		}
		if s := h.Almamigrate("status"); s.Code != 21 || !strings.Contains(s.Stdout, "incomplete") || !strings.Contains(s.Stdout, "next: almamigrate rollback") || !strings.Contains(s.Stdout, "next: ln -sfnT centos-release /etc/redhat-release") {
			t.Errorf("status: exit code %d\n%s", s.Code, s.Stdout)
		}
		h.code(21, "rollback", "-y", "-q") // still
		h.code(21, "migrate", "-y", "-q")  // not on top of it
		h.mounts()
		if by == "hand" {
			if r := h.Do(Cmd{Args: []string{"sh", "-ex"}, Stdin: strings.Join(d.Commands[1:], "\n")}); r.Code != 0 {
				t.Errorf("the commands: exit code %d\n%s", r.Code, r.Stderr)
			}
			mustEqual(t, "by hand", h, twin, false)
		}
		h.code(0, "rollback", "-y", "-q")
		mustEqual(t, "by "+by, h, twin, by != "hand") // links and folders have the times of now
		if s := h.state(); s != "rolled-back" {
			t.Errorf("state %s", s)
		}
	}
}

// makeScriptlets makes repositories whose almalinux-indexhtml has a scriptlet
// that fails, signed by a key that the host is told to trust.
const makeScriptlets = `
set -e
cd /root
export GNUPGHOME=/root/gnupg; mkdir -m 700 $GNUPGHOME
gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-gen-key own@lab.invalid rsa2048 sign never
gpg --batch --export --armor own@lab.invalid > own.asc
sed -i 's|^extra_keys = .*|& /root/own.asc|' /etc/almamigrate/almamigrate.conf
for s in pre post; do
mkdir -p $s spec
cp /mnt/world/www/almalinux/8/*/x86_64/os/Packages/almalinux-*.rpm $s/
cat > spec/r.spec <<S
Name: almalinux-indexhtml
Version: 99
Release: 1
Summary: x
License: x
BuildArch: noarch
Provides: redhat-indexhtml = 99
%description
x
%$s
echo what went wrong >&2
exit 1
%files
S
rpmbuild -bb --quiet --define '_topdir /root/spec' --define "_rpmdir /root/$s" --define '_buildshell /bin/bash' spec/r.spec >/dev/null 2>&1
rpmsign --define '_gpg_name own@lab.invalid' --define '__gpg /usr/bin/gpg' --addsign $s/noarch/*.rpm >/dev/null
createrepo_c -q $s
done
gpgconf --kill gpg-agent
`

// A scriptlet that fails: rpm gives the package up for a %pre, and all is
// taken back; it goes on after a %post, and that is told.
func TestHardScriptlets(t *testing.T) {
	lab(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	for _, x := range []*Host{h, twin} {
		if r := x.Do(Cmd{Args: []string{"bash"}, Stdin: makeScriptlets}); r.Code != 0 {
			t.Fatalf("cannot make the repositories: %s%s", r.Stdout, r.Stderr)
		}
	}
	r := h.code(20, "migrate", "-y", "--repo", "baseos=file:///root/pre")
	if !strings.Contains(r.Stdout, "Everything was taken back") || !strings.Contains(r.Stdout+r.Stderr, "almalinux-indexhtml") {
		t.Errorf("%%pre: %s%s", r.Stdout, r.Stderr)
	}
	mustEqualBut(t, "%pre", h, twin)
	h.Must("sh", "-c", "grep -q 'what went wrong' /var/lib/almamigrate/changes/*/swap.log")
	r = h.code(0, "migrate", "-y", "--repo", "baseos=file:///root/post")
	if !strings.Contains(r.Stderr, "a scriptlet of almalinux-indexhtml") {
		t.Errorf("%%post: nothing is said: %s", r.Stderr)
	}
	h.code(0, "rollback", "-y", "-q")
	mustEqualBut(t, "%post", h, twin)
}

// mustEqualBut compares all but root's own folder, where packages are made.
func mustEqualBut(t *testing.T, what string, got, want *Host) {
	t.Helper()
	for _, x := range []*Host{got, want} {
		x.Must("sh", "-c", "mkdir -p /var/cache/almamigrate; cp -a /root/own.asc /root/pre /root/post /var/cache/almamigrate/ 2>/dev/null || true")
	}
	a, b := want.database(), got.database()
	if a != b {
		t.Errorf("%s: the rpm databases differ:\n%s", what, lineDiff(a, b))
	}
	paths := append(got.touched(), want.touched()...)
	x, y := want.describe(paths, true), got.describe(paths, true)
	for _, p := range paths {
		if x[p] != y[p] && !strings.HasPrefix(p, "/root") {
			t.Errorf("%s: %s\n  want %s\n  got  %s", what, p, x[p], y[p])
		}
	}
}

// The network goes in the middle of a package: nothing has changed, and the
// next run goes on where it was cut.
func TestHardNetwork(t *testing.T) {
	lab(t)
	h, twin := NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	files := http.FileServer(http.Dir(filepath.Join(World(t), "www")))
	var down atomic.Bool
	var cut, resumed atomic.Int32
	down.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".rpm") || !down.Load() {
			if r.Header.Get("Range") != "" {
				resumed.Add(1)
			}
			files.ServeHTTP(w, r)
			return
		}
		data, err := os.ReadFile(filepath.Join(World(t), "www", filepath.FromSlash(r.URL.Path)))
		conn, buf, herr := w.(http.Hijacker).Hijack()
		if err != nil || herr != nil {
			return
		}
		defer conn.Close()
		if cut.Add(1) == 1 {
			_, _ = buf.WriteString("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nContent-Length: " + itoa(len(data)) + "\r\n\r\n")
			_, _ = buf.Write(data[:len(data)/2])
			_ = buf.Flush()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, and no goodbye
		}
	}))
	defer srv.Close()
	conf := strings.TrimSpace(h.Must("cat", "/etc/almamigrate/almamigrate.conf"))
	h.Write("/etc/almamigrate/almamigrate.conf", strings.Replace(conf, "[repos]", "[repos]\nretries = 1", 1)+"\n")
	r := h.Almamigrate("migrate", "-y", "-q", "--mirror", srv.URL+"/almalinux")
	if r.Code != 13 {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if cut.Load() == 0 {
		t.Error("no package was asked for")
	}
	if s := h.state(); s != "nothing" {
		t.Errorf("state %s", s)
	}
	mustEqual(t, "after the network went", h, twin, true)
	down.Store(false)
	h.code(0, "migrate", "-y", "-q", "--mirror", srv.URL+"/almalinux")
	h.code(0, "rollback", "-y", "-q")
	mustEqual(t, "after the rollback", h, twin, true)
}

func itoa(n int) string {
	data, _ := json.Marshal(n)
	return string(data)
}

// Two runs at once, and dnf while a migration is at work: one goes on, the
// others are refused or wait.
func TestHardTwoAtOnce(t *testing.T) {
	lab(t)
	program := faulty(t)
	h, twin, finish := NewHost(t, "centos", 8), NewHost(t, "centos", 8), NewHost(t, "centos", 8)
	r := h.Run("bash", "-c", binary+` migrate -y -q & a=$!; `+binary+` migrate -y -q & b=$!; wait $a; a=$?; wait $b; echo "codes $a $?"`)
	if !strings.Contains(r.Stdout, "codes 0 11") && !strings.Contains(r.Stdout, "codes 11 0") {
		t.Errorf("%s%s", r.Stdout, r.Stderr)
	}
	finish.code(0, "migrate", "-y", "-q")
	mustEqual(t, "one of two", h, finish, false)
	h.code(0, "rollback", "-y", "-q")
	mustEqual(t, "rolled back", h, twin, true)
	// The migration stands before its transaction; dnf must not get in between, nor rpm be disturbed.
	r = h.Run("bash", "-c", `ALMAMIGRATE_FAULT=rpm.swap.before:stop `+program+` migrate -y -q & pid=$!
for i in $(seq 600); do grep -q '^State:.T' /proc/$pid/status && break; sleep 0.05; done
timeout 3 dnf -q -y remove source-only-tool; echo "dnf $?"
kill -CONT $pid; wait $pid; echo "migrate $?"; rpm -q source-only-tool`)
	if !strings.Contains(r.Stdout, "migrate 0") || strings.Contains(r.Stdout, "dnf 0") || strings.Contains(r.Stdout, "not installed") {
		t.Errorf("%s%s", r.Stdout, r.Stderr)
	}
	for _, x := range []*Host{h, finish} {
		x.Must("sh", "-c", "rm -f /var/lib/dnf/history*") // dnf's own
	}
	mustEqual(t, "with dnf beside it", h, finish, false)
}
