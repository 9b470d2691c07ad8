package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// caches is where check may write.
const caches = "/var/cache/almamigrate"

// sources are the source distributions that check is tried on.
var sources = []struct {
	distro string
	major  int
}{{"centos", 8}, {"stream", 9}, {"rocky", 9}, {"oracle", 8}, {"rhel", 9}}

// parseCheck validates a document against the shipped schema and decodes it.
func parseCheck(t *testing.T, r Result) report.Check {
	t.Helper()
	if r.Code != 0 && r.Code != 10 {
		t.Fatalf("check: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(realdata.ProjectRoot(t), "packaging/schema/check-1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(r.Stdout))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.Stdout)
	}
	if err := schema.Validate(doc); err != nil {
		t.Error(err)
	}
	var c report.Check
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCheckAgreesWithDNF compares the verdicts, package by package, with what
// dnf's distro-sync to AlmaLinux would do on the same host.
func TestCheckAgreesWithDNF(t *testing.T) {
	lab(t)
	for _, s := range sources {
		t.Run(s.distro+strconv.Itoa(s.major), func(t *testing.T) {
			t.Parallel()
			h := NewHost(t, s.distro, s.major)
			c := parseCheck(t, h.Almamigrate("check", "--json", "--quiet"))
			// Oracle names the streams ol8 and ol, AlmaLinux rhel8 and rhel; the move
			// renames them before it asks dnf, and check has it so already.
			h.Must("sh", "-c", "sed -i 's/^stream=ol\\(8*\\)$/stream=rhel\\1/' /etc/dnf/modules.d/*.module")
			compareVerdicts(t, c, h.DistroSync())

			user := parseCheck(t, h.Do(Cmd{Args: []string{binary, "check", "--json", "--quiet"}, User: "nobody", Env: map[string]string{"HOME": "/tmp", "XDG_CACHE_HOME": "/tmp/nobody"}}))
			if d := cmp.Diff(verdicts(c), verdicts(user)); d != "" {
				t.Errorf("as another user than root (-root +user):\n%s", d)
			}
		})
	}
}

// verdicts are the lines that do not depend on the reader's rights.
func verdicts(c report.Check) []string {
	var out []string
	for _, p := range c.Packages {
		l := p.NEVRA + " " + string(p.Verdict)
		if p.Target != nil {
			l += " " + p.Target.NEVRA + " " + p.Target.Repo
		}
		out = append(out, l)
	}
	return out
}

// compareVerdicts fails for every package that check and dnf see differently
// and that no rule explains.
func compareVerdicts(t *testing.T, c report.Check, rows []SyncRow) {
	t.Helper()
	type key struct{ name, arch, evr string }
	sync := map[key]SyncRow{}
	var coming []SyncRow
	for _, r := range rows {
		if r.Action == "install" {
			coming = append(coming, r)
			continue
		}
		sync[key{r.Name, r.Arch, r.From}] = r
	}
	groups := map[string]int{} // installonly packages: how many are installed
	for _, p := range c.Packages {
		groups[p.Name+"."+p.Arch]++
	}
	ruled := map[string]int{}
	targets := map[string]bool{}
	for _, p := range c.Packages {
		n, err := rpmver.ParseNEVRA(p.NEVRA)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := sync[key{n.Name, n.Arch, n.EVR.String()}]
		if !ok {
			t.Errorf("%s: judged, but dnf does not have it installed", p.NEVRA)
			continue
		}
		delete(sync, key{n.Name, n.Arch, n.EVR.String()})
		if p.Target != nil && p.Target.RepoEnabled {
			targets[p.Target.NEVRA] = true
		}
		to := r.Name + "-" + r.To
		agrees := false
		switch p.Verdict {
		case assess.Same:
			// the same NEVRA: kept, or AlmaLinux's build of it reinstalled
			agrees = (r.Action == "keep" || r.Action == "reinstall") && p.Target.NEVRA == p.NEVRA || sameMove(p, r)
		case assess.Newer:
			agrees = r.Action == "upgrade" && p.Target.NEVRA == to
		case assess.Older:
			agrees = r.Action == "downgrade" && p.Target.NEVRA == to
		case assess.Replaced:
			agrees = r.Action == "obsoleted" && strings.Contains(p.Reason, r.To)
		case assess.Missing, assess.ThirdParty, assess.Local:
			agrees = r.Action == "keep" && p.Target == nil
		}
		if agrees {
			continue
		}
		rule := explain(p, r, groups[p.Name+"."+p.Arch])
		if rule == "" {
			t.Errorf("%s: check says %s (%s), target %+v; dnf: %s to %s from %s", p.NEVRA, p.Verdict, p.Reason, p.Target, r.Action, r.To, r.Repo)
			continue
		}
		ruled[rule]++
	}
	for _, r := range sync {
		t.Errorf("%s-%s.%s: dnf has it installed, check does not judge it", r.Name, r.From, r.Arch)
	}
	for _, in := range c.Incoming {
		targets[in.NEVRA] = true
	}
	for _, r := range coming {
		if n := r.Name + "-" + r.To; !targets[n] {
			t.Errorf("dnf brings in %s from %s; check does not say so", n, r.Repo)
		}
	}
	t.Logf("%d packages compared, %d more come; explained: %v", len(c.Packages), len(coming), ruled)
}

