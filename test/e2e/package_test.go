package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// The versions of the two packages that tests install. The older one has the
// newer one's files but for its almamigrate.conf.
const (
	packageVersion = "1.2.3"
	olderVersion   = "1.2.2"
)

var rpmArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64", "ppc64le": "ppc64le", "s390x": "s390x"}[runtime.GOARCH]

// packageDir is where hosts see the packages.
const packageDir = "/mnt/world/agent"

func packageFile(version string) string {
	return fmt.Sprintf("almamigrate-%s-1.%s.rpm", version, rpmArch)
}

var packages = sync.OnceValue(func() error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	root := filepath.Dir(filepath.Dir(wd))
	state := os.Getenv("LAB")
	if state == "" {
		state = filepath.Join(root, ".lab")
	}
	dir := filepath.Join(state, "world", filepath.Base(packageDir))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	// of the files as they are here; the program is the same as in bin/ but for its version
	if out, err := exec.Command(filepath.Join(root, "packaging", "rpm"), "--worktree", packageVersion, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build the package: %w\n%s", err, out)
	}
	return older(root, dir)
})

// buildPackages builds the packages, once, and returns their folder.
func buildPackages(t testing.TB) string {
	t.Helper()
	_, state := lab(t)
	if err := packages(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(state, "world", filepath.Base(packageDir))
}

// older makes the older package of the files in the newer one, by the same
// spec, so that the program is not built again.
func older(root, dir string) error {
	data, err := os.ReadFile(filepath.Join(root, "packaging", "almamigrate.spec"))
	if err != nil {
		return err
	}
	top, err := os.MkdirTemp("", "older")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	unpack := fmt.Sprintf("mkdir %[1]s/tree && cd %[1]s/tree && rpm2cpio %[2]s | cpio -idm --quiet && echo '# of an older version' >> etc/almamigrate/almamigrate.conf",
		top, filepath.Join(dir, packageFile(packageVersion)))
	if out, err := exec.Command("bash", "-c", unpack).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot unpack the package: %w\n%s", err, out)
	}
	var spec strings.Builder
	section := regexp.MustCompile(`^%(package|description|prep|build|install|check|post|preun|postun|files|changelog)( ansible)?$`)
	skip := false
	for l := range strings.Lines(string(data)) {
		line := strings.TrimSpace(l)
		if m := section.FindStringSubmatch(line); m != nil {
			skip = m[2] != "" || slices.Contains([]string{"prep", "build", "install", "check"}, m[1])
			switch line {
			case "%install":
				l += "cp -a " + top + "/tree/. %{buildroot}/\n"
			case "%files":
				l += "/usr/share/doc/almamigrate\n/usr/share/licenses/almamigrate\n"
			}
			if m[2] == "" {
				spec.WriteString(l)
			}
			continue
		}
		switch {
		case skip, strings.HasPrefix(line, "%license"), strings.HasPrefix(line, "%doc"):
			continue
		case strings.HasPrefix(line, "Version:"):
			l = "Version: " + olderVersion + "\n"
		}
		spec.WriteString(strings.Replace(l, "w6.xzdio", "w1.gzdio", 1))
	}
	file := filepath.Join(top, "older.spec")
	if err := os.WriteFile(file, []byte(spec.String()), 0o600); err != nil {
		return err
	}
	out, err := exec.Command("rpmbuild", "-bb", "--quiet", "--nodeps", "--define", "_topdir "+top, "--define", "_rpmdir "+dir, "--define", "_buildshell /bin/bash",
		"--define", "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", file).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cannot build the older package: %w\n%s", err, out)
	}
	return nil
}

// What EL7's rpm 4.11 knows of rpmlib().
var el7Features = []string{"rpmlib(CompressedFileNames)", "rpmlib(FileDigests)", "rpmlib(PayloadFilesHavePrefix)", "rpmlib(PayloadIsXz)"}

