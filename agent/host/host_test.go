package host_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/host"
)

func tree(t *testing.T) (*host.Host, string) {
	t.Helper()
	outside := t.TempDir()
	dir := filepath.Join(outside, "root")
	for _, d := range []string{"etc", "usr/lib", "var"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(outside, "secret"), "outside")
	write(t, filepath.Join(dir, "usr/lib/os-release"), "ID=inside\n")
	write(t, filepath.Join(dir, "secret"), "inside")
	h, err := host.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h, dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func TestLinksStayBelowTheRoot(t *testing.T) {
	h, dir := tree(t)
	for name, target := range map[string]string{
		"relative":    "../usr/lib/os-release",
		"absolute":    "/usr/lib/os-release",
		"two":         "relative",
		"dotdot":      "../../../../../usr/lib/os-release",
		"viadir":      "/etc/libdir/os-release",
		"escape":      "../../secret",
		"escape-abs":  "/../secret",
		"escape-abs2": "/secret",
	} {
		link(t, target, filepath.Join(dir, "etc", name))
	}
	link(t, "/usr/lib", filepath.Join(dir, "etc/libdir"))
	for _, name := range []string{"relative", "absolute", "two", "dotdot", "viadir"} {
		if b, err := h.ReadFile("/etc/" + name); err != nil || string(b) != "ID=inside\n" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"escape", "escape-abs", "escape-abs2"} {
		if b, err := h.ReadFile("/etc/" + name); err != nil || string(b) != "inside" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := h.ReadFile("/../secret"); err != nil || string(b) != "inside" {
		t.Errorf("..: %q, %v", b, err)
	}
}

func TestOddFiles(t *testing.T) {
	h, dir := tree(t)
	link(t, "loop", filepath.Join(dir, "etc/loop"))
	if _, err := h.ReadFile("/etc/loop"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %v", err)
	}
	if _, err := h.ReadFile("/etc/none"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/etc/none") {
		t.Errorf("none: %v", err)
	}
	if _, err := h.ReadFile("/etc"); !errors.Is(err, host.ErrNotRegular) {
		t.Errorf("folder: %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "etc/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReadFile("/etc/pipe"); !errors.Is(err, host.ErrNotRegular) {
		t.Errorf("pipe: %v", err)
	}
	big, err := os.Create(filepath.Join(dir, "etc/big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := big.Truncate(host.MaxFile + 1); err != nil {
		t.Fatal(err)
	}
	big.Close()
	if _, err := h.ReadFile("/etc/big"); !errors.Is(err, host.ErrTooLarge) {
		t.Errorf("big: %v", err)
	}
}

// The access time of a file of ours must not move: a check leaves no trace.
func TestAccessTime(t *testing.T) {
	h, dir := tree(t)
	name := filepath.Join(dir, "secret")
	old := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReadFile("/secret"); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	if sec, _ := st.Atim.Unix(); sec != old.Unix() {
		t.Errorf("access time moved to %v", time.Unix(sec, 0))
	}
}

func TestIdentityOfImages(t *testing.T) {
	h, dir := tree(t)
	write(t, filepath.Join(dir, "etc/hostname"), "web7.example.org\n")
	if got := h.Name(); got != "web7.example.org" {
		t.Errorf("Name() = %q", got)
	}
	if r, m := h.Uname(); r != "" || m != "" {
		t.Errorf("Uname() of an image = %q, %q", r, m)
	}
	if h.Live() {
		t.Error("an image is not live")
	}
	live, err := host.New("/")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if r, m := live.Uname(); !live.Live() || r == "" || m == "" {
		t.Errorf("running system: live %v, kernel %q on %q", live.Live(), r, m)
	}
}

// TestCaptured: files that were copied from a /proc make a tree more than an
// image; a /proc that is mounted there is this machine's.
func TestCaptured(t *testing.T) {
	h, dir := tree(t)
	if h.Captured() {
		t.Error("an image without /proc is captured")
	}
	for _, d := range []string{"proc/self", "proc/sys/kernel"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir, "proc/sys/kernel/osrelease"), "4.18.0-348.el8.x86_64\n")
	if release, _ := h.Uname(); h.Captured() || release != "" {
		t.Errorf("without mounts: captured %v, release %q", h.Captured(), release)
	}
	write(t, filepath.Join(dir, "proc/self/mountinfo"), "20 1 8:2 / / rw - xfs /dev/sda2 rw\n")
	if release, machine := h.Uname(); !h.Captured() || h.Live() || release != "4.18.0-348.el8.x86_64" || machine != "" {
		t.Errorf("captured %v, release %q, machine %q", h.Captured(), release, machine)
	}
	if os.Geteuid() != 0 {
		return
	}
	proc := filepath.Join(dir, "proc")
	if err := unix.Mount("/proc", proc, "", unix.MS_BIND, ""); err != nil {
		t.Logf("cannot mount: %v", err)
		return
	}
	defer func() { _ = unix.Unmount(proc, unix.MNT_DETACH) }()
	if release, _ := h.Uname(); h.Captured() || release != "" {
		t.Errorf("with this machine's /proc: captured %v, release %q", h.Captured(), release)
	}
}