// sameMove is the same version in another architecture: noarch to or from x86_64.
func sameMove(p assess.PackageResult, r SyncRow) bool {
	return p.Target.NEVRA == r.Name+"-"+r.To && slices.Contains([]string{"reinstall", "upgrade", "downgrade"}, r.Action)
}

// explain names the documented rule by which check and dnf's plain distro-sync
// differ, "" for none.
func explain(p assess.PackageResult, r SyncRow, versions int) string {
	switch {
	case p.Verdict == assess.Replaced && r.Action == "keep" && (p.Target == nil || strings.HasPrefix(p.Target.NEVRA, "almalinux-")):
		// AlmaLinux's identity packages obsolete nothing: distro-sync leaves the
		// old ones, the move swaps them.
		return "branding"
	case versions > 1 && (r.Action == "keep" || r.Action == "reinstall") && p.Target != nil:
		// Several versions stay side by side; AlmaLinux's comes in beside them and
		// check judges the group by its newest.
		return "installonly group"
	case r.Action == "keep" && p.Target != nil && !p.Target.RepoEnabled:
		// check tells of repositories that would be off; dnf does not see them.
		return "repository that is off"
	}
	return ""
}

// TestCheckKnowsDisabledRepo: with CRB enabled on the host, check and dnf count it in.
func TestCheckKnowsDisabledRepo(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.Must("dnf", "-q", "config-manager", "--set-enabled", "powertools")
	compareVerdicts(t, parseCheck(t, h.Almamigrate("check", "--json", "--quiet")), h.DistroSync("baseos", "appstream", "extras", "crb"))
}

// TestCheckHeldPackages: locks and excludes mean to check what they mean to dnf.
func TestCheckHeldPackages(t *testing.T) {
	lab(t)
	h := NewHost(t, "stream", 9)
	before := parseCheck(t, h.Almamigrate("check", "--json", "--quiet"))
	var lock, exclude string
	for _, p := range before.Packages {
		n, err := rpmver.ParseNEVRA(p.NEVRA)
		if err != nil || p.Verdict != assess.Newer || strings.HasPrefix(p.Name, "kernel") {
			continue
		}
		if lock == "" {
			lock = fmt.Sprintf("%s-%d:%s-%s.*", n.Name, n.EVR.Epoch, n.EVR.Version, n.EVR.Release)
		} else if exclude = n.Name; len(exclude) > 0 {
			break
		}
	}
	h.Write("/etc/dnf/plugins/versionlock.list", lock+"\n")
	h.Must("sh", "-c", "echo exclude="+exclude+" >> /etc/dnf/dnf.conf")
	after := parseCheck(t, h.Almamigrate("check", "--json", "--quiet"))
	held := map[string]string{}
	for _, p := range after.Packages {
		if strings.Contains(p.Reason, "stays as it is") && p.Target.RepoEnabled {
			held[p.Name] = p.NEVRA
		}
	}
	if len(held) != 2 || held[exclude] == "" {
		t.Errorf("lock %s, exclude %s; held: %v", lock, exclude, held)
	}
	for _, r := range h.DistroSync() {
		if held[r.Name] != "" && r.Action != "keep" {
			t.Errorf("%s: check says that it is held; dnf: %s to %s", r.Name, r.Action, r.To)
		}
	}
}

