package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// The hosts of TestResolves: other ones with
// ALMAMIGRATE_SEED=x ALMAMIGRATE_FIRST=n ALMAMIGRATE_HOSTS=n.
const (
	defaultSeed  = "1"
	defaultHosts = 48
)

// genHost is host.json of a generated host (test/lab/hostgen).
type genHost struct {
	Number   int
	Distro   string
	Major    int
	Root     string
	Mirror   string
	Third    string
	DBPath   string
	Features []string
	CRB      bool
	Repos    map[string]string
}

// solved is what dnf's solver says of one.
type solved struct {
	Resolves  bool
	Problems  [][]string
	Culprits  []string
	Install   []string // "NEVRA repository"
	Upgrade   []string
	Downgrade []string
	Reinstall []string
	Erase     []string
	Obsoleted []string
	Replaces  map[string][]string
}

type answer struct {
	Number       int
	Full, Frozen solved
}

func setting(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

// hostgen runs the generator, with Debian's python, which has dnf's modules.
func hostgen(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{filepath.Join(realdata.ProjectRoot(t), "test/lab/hostgen/hostgen.py")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("cannot run hostgen %q: %v\n%s", args, err, errs.String())
	}
	return out.Bytes()
}

// generate makes hosts and asks dnf's solver about each.
func generate(t testing.TB, seed string, first, count int) ([]genHost, map[int]answer) {
	t.Helper()
	out := t.TempDir()
	hostgen(t, "make", seed, strconv.Itoa(first), strconv.Itoa(count), out)
	var list []genHost
	files, err := filepath.Glob(filepath.Join(out, "host-*", "host.json"))
	if err != nil || len(files) != count {
		t.Fatalf("%d hosts, want %d: %v", len(files), count, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var h genHost
		if err := json.Unmarshal(data, &h); err != nil {
			t.Fatal(err)
		}
		list = append(list, h)
	}
	answers := map[int]answer{}
	lines := bufio.NewScanner(bytes.NewReader(hostgen(t, "solve", out)))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		answers[a.Number] = a
	}
	if len(answers) != count {
		t.Fatalf("%d answers of the solver, want %d", len(answers), count)
	}
	return list, answers
}

// checkRoot runs the built binary on a host's tree.
func checkRoot(t testing.TB, h genHost) report.Check {
	t.Helper()
	cmd := exec.Command(filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate"), "check", "--json", "--quiet", "--root", h.Root, "--mirror", "file://"+h.Mirror, "--cache-dir", filepath.Join(filepath.Dir(h.Root), "cache"))
	var errs bytes.Buffer
	cmd.Stderr = &errs
	data, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != 10 {
		t.Fatalf("check of host %d: %v\n%s%s", h.Number, err, data, errs.String())
	}
	var c report.Check
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatalf("check of host %d: %v", h.Number, err)
	}
	return c
}

// TestResolves compares the closure with the host's own solver: on hosts of
// different make-up, dnf's distro-sync with the identity swapped resolves
// exactly where check has no dep.* blocker; where it does not, the packages that
// dnf names are among those that check names; where it does, the same packages
// come.
func TestResolves(t *testing.T) {
	lab(t)
	seed := setting("ALMAMIGRATE_SEED", defaultSeed)
	first, err1 := strconv.Atoi(setting("ALMAMIGRATE_FIRST", "0"))
	count, err2 := strconv.Atoi(setting("ALMAMIGRATE_HOSTS", strconv.Itoa(defaultHosts)))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	hosts, answers := generate(t, seed, first, count)
	var mu sync.Mutex
	tally := map[string]int{}
	t.Run("hosts", func(t *testing.T) {
		for _, h := range hosts {
			t.Run(fmt.Sprintf("%s-%d", seed, h.Number), func(t *testing.T) {
				t.Parallel()
				how := compareResolution(t, h, answers[h.Number])
				mu.Lock()
				defer mu.Unlock()
				tally[how]++
				if t.Failed() {
					t.Logf("again with: ALMAMIGRATE_SEED=%s ALMAMIGRATE_FIRST=%d ALMAMIGRATE_HOSTS=1; %s %d, %v", seed, h.Number, h.Distro, h.Major, h.Features)
				}
			})
		}
	})
	t.Logf("seed %s, %d hosts: %v", seed, len(hosts), tally)
	// the comparison means something only if both verdicts are there
	if count >= defaultHosts && (tally["both: resolves"] < count/5 || tally["both: does not resolve"] < count/5) {
		t.Errorf("the hosts are of one kind: %v", tally)
	}
}

func compareResolution(t *testing.T, h genHost, a answer) (how string) {
	c := checkRoot(t, h)
	var blockers []assess.Finding
	named := map[string]bool{}
	for _, f := range c.Findings {
		if strings.HasPrefix(f.ID, "dep.") && f.Severity == assess.Blocker {
			blockers = append(blockers, f)
			for _, r := range f.Resources {
				named[r.Name] = true
			}
		}
	}
	dnf, how := a.Full, ""
	if dnf.Resolves == (len(blockers) > 0) {
		// Rule: check reads AlmaLinux's repositories and leaves third-party
		// packages as they are. A newer version in a vendor's own repository can
		// repair what check calls broken (or bring in what breaks); without that
		// repository the verdicts have to agree.
		if a.Frozen.Resolves != dnf.Resolves {
			dnf, how = a.Frozen, "explained: the vendor's repository"
		} else {
			t.Errorf("dnf: resolves %v; check: %d blockers\n%s%s", dnf.Resolves, len(blockers), show(blockers), problems(dnf))
			return "disagree"
		}
	}
	if !dnf.Resolves {
		comparePackagesNamed(t, blockers, named, dnf)
		if how == "" {
			how = "both: does not resolve"
		}
		return how
	}
	compareTransaction(t, h, c, dnf)
	if how == "" {
		how = "both: resolves"
	}
	return how
}

// comparePackagesNamed: of every problem that dnf tells, at least one package
// that it names is named by check.
func comparePackagesNamed(t *testing.T, blockers []assess.Finding, named map[string]bool, dnf solved) {
	nevra := regexp.MustCompile(`[^\s/]+-[^\s-]+-[^\s-]+\.(?:noarch|x86_64|i686)`)
	for _, rules := range dnf.Problems {
		hit := false
		for _, line := range rules {
			for _, n := range nevra.FindAllString(line, -1) {
				hit = hit || named[n]
			}
		}
		if !hit {
			t.Errorf("dnf's problem is not among check's:\n  %s\n%s", strings.Join(rules, "\n  "), show(blockers))
		}
	}
}

// compareTransaction: where the move resolves, dnf would change what check says.
func compareTransaction(t *testing.T, h genHost, c report.Check, dnf solved) {
	set := func(list []string) map[string]bool {
		m := map[string]bool{}
		for _, s := range list {
			n, repo, _ := strings.Cut(s, " ")
			// Rules: the vendor's repository is not check's matter, and the
			// identity packages are a swap that the goal was given.
			if repo != "vendor" && !strings.HasPrefix(n, "almalinux-") {
				m[n] = true
			}
		}
		return m
	}
	comes := set(slices.Concat(dnf.Install, dnf.Upgrade, dnf.Downgrade))
	want := map[string]string{}
	for _, p := range c.Packages {
		held := strings.Contains(p.Reason, "stays as it is")
		if p.Verdict != assess.Same && p.Target != nil && p.Target.RepoEnabled && !held && !strings.HasPrefix(p.Target.NEVRA, "almalinux-") {
			want[p.Target.NEVRA] = fmt.Sprintf("target of %s (%s)", p.NEVRA, p.Verdict)
		}
	}
	for _, in := range c.Incoming {
		if !strings.HasPrefix(in.NEVRA, "almalinux-") {
			want[in.NEVRA] = fmt.Sprintf("comes along for %s (%s)", in.RequiredBy, in.Requirement)
		}
	}
	for n, why := range want {
		if !comes[n] {
			t.Errorf("check: %s, %s; dnf does not bring it", n, why)
		}
	}
	for n := range comes {
		// Rule: for a 32-bit package that is installed without its 64-bit half dnf
		// takes that half for the better update, and brings it as well. Nothing
		// requires it.
		if twin, ok := strings.CutSuffix(n, ".x86_64"); ok && want[n] == "" && alone(c, twin) {
			continue
		}
		if want[n] == "" {
			t.Errorf("dnf brings %s; check does not say so", n)
		}
	}
}

// alone tells whether a package is there, or comes, for 32 bits only.
func alone(c report.Check, nevr string) bool {
	is := func(arch string) bool {
		return slices.ContainsFunc(c.Packages, func(p assess.PackageResult) bool {
			return p.Arch == arch && p.Target != nil && strings.TrimSuffix(p.Target.NEVRA, "."+arch) == nevr
		})
	}
	return is("i686") && !is("x86_64")
}

func show(list []assess.Finding) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "  check: %s: %s\n", f.ID, f.Title)
	}
	return b.String()
}

func problems(s solved) string {
	var b strings.Builder
	for _, p := range s.Problems {
		fmt.Fprintf(&b, "  dnf: %s\n", strings.Join(p, "\n       "))
	}
	return b.String()
}

// TestSolverIsDNF ties the solver's answers of TestResolves to the command: on
// some hosts `dnf --assumeno distro-sync` itself says the same. The command
// cannot swap the identity in the same breath, so hosts whose vendor packages
// care about that are left out.
func TestSolverIsDNF(t *testing.T) {
	lab(t)
	hosts, _ := generate(t, defaultSeed, 0, 8)
	for _, h := range hosts {
		t.Run(strconv.Itoa(h.Number), func(t *testing.T) {
			t.Parallel()
			out := bytes.TrimSpace(hostgen(t, "command", filepath.Dir(h.Root)))
			var r struct {
				API, Command bool
				Output       string
			}
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if r.API != r.Command {
				t.Errorf("through the API it resolves: %v; dnf --assumeno distro-sync: %v\n%s", r.API, r.Command, r.Output)
			}
		})
	}
}
