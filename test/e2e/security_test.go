package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// securityHosts are compared with dnf. Oracle's module streams have other names
// than AlmaLinux's.
var securityHosts = []struct {
	distro string
	major  int
}{{"centos", 8}, {"rocky", 9}, {"oracle", 8}}

// TestSecurityAsDNF compares check --security with dnf updateinfo list on hosts
// with the same repositories: the same advisories for the same packages.
func TestSecurityAsDNF(t *testing.T) {
	lab(t)
	for _, s := range securityHosts {
		t.Run(fmt.Sprintf("%s-%d", s.distro, s.major), func(t *testing.T) {
			h := NewHost(t, s.distro, s.major)
			c := h.security()
			if c.Security == nil || c.Security.Summary.Closed.Security < 10 || c.Security.Summary.Open.Security < 3 {
				t.Fatalf("too little to compare: %+v", c.Security)
			}
			// dnf counts a package of any vendor by its name; check says that it does not judge those.
			strangers := map[string]bool{}
			for _, p := range c.Packages {
				if p.Verdict == assess.ThirdParty || p.Verdict == assess.Local {
					strangers[p.Name+"."+p.Arch] = true
				}
			}
			ours := map[string]bool{}
			for _, list := range [][]assess.AdvisoryResult{c.Security.Closed, c.Security.Open} {
				for _, r := range list {
					for _, p := range r.Packages {
						n, err := rpmver.ParseNEVRA(p.NEVRA)
						if err != nil {
							t.Fatal(err)
						}
						ours[r.ID+" "+n.Name+"."+n.Arch] = true
					}
				}
			}
			theirs := map[string]bool{}
			for pair := range h.updateinfo() {
				if _, pkg, _ := strings.Cut(pair, " "); !strangers[pkg] {
					theirs[pair] = true
				}
			}
			for _, d := range difference(ours, theirs) {
				t.Errorf("only check: %s", d)
			}
			for _, d := range difference(theirs, ours) {
				t.Errorf("only dnf: %s", d)
			}
			t.Logf("%d pairs of advisory and package, %d third-party packages", len(ours), len(strangers))
		})
	}
}

// security runs check --security.
func (h *Host) security(args ...string) report.Check {
	h.t.Helper()
	r := h.Almamigrate(append([]string{"check", "--security", "--json"}, args...)...)
	var c report.Check
	if err := json.Unmarshal([]byte(r.Stdout), &c); err != nil {
		h.t.Fatalf("check --security: exit code %d: %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return c
}

// updateinfo asks dnf which advisories of AlmaLinux's repositories, those that
// the host would have, are about installed packages: "ID name.arch".
func (h *Host) updateinfo() map[string]bool {
	h.t.Helper()
	c := h.security()
	args := []string{"dnf", "-q", "--disablerepo=*", "--nogpgcheck"}
	for _, r := range c.Repos {
		if r.Enabled {
			args = append(args, "--repofrompath=sec-"+r.ID+","+r.URL)
		}
	}
	// Oracle's streams are enabled under Oracle's names: dnf is asked as of the host after the move.
	h.Must("bash", "-c", `for f in /etc/dnf/modules.d/*.module; do [ ! -e "$f" ] || sed -i -E 's/^stream=ol8$/stream=rhel8/; s/^stream=ol$/stream=rhel/' "$f"; done`)
	out := map[string]bool{}
	for line := range strings.Lines(h.Must(append(args, "updateinfo", "list")...)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			h.t.Fatalf("dnf updateinfo list says %q", line)
		}
		n, err := rpmver.ParseNEVRA(f[2])
		if err != nil {
			h.t.Fatal(err)
		}
		out[f[0]+" "+n.Name+"."+n.Arch] = true
	}
	return out
}

func difference(a, b map[string]bool) (out []string) {
	for k := range a {
		if !b[k] {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// TestSecurityVerify migrates all packages: what check said would be closed is
// closed, what it said would stay open is open, by verify --security.
func TestSecurityVerify(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	c := h.security()
	if c.Security == nil || len(c.Security.Closed) < 10 || len(c.Security.Open) < 3 {
		t.Fatalf("too little to compare: %+v", c.Security)
	}
	h.code(0, full("-y")...)
	r := h.code(0, "verify", "--security", "--json")
	valid(t, "verify-1.0.json", r.Stdout)
	var v struct {
		Checks   []struct{ ID, Level, Text string }
		Security *assess.SecuritySince
	}
	if err := json.Unmarshal([]byte(r.Stdout), &v); err != nil || v.Security == nil {
		t.Fatalf("verify --security: %v\n%s", err, r.Stdout)
	}
	ids := func(list []assess.AdvisoryResult) map[string]bool {
		out := map[string]bool{}
		for _, a := range list {
			out[a.ID] = true
		}
		return out
	}
	for _, k := range []struct {
		what        string
		said, found []assess.AdvisoryResult
	}{{"closed", c.Security.Closed, v.Security.Closed}, {"open", c.Security.Open, v.Security.Open}} {
		for _, id := range difference(ids(k.said), ids(k.found)) {
			t.Errorf("%s: check said so, verify does not find it %s", id, k.what)
		}
		for _, id := range difference(ids(k.found), ids(k.said)) {
			t.Errorf("%s: verify finds it %s, check did not say so", id, k.what)
		}
	}
	t.Logf("%d closed, %d open, %d unclear", len(v.Security.Closed), len(v.Security.Open), len(v.Security.Unclear))
	// The cache has it all: no network is needed, and the words are there.
	if r := h.code(0, "verify", "--security", "--offline"); !strings.Contains(r.Stdout, "security advisories that applied before the migration are closed (") {
		t.Errorf("verify --security says:\n%s", r.Stdout)
	}
	if r := h.code(0, "verify", "--offline"); strings.Contains(r.Stdout, "advisories") {
		t.Errorf("verify tells of advisories unasked:\n%s", r.Stdout)
	}
}