// TestIndexIsDNFs compares the index of AlmaLinux's lab repositories with what
// dnf repoquery says of them.
func TestIndexIsDNFs(t *testing.T) {
	lab(t)
	for _, major := range []int{8, 9} {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			source := map[int]string{8: "centos", 9: "rocky"}[major]
			h := NewHost(t, source, major)
			for id, r := range ReadMeta(t, "alma-"+strconv.Itoa(major)).Repos {
				if r.Kind != "baseos" && r.Kind != "appstream" && r.Kind != "crb" {
					continue
				}
				// dnf's repoquery writes a package a line, and for several dependencies several lines
				query := func(what string) []string {
					out := h.Must("dnf", "-q", "--disablerepo=*", "--repofrompath", "x,"+ServerURL(t)+r.Path, "--enablerepo=x", "--setopt=x.gpgcheck=0", "--setopt=*.module_hotfixes=1",
						"repoquery", "--available", "--qf", "N %{name}|%{epoch}|%{version}|%{release}|%{arch}\\n%{"+what+"}\\n")
					return repoqueryLines(out)
				}
				ix := openIndex(t, filepath.Join(World(t), "www", r.Path))
				for _, what := range []string{"provides", "requires", "obsoletes"} {
					if d := cmp.Diff(query(what), indexLines(t, ix, what)); d != "" {
						t.Errorf("%s of %s (-dnf +index):\n%s", what, id, d)
					}
				}
			}
		})
	}
}

