package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
	"github.com/almamigrate/almamigrate/test/realdata"
	"github.com/almamigrate/almamigrate/test/schemas"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

func validate(t *testing.T, schema string, doc []byte) error {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", schema))
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

// sample is a check with something of everything.
func sample() *report.Check {
	start := time.Date(2026, 3, 1, 13, 0, 0, 123456789, time.FixedZone("CET", 3600))
	pkg := func(name, vr string, v assess.PackageVerdict, reason, target, repo string) assess.PackageResult {
		r := assess.PackageResult{Name: name, NEVRA: name + "-" + vr + ".x86_64", Arch: "x86_64", Verdict: v, Reason: reason,
			Origin: assess.Origin{Owner: "centos", Signature: "good", KeyID: "05b555b38483c65d"}, Installed: 1600000000}
		if target != "" {
			r.Target = &assess.Target{NEVRA: target, Repo: repo, RepoEnabled: repo != "powertools", DefaultEnabled: repo != "powertools", Size: 1, InstalledSize: 2}
		}
		return r
	}
	older := pkg("sssd", "2.9-5.el8", assess.Older, "baseos has only 2.8-1.el8", "sssd-2.8-1.el8.x86_64", "baseos")
	older.Risk = "the cache is written in a newer format"
	res := &assess.Assessment{
		Verdict: assess.ReadyWithWarnings,
		Summary: assess.Summary{
			Packages: map[assess.PackageVerdict]int{assess.Same: 1, assess.Newer: 2, assess.Older: 1, assess.Replaced: 1, assess.Missing: 1, assess.ThirdParty: 1, assess.Local: 0},
			Findings: map[assess.Severity]int{assess.Blocker: 0, assess.Warning: 2, assess.Info: 1},
			Total:    7, Target: "AlmaLinux 8",
		},
		Findings: []assess.Finding{
			{ID: "pkg.missing", Severity: assess.Warning, Title: "7 packages of the source distribution have no counterpart in AlmaLinux",
				Detail: "They stay installed and get no updates after the move. What would keep them from staying is a finding of its own.",
				Resources: []assess.Resource{{Kind: "package", Name: "one-1-1.x86_64", Detail: "AlmaLinux has no package of this name"}, {Kind: "package", Name: "two-1-1.x86_64"}, {Kind: "package", Name: "three-1-1.x86_64"},
					{Kind: "package", Name: "four-1-1.x86_64"}, {Kind: "package", Name: "five-1-1.x86_64"}, {Kind: "package", Name: "six-1-1.x86_64"}, {Kind: "package", Name: "seven-1-1.x86_64"}},
				Remedy: assess.Remedy{Text: "remove those that you do not need", Command: "dnf remove one two three four five six seven"}},
			{ID: "pkg.older", Severity: assess.Warning, Title: "1 package would be downgraded", Detail: "The installed version is newer.",
				Resources: []assess.Resource{{Kind: "package", Name: "sssd-2.9-5.el8.x86_64", Detail: "would become 2.8-1.el8"}},
				Remedy:    assess.Remedy{Text: "look at it", Command: "almamigrate check --verbose --only older"}},
			{ID: "pkg.third-party", Severity: assess.Info, Title: "1 third-party package stays as it is", Detail: "Others built it.",
				Resources: []assess.Resource{{Kind: "package", Name: "htop-3-1.x86_64"}}, Remedy: assess.Remedy{Text: "make sure that the vendors support AlmaLinux"}},
		},
		Packages: []assess.PackageResult{
			pkg("bash", "4.4-1.el8", assess.Newer, "baseos has 4.4-2.el8", "bash-4.4-2.el8.x86_64", "baseos"),
			pkg("centos-logos", "85-1.el8", assess.Replaced, "replaced by almalinux-logos-84-1.el8.x86_64", "almalinux-logos-84-1.el8.x86_64", "appstream"),
			pkg("foo-devel", "1-1.el8", assess.Newer, "powertools has 1-2.el8; but only in powertools, which would be off: it stays as it is", "foo-devel-1-2.el8.x86_64", "powertools"),
			pkg("glibc", "2.28-1.el8", assess.Same, "the same version in baseos", "glibc-2.28-1.el8.x86_64", "baseos"),
			pkg("htop", "3-1", assess.ThirdParty, "signed by epel; stays; most likely from repository epel; its dependencies hold", "", ""),
			pkg("one", "1-1", assess.Missing, "AlmaLinux has no package of this name; it stays, without updates", "", ""),
			older,
		},
		Incoming: []assess.Incoming{{NEVRA: "bash-extra-1-1.x86_64", Repo: "baseos", RequiredBy: "bash-4.4-2.el8.x86_64", Requirement: "bash-extra", Size: 1, InstalledSize: 2}},
		Repos: []assess.RepoResult{
			{ID: "appstream", URL: "https://repo.example.com/8/AppStream", Enabled: true, DefaultEnabled: true, Packages: 6000, Signed: "none", FetchedAt: "2026-03-01T12:00:00Z"},
			{ID: "baseos", URL: "https://repo.example.com/8/BaseOS", Enabled: true, DefaultEnabled: true, MappedFrom: []string{"baseos"}, Packages: 1700, Signed: "good 2ae81e8aced7258b", FetchedAt: "2026-03-01T12:00:00Z"},
			{ID: "powertools", URL: "https://repo.example.com/8/PowerTools", Signed: "none", Error: "cannot fetch: 404"},
		},
		Skipped: []inventory.Skipped{},
	}
	c := report.NewCheck(&inventory.Inventory{Host: inventory.Host{
		Name: "web01", Distro: inventory.CentOS, PrettyName: "CentOS Linux 8", Version: "8.5", Major: 8, Arch: "x86_64",
		State: inventory.StateSource, OSRelease: map[string]string{"ID": "centos"}, Root: "/",
	}}, res)
	c.Tool = inventory.Tool{Name: "almamigrate", Version: "1.0"}
	c.RunID, c.Started, c.Finished = "20260301-120000-1", start, start.Add(time.Second)
	return c
}

func text(t *testing.T, c *report.Check, opt report.TextOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteText(&b, opt); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestText(t *testing.T) {
	blocked := sample()
	blocked.Verdict = assess.Blocked
	blocked.Findings = append([]assess.Finding{{ID: "dep.broken", Severity: assess.Blocker, Title: "app-1-1.x86_64 requires lib < 2, which nothing would provide",
		Detail:    "lib-1-1.x86_64 provides lib < 2 today, which becomes lib-2-1.x86_64, and that does not.",
		Resources: []assess.Resource{{Kind: "package", Name: "app-1-1.x86_64"}, {Kind: "package", Name: "lib-1-1.x86_64"}},
		Remedy:    assess.Remedy{Text: "remove it before the move", Command: "dnf remove app"}}}, blocked.Findings...)
	blocked.Summary.Findings[assess.Blocker] = 1
	unknown := sample()
	unknown.Verdict = assess.Unknown
	unknown.Findings = []assess.Finding{{ID: "repo.unreachable", Severity: assess.Blocker, Title: "the repository baseos could not be read", Detail: "Without it no verdict is possible.",
		Resources: []assess.Resource{{Kind: "repo", Name: "baseos", Detail: "connection refused"}}, Remedy: assess.Remedy{Text: "check the network", Command: "almamigrate check --mirror URL"}}}
	unknown.Summary.Findings = map[assess.Severity]int{assess.Blocker: 1}
	ready := sample()
	ready.Verdict, ready.Findings, ready.Host.Name, ready.Host.Root = assess.Ready, nil, "", "/mnt/image"
	ready.Summary.Findings = map[assess.Severity]int{}
	ready.Summary.Packages = map[assess.PackageVerdict]int{assess.Newer: 7}
	for name, tt := range map[string]struct {
		c   *report.Check
		opt report.TextOptions
	}{
		"warnings.txt": {sample(), report.TextOptions{}},
		"verbose.txt":  {sample(), report.TextOptions{Verbose: true, Width: 100}},
		"only.txt":     {sample(), report.TextOptions{Verbose: true, Only: []assess.PackageVerdict{assess.Older, assess.Local}}},
		"color.txt":    {sample(), report.TextOptions{Color: true}},
		"demo.txt":     {sample(), report.TextOptions{Demo: true, Width: 60}},
		"blocked.txt":  {blocked, report.TextOptions{}},
		"unknown.txt":  {unknown, report.TextOptions{}},
		"ready.txt":    {ready, report.TextOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := text(t, tt.c, tt.opt)
			golden(t, name, got)
			width := tt.opt.Width
			if width == 0 {
				width = 80
			}
			for _, l := range strings.Split(string(got), "\n") {
				// Commands and table rows are not wrapped.
				if tt.opt.Color || strings.HasPrefix(l, "          ") || strings.Contains(l, " -> ") {
					continue
				}
				if n := utf8.RuneCountInString(l); n > width {
					t.Errorf("%d columns: %s", n, l)
				}
			}
		})
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "check.json", b.Bytes())
	if err := validate(t, "check-1.0.json", b.Bytes()); err != nil {
		t.Error(err)
	}
	// The schema can say no.
	for _, change := range []func(*report.Check){
		func(c *report.Check) { c.Verdict = "fine" },
		func(c *report.Check) { c.Findings[0].Severity = "bad" },
		func(c *report.Check) { c.Findings[0].ID = "Pkg Missing" },
		func(c *report.Check) { c.Packages[0].Verdict = "old" },
		func(c *report.Check) { c.Packages = nil },
		func(c *report.Check) { delete(c.Summary.Packages, assess.Local) },
		func(c *report.Check) { c.Repos[0].FetchedAt = "yesterday" },
		func(c *report.Check) { c.Kind = "other" },
	} {
		c := sample()
		change(c)
		b.Reset()
		if err := c.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if err := validate(t, "check-1.0.json", b.Bytes()); err == nil {
			t.Error("the schema takes a wrong document")
		}
	}
}

func TestErrorDocument(t *testing.T) {
	var b bytes.Buffer
	err := report.WriteError(&b, report.Error{Tool: inventory.Tool{Name: "almamigrate", Version: "1.0"}, Command: "almamigrate check", Code: 13, Message: "cannot fetch \x1b[31mbaseos", Hint: "check the network"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "error.json", b.Bytes())
	if err := validate(t, "error-1.0.json", b.Bytes()); err != nil {
		t.Error(err)
	}
	if err := validate(t, "error-1.0.json", []byte(`{"kind":"almamigrate.error"}`)); err == nil {
		t.Error("the schema takes a wrong document")
	}
}

func TestInventorySchema(t *testing.T) {
	inv := &inventory.Inventory{
		Kind: inventory.Kind, SchemaVersion: inventory.SchemaVersion, Tool: inventory.Tool{Name: "almamigrate", Version: "1.0"},
		Taken:    time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Host:     sample().Host,
		Database: inventory.Database{Path: "/var/lib/rpm/Packages", Backend: "bdb", Rows: 2},
		Packages: []inventory.Package{{
			Row: 1, Name: "bash", EVR: rpmver.EVR{Epoch: 1, Version: "4.4", Release: "1.el8"}, Arch: "x86_64", Vendor: "CentOS", BuildHost: "b", BuildTime: 1, InstallTime: 2, Size: 3,
			SourceRPM: "bash.src.rpm", ModuleLabel: "a:b:1:c", Signature: inventory.Signature{Status: "good", KeyID: "05b555b38483c65d", Fingerprint: "AA", Owner: "centos", UserID: "u", Weak: true, Reason: "r"},
			Requires: []rpmver.Dep{{Name: "glibc", Flags: rpmver.Equal | rpmver.Greater, EVR: rpmver.EVR{Version: "2"}}}, Provides: []rpmver.Dep{{Name: "bash"}},
			Conflicts: []rpmver.Dep{{Name: "x"}}, Obsoletes: []rpmver.Dep{{Name: "y"}}, Files: inventory.Files{Dirs: []string{"/usr/bin/"}, DirIndex: []uint32{0}, Base: []string{"bash"}},
		}},
		Keys:    []inventory.Key{{Fingerprint: "AA", KeyIDs: []string{"b"}, UserID: "u", Owner: "centos", Source: "rpmdb", Expires: "2024-01-12", Armored: "x"}},
		Repos:   []inventory.Repo{{ID: "baseos", Name: "n", File: "/f", Enabled: true, BaseURLs: []string{"u"}, Mirrorlist: "m", Metalink: "l", GPGCheck: true, GPGKeys: []string{"k"}, Exclude: []string{"e"}, Options: map[string]string{"a": "b"}, OwnedBy: "o"}},
		DNF:     inventory.DNF{ConfFile: "/c", Exclude: []string{"e"}, InstallOnly: []string{"i"}, Versionlock: []string{"v"}, Protected: []inventory.Protected{{Package: "p", File: "f"}}, Vars: map[string]string{"a": "b"}, Modules: []inventory.ModuleState{{Name: "m", Stream: "s", State: "enabled", Profiles: []string{"p"}}}, Proxy: "p", ReleaseVer: "8"},
		Skipped: []inventory.Skipped{{What: "w", Reason: "r"}},
	}
	var b bytes.Buffer
	if err := inv.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := validate(t, "inventory-1.0.json", b.Bytes()); err != nil {
		t.Error(err)
	}
	if err := validate(t, "inventory-1.0.json", bytes.Replace(b.Bytes(), []byte(`"status":"good"`), []byte(`"status":"fine"`), 1)); err == nil {
		t.Error("the schema takes a wrong document")
	}
	b.Reset()
	if err := report.WriteInventory(&b, inv, report.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "inventory.txt", b.Bytes())
}

func TestExplain(t *testing.T) {
	ft := assess.FindingType{ID: "pkg.example", Title: "An example", Severities: []assess.Severity{assess.Warning, assess.Blocker}, Meaning: strings.Repeat("What it says. ", 10), Why: "Because.", Action: "Do."}
	var b bytes.Buffer
	if err := report.WriteFindingType(&b, ft, report.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	golden(t, "explain.txt", b.Bytes())
	b.Reset()
	if err := report.WriteFindingTypes(&b, assess.Catalogue(), report.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, ft := range assess.Catalogue() {
		if !strings.Contains(b.String(), ft.ID+" ") {
			t.Errorf("the list lacks %s", ft.ID)
		}
	}
	b.Reset()
	if err := report.WriteFindingTypesJSON(&b, inventory.Tool{Name: "almamigrate", Version: "1.0"}, []assess.FindingType{ft}); err != nil {
		t.Fatal(err)
	}
	if err := schemas.Validate(t, "findings-1.0", b.Bytes()); err != nil {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// evil is what a hostile package may be called.
const evil = "../../etc/passwd\x1b]0;owned\x07\x1b[2J\r\n\u202egpj.exe\u2066\u200b\u009b31m\xff\xfe\x7f\U000e0041"

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.0":          "plain-1.0",
		"Größe":              "Größe",
		"a\x1b[31mb":         `a\x1b[31mb`,
		"a\tb\nc\rd":         `a\x09b\x0ac\x0dd`,
		"\u202eabc":          `\u202eabc`,
		"\u009b31m":          `\u009b31m`,
		"\xff\xc3":           `\xff\xc3`,
		"\ufeffx\u2028":      `\ufeffx\u2028`,
		"\U000e0041":         `\U000e0041`,
		"\u00a0":             `\u00a0`,
		"日本語":                "日本語",
		string([]byte{0x7f}): `\x7f`,
	} {
		if got := report.Safe(in); got != want {
			t.Errorf("Safe(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add(evil)
	f.Fuzz(func(t *testing.T, s string) {
		got := report.Safe(s)
		if !utf8.ValidString(got) || report.Safe(got) != got {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q holds %U", got, r)
			}
		}
	})
}

// TestHostileNames: whatever comes from outside, nothing that a terminal acts
// upon is printed, and JSON stays JSON.
func TestHostileNames(t *testing.T) {
	c := sample()
	c.Host.Name, c.Host.PrettyName, c.Host.Arch = evil, evil, evil
	for i := range c.Findings {
		f := &c.Findings[i]
		f.Title, f.Detail, f.Remedy.Command, f.Remedy.Text = evil, evil, evil, evil
		for k := range f.Resources {
			f.Resources[k].Name, f.Resources[k].Detail = evil, evil
		}
	}
	for i := range c.Packages {
		p := &c.Packages[i]
		p.Name, p.NEVRA, p.Arch, p.Reason, p.Risk = evil, evil, evil, evil, evil
		if p.Target != nil {
			p.Target.NEVRA, p.Target.Repo = evil, evil
		}
	}
	for i := range c.Repos {
		r := &c.Repos[i]
		r.ID, r.URL, r.Error, r.Signed, r.MappedFrom = evil, evil, evil, evil, []string{evil}
	}
	c.Incoming[0] = assess.Incoming{NEVRA: evil, Repo: evil, RequiredBy: evil, Requirement: evil}
	for _, opt := range []report.TextOptions{{}, {Verbose: true}, {Only: []assess.PackageVerdict{assess.Newer, assess.Missing}}} {
		checkClean(t, text(t, c, opt))
	}
	inv := &inventory.Inventory{Host: c.Host, Packages: []inventory.Package{{Name: evil, EVR: rpmver.EVR{Version: evil}, Arch: evil, ModuleLabel: evil, Signature: inventory.Signature{Owner: evil}}},
		Skipped: []inventory.Skipped{{What: evil, Reason: evil}}}
	var b bytes.Buffer
	if err := report.WriteInventory(&b, inv, report.TextOptions{}); err != nil {
		t.Fatal(err)
	}
	checkClean(t, b.Bytes())
	b.Reset()
	if err := c.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	checkClean(t, b.Bytes())
	var back report.Check
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if want := strings.ToValidUTF8(evil, "\ufffd"); !strings.HasPrefix(want, back.Packages[0].Name[:20]) || !strings.Contains(back.Packages[0].Name, "\u202e") || !strings.Contains(back.Packages[0].Name, "\U000e0041") {
		t.Errorf("the name does not come back: %q", back.Packages[0].Name)
	}
}

func checkClean(t *testing.T, out []byte) {
	t.Helper()
	for _, r := range string(out) {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Errorf("the output holds %U", r)
			return
		}
	}
	if !utf8.Valid(out) {
		t.Error("the output is not UTF-8")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestWriteErrors(t *testing.T) {
	if err := sample().WriteJSON(full{}); err == nil {
		t.Error("WriteJSON hides a write error")
	}
	if err := sample().WriteText(full{}, report.TextOptions{}); err == nil {
		t.Error("WriteText hides a write error")
	}
}