// The package as a file: our own reader agrees with rpm that it is whole, EL7's
// rpm can read it, and everything is where it belongs.
func TestPackageFile(t *testing.T) {
	dir := buildPackages(t)
	for _, name := range []string{packageFile(packageVersion), fmt.Sprintf("almamigrate-ansible-%s-1.noarch.rpm", packageVersion)} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Open(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			p, err := rpmfile.Open(f, st.Size())
			if err != nil {
				t.Fatal(err)
			}
			if r, err := p.Verify(rpmsig.NewKeyring()); err != nil || r.Status != "missing" {
				t.Errorf("%v, %v: want all digests right and no signature yet", r, err)
			}
			h := p.Header()
			const payloadCompressor, payloadFormat, buildHost = 1125, 1124, 1007
			if c := h.String(payloadCompressor); c != "xz" && c != "gzip" {
				t.Errorf("payload is packed by %q", c)
			}
			if c := h.String(payloadFormat); c != "cpio" {
				t.Errorf("payload is %q", c)
			}
			if host := h.String(buildHost); host != "localhost" {
				t.Errorf("names the machine %q", host)
			}
			deps, err := h.Deps(rpmhdr.Requires)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range deps {
				if strings.HasPrefix(d.Name, "(") || strings.HasPrefix(d.Name, "rpmlib(") && !slices.Contains(el7Features, d.Name) {
					t.Errorf("needs %s, which EL7's rpm does not know", d)
				}
			}
			entries := 0
			for e, err := range p.Payload(1 << 30) {
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(e.Name, ".build-id") {
					t.Errorf("%s: a link that packages of the same program fight about", e.Name)
				}
				entries++
			}
			if entries == 0 {
				t.Error("no files")
			}
		})
	}
	if path, err := exec.LookPath("rpmlint"); err != nil {
		t.Log("SKIPPED: rpmlint is absent (apt-get install rpmlint): it had no look at the packages")
	} else {
		packaging := filepath.Join(realdata.ProjectRoot(t), "packaging")
		files, err := filepath.Glob(filepath.Join(dir, "almamigrate*"+packageVersion+"*.rpm"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(path, append([]string{"-c", filepath.Join(packaging, "rpmlint.toml"), filepath.Join(packaging, "almamigrate.spec")}, files...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), " 0 errors, 0 warnings") {
			t.Errorf("rpmlint: %v\n%s", err, out)
		}
	}
}

// listing is every file of a host with all that find knows of it, but for the
// times of folders; and but for what package managers write about themselves.
func (h *Host) listing() map[string]string {
	h.t.Helper()
	own := regexp.MustCompile(`^/var/(lib/(rpm|dnf|systemd/catalog)|cache/(dnf|ldconfig)|log/(dnf|hawkey)|tmp)|^/etc/dnf/modules\.d`)
	out := map[string]string{}
	for l := range strings.Lines(h.Must("find", "/etc", "/usr", "/var", "-xdev", "-path", "/usr/local", "-prune", "-o", "(", "-type", "d", "-printf", `%p\t%m %U %G folder\n`, ")", "-o", "-printf", `%p\t%m %U %G %y %s %T@ %l\n`)) {
		path, rest, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		if !ok {
			h.t.Fatalf("find: %q", l)
		}
		if !own.MatchString(path) {
			out[path] = rest
		}
	}
	return out
}

// The package on EL8 and EL9 hosts, by their own rpm and dnf: it comes, its
// timer is off, an upgrade keeps settings, and when it goes it leaves state.
func TestPackageOnHosts(t *testing.T) {
	buildPackages(t)
	for _, c := range []struct {
		distro string
		major  int
	}{{"centos", 8}, {"rocky", 9}} {
		t.Run(fmt.Sprintf("%s-%d", c.distro, c.major), func(t *testing.T) {
			h := NewHost(t, c.distro, c.major)
			// the lab's own settings move out of the package's way
			h.Must("sh", "-ec", "cd /etc/almamigrate; mkdir conf.d; mv almamigrate.conf conf.d/lab.conf; dnf -q --disablerepo='*' repolist >/dev/null 2>&1 || :")
			before := h.listing()

			h.Must("dnf", "-q", "-y", "--disablerepo=*", "install", packageDir+"/"+packageFile(olderVersion))
			enabled := func() string {
				return strings.TrimSpace(h.Run("systemctl", "is-enabled", "almamigrate-report.timer").Stdout)
			}
			if s := enabled(); s != "disabled" {
				t.Errorf("after the installation the timer is %q", s)
			}
			h.installed(olderVersion)
			h.Must("systemctl", "enable", "almamigrate-report.timer")
			h.Must("sed", "-i", "s/^#fail_on.*/fail_on = warning/", "/etc/almamigrate/almamigrate.conf")

			h.Must("dnf", "-q", "-y", "--disablerepo=*", "install", packageDir+"/"+packageFile(packageVersion))
			if s := enabled(); s != "enabled" {
				t.Errorf("after the upgrade the timer is %q", s)
			}
			if s := h.Must("cat", "/etc/almamigrate/almamigrate.conf"); !strings.Contains(s, "\nfail_on = warning\n") || !strings.Contains(s, "of an older version") {
				t.Errorf("the upgrade changed the settings:\n%s", s)
			}
			if s := h.Must("cat", "/etc/almamigrate/almamigrate.conf.rpmnew"); strings.Contains(s, "of an older version") {
				t.Error("almamigrate.conf.rpmnew is not the new package's")
			}
			if r := h.Run("/usr/bin/almamigrate", "check", "--json"); r.Code != 0 && r.Code != 10 {
				t.Errorf("check: code %d\n%s", r.Code, r.Stderr)
			}
			h.Must("mv", "/etc/almamigrate/almamigrate.conf.rpmnew", "/etc/almamigrate/almamigrate.conf")
			h.installed(packageVersion)
			if r := h.Run("/usr/bin/almamigrate", "report", "--quiet"); r.Code != 0 {
				t.Errorf("report: code %d\n%s", r.Code, r.Stderr)
			}

			h.Must("dnf", "-q", "-y", "--disablerepo=*", "remove", "almamigrate")
			// the folder of licences is the package filesystem's, which the lab's hosts do not have
			for _, d := range Changes(before, h.listing(), "/var/lib/almamigrate", "/usr/share/licenses") {
				t.Errorf("left behind: %s", d)
			}
			if s := h.Must("find", "/var/lib/almamigrate", "-type", "f"); !strings.Contains(s, "/reports/latest.json") {
				t.Errorf("state is gone; there is\n%s", s)
			}
		})
	}
}

// installed checks the installed files against the package, and the settings
// that nobody touched.
func (h *Host) installed(version string) {
	h.t.Helper()
	if out := h.Must("/usr/bin/almamigrate", "--version"); !strings.Contains(out, packageVersion) {
		h.t.Errorf("--version: %s", out)
	}
	if out := h.Must("rpm", "-q", "almamigrate"); strings.TrimSpace(out) != strings.TrimSuffix(packageFile(version), ".rpm") {
		h.t.Errorf("rpm -q: %s", out)
	}
	if r := h.Run("rpm", "-V", "almamigrate"); r.Code != 0 {
		h.t.Errorf("rpm -V almamigrate: %s%s", r.Stdout, r.Stderr)
	}
	have := strings.Split(h.Must("rpm", "-ql", "almamigrate"), "\n")
	for _, want := range []string{
		"/usr/bin/almamigrate", "/usr/lib/systemd/system/almamigrate-report.service", "/usr/lib/systemd/system/almamigrate-report.timer",
		"/usr/lib/systemd/system-preset/90-almamigrate.preset", "/usr/lib/systemd/catalog/almamigrate.catalog", "/usr/lib/tmpfiles.d/almamigrate.conf",
		"/usr/share/man/man8/almamigrate.8.gz", "/usr/share/man/man8/almamigrate-migrate.8.gz", "/usr/share/man/man5/almamigrate.conf.5.gz",
		"/usr/share/bash-completion/completions/almamigrate", "/usr/share/zsh/site-functions/_almamigrate", "/usr/share/fish/vendor_completions.d/almamigrate.fish",
		"/etc/almamigrate/almamigrate.conf", "/etc/almamigrate/conf.d", "/etc/almamigrate/catalog.d", "/etc/logrotate.d/almamigrate",
		"/usr/share/almamigrate/schema/check-1.0.json", "/usr/share/almamigrate/schema/verify-1.0.json", "/usr/share/almamigrate/almamigrate.cdx.json",
		"/usr/share/doc/almamigrate/README.md", "/usr/share/licenses/almamigrate/LICENSE", "/usr/share/licenses/almamigrate/third-party/go/LICENSE",
		"/var/lib/almamigrate", "/var/log/almamigrate", "/var/cache/almamigrate",
	} {
		if !slices.Contains(have, want) {
			h.t.Errorf("the package has no %s", want)
		}
	}
	for path, want := range map[string]string{"/var/lib/almamigrate": "700", "/var/log/almamigrate": "700", "/var/cache/almamigrate": "755", "/usr/bin/almamigrate": "755", "/etc/almamigrate/almamigrate.conf": "644"} {
		if mode := strings.TrimSpace(h.Must("stat", "-c", "%a", path)); mode != want {
			h.t.Errorf("%s has mode %s, want %s", path, mode, want)
		}
	}
}

// removed erases the package under a running systemd, with the timer on.
func (b *BootedHost) removed() {
	t := b.t
	t.Helper()
	b.Must("rpm", "-U", "--replacepkgs", packageDir+"/"+packageFile(packageVersion)) // the test of the single file took the units away
	b.Must("systemctl", "enable", "--now", "almamigrate-report.timer")
	if out := b.Must("systemctl", "list-timers", "--no-pager"); !strings.Contains(out, "almamigrate-report.service") {
		t.Errorf("enabled by systemctl, list-timers: %s", out)
	}
	if out := b.Must("almamigrate", "timer", "status"); !strings.HasPrefix(out, "The timer is on.") {
		t.Errorf("enabled by systemctl, status: %s", out)
	}
	b.Must("rpm", "-e", "almamigrate")
	if out := b.Must("systemctl", "list-timers", "--all", "--no-pager"); strings.Contains(out, "almamigrate") {
		t.Errorf("the package is gone, its timer is not: %s", out)
	}
	if out := b.Do(Cmd{Args: []string{"systemctl", "status", "--no-pager", "almamigrate-report.timer"}}); !strings.Contains(out.Stderr, "could not be found") {
		t.Errorf("the package is gone, systemd still knows its unit: %s%s", out.Stdout, out.Stderr)
	}
	if out := b.Must("journalctl", "--list-catalog"); strings.Contains(out, "AlmaLinux") {
		t.Errorf("the package is gone, its catalog is not: %s", out)
	}
	out := b.Must("find", "/usr", "/etc", "/var", "-xdev", "-name", "*almamigrate*", "-not", "-path", "/etc/almamigrate*", "-not", "-path", "/etc/pki/almamigrate*", "-not", "-path", "/usr/local/*", "-not", "-path", "/var/cache/man/*")
	for l := range strings.Lines(out) {
		switch l = strings.TrimSpace(l); l {
		case "/var/lib/almamigrate", "/etc/pki/almamigrate":
		default:
			t.Errorf("left behind: %s", l)
		}
	}
	if r := b.Do(Cmd{Args: []string{"test", "-s", "/var/lib/almamigrate/reports/latest.json"}}); r.Code != 0 {
		t.Error("the reports are gone")
	}
}