func repoqueryLines(out string) []string {
	var list []string
	name := ""
	for l := range strings.Lines(out) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "N "):
			f := strings.Split(l[2:], "|")
			name = fmt.Sprintf("%s-%s:%s-%s.%s", f[0], f[1], f[2], f[3], f[4])
			list = append(list, name)
		case l != "" && !strings.HasPrefix(l, "rpmlib("):
			list = append(list, name+" "+strings.ReplaceAll(l, " 0:", " "))
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func indexLines(t *testing.T, ix *repodata.Index, what string) []string {
	var list []string
	for i := range ix.Len() {
		p, err := ix.Package(i)
		if err != nil {
			t.Fatal(err)
		}
		e := p.NEVRA.EVR
		name := fmt.Sprintf("%s-%d:%s-%s.%s", p.NEVRA.Name, e.Epoch, e.Version, e.Release, p.NEVRA.Arch)
		list = append(list, name)
		for _, d := range map[string][]rpmver.Dep{"provides": p.Provides, "requires": p.Requires, "obsoletes": p.Obsoletes}[what] {
			if !strings.HasPrefix(d.Name, "rpmlib(") {
				list = append(list, name+" "+strings.ReplaceAll(d.String(), " 0:", " "))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// openIndex builds and opens the index of a repository on disk.
func openIndex(t *testing.T, dir string) *repodata.Index {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	md, err := repodata.ParseRepomd(data)
	if err != nil {
		t.Fatal(err)
	}
	rec, ok := md.Record("primary")
	if !ok {
		t.Fatalf("%s has no primary", dir)
	}
	f, err := os.Open(filepath.Join(dir, rec.Location))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := repodata.Decompress(rec.Location, f, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "index")
	w, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repodata.BuildIndex(w, r, nil, repodata.Source{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ix, err := repodata.OpenIndex(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ix.Close() })
	return ix
}

// TestCheckChangesNothing: not a byte, mode, owner, time or attribute of the
// host changes, but for the cache; nothing runs on.
func TestCheckChangesNothing(t *testing.T) {
	lab(t)
	for _, c := range []struct {
		name, distro string
		major        int
		options      []string
	}{{"sqlite", "rocky", 9, nil}, {"bdb", "centos", 8, []string{"--bdb"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := NewHost(t, c.distro, c.major, c.options...)
			h.Must("find", "/etc", "/var", "-ls") // overlayfs marks its folders the first time that they are read
			var first []string
			for _, run := range []struct {
				user    string
				args    []string
				allowed []string
			}{
				{"", []string{"check"}, []string{caches}},
				{"", []string{"check", "--json"}, []string{caches}},
				{"", []string{"check", "--json", "--offline"}, []string{caches}},
				{"", []string{"inventory", "--json"}, []string{caches}},
				{"nobody", []string{"check", "--json", "--mirror", ServerURL(t) + "/almalinux", "--cache-dir", "/var/tmp/nobody"}, []string{"/var/tmp/nobody"}},
				{"nobody", []string{"check", "--mirror", ServerURL(t) + "/almalinux", "--cache-dir", "/var/tmp/nobody"}, []string{"/var/tmp/nobody"}},
			} {
				r := h.DoUnchanged(Cmd{Args: append([]string{binary, "--quiet"}, run.args...), User: run.user}, run.allowed...)
				if r.Code != 0 && r.Code != 10 {
					t.Errorf("%v as %q: exit code %d\n%s", run.args, run.user, r.Code, r.Stderr)
					continue
				}
				if run.args[0] != "check" || !slices.Contains(run.args, "--json") {
					continue
				}
				doc := parseCheck(t, r)
				if len(doc.Packages) < 300 {
					t.Errorf("%v as %q: %d packages", run.args, run.user, len(doc.Packages))
				}
				if first == nil {
					first = verdicts(doc)
				} else if d := cmp.Diff(first, verdicts(doc)); d != "" {
					t.Errorf("%v as %q: other verdicts\n%s", run.args, run.user, d)
				}
			}
			// a host's processes are in a namespace of their own: what is left would still be there
			out := h.Must("sh", "-c", binary+" check --quiet >/dev/null; readlink /proc/[0-9]*/exe")
			if strings.Contains(out, "almamigrate") {
				t.Errorf("a process runs on:\n%s", out)
			}
		})
	}
}

// TestCheckTellsOthersWhatItSkipped: what a mere user may not read is named.
func TestCheckTellsOthersWhatItSkipped(t *testing.T) {
	lab(t)
	h := NewHost(t, "rhel", 9)
	h.Must("sh", "-c", "echo '[main]' > /etc/dnf/plugins/versionlock.conf; echo x > /etc/dnf/plugins/versionlock.list; chmod 600 /etc/dnf/plugins/versionlock.list")
	c := parseCheck(t, h.Do(Cmd{Args: []string{binary, "check", "--json", "--quiet", "--cache-dir", "/tmp/cache"}, User: "nobody"}))
	if !slices.ContainsFunc(c.Skipped, func(s inventory.Skipped) bool { return strings.HasSuffix(s.What, "versionlock.list") }) {
		t.Errorf("skipped: %+v", c.Skipped)
	}
	if !slices.ContainsFunc(c.Findings, func(f assess.Finding) bool { return f.ID == "host.incomplete" }) {
		t.Error("no finding says that part of the host could not be read")
	}
}

// TestCheckTakesNoLock: while a dnf and an rpm hold their locks, check works and
// says the same; and while check works, they can have them.
func TestCheckTakesNoLock(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	quiet := parseCheck(t, h.Almamigrate("check", "--json", "--quiet"))
	// dnf's own lock, and rpm's write lock on its database in the middle of a transaction
	r := h.Do(Cmd{Args: []string{"bash", "-c", `
python3 - <<'P' &
import fcntl, sqlite3, time, dnf, dnf.lock
base = dnf.Base(); base.conf.read()
locks = [dnf.lock.build_metadata_lock(base.conf.cachedir, True), dnf.lock.build_rpmdb_lock(base.conf.persistdir, True)]
for l in locks: l.__enter__()
f = open("/var/lib/rpm/.rpm.lock", "r+"); fcntl.lockf(f, fcntl.LOCK_EX)
db = sqlite3.connect("/var/lib/rpm/rpmdb.sqlite", isolation_level=None)
db.execute("begin immediate"); db.execute("delete from Packages where hnum = (select max(hnum) from Packages)")
open("/tmp/held", "w").close()
while True: time.sleep(0.05)
P
holder=$!
for i in $(seq 600); do [ -e /tmp/held ] && break; sleep 0.05; done
[ -e /tmp/held ] || { echo "nobody holds the locks" >&2; exit 99; }
` + binary + ` check --json --quiet; rc=$?
kill -9 $holder; wait $holder 2>/dev/null
exit $rc`}})
	if r.Code == 99 {
		t.Fatal(r.Stderr)
	}
	busy := parseCheck(t, r)
	if d := cmp.Diff(verdicts(quiet), verdicts(busy)); d != "" {
		t.Errorf("while dnf holds its locks (-alone +beside dnf):\n%s", d)
	}
	if r := h.Run("bash", "-c", "for i in 1 2 3 4 5; do "+binary+" check --quiet >/dev/null & done; rpm -e --justdb --nodeps tzdata && rpm --import /mnt/world/keys/epel-8.asc; rc=$?; wait; exit $rc"); r.Code != 0 {
		t.Errorf("rpm beside check: exit code %d\n%s", r.Code, r.Stderr)
	}
}
