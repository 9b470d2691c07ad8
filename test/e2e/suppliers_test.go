package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestSuppliedModules: a loaded module that AlmaLinux does not have is looked for
// in ELRepo, where the host has it enabled, and otherwise only when somebody
// says where it is: the lab's hosts have a mirror.
func TestSuppliedModules(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	check := func(proc, before string, args ...string) (module, repo map[string]any, findings string) {
		t.Helper()
		script := fmt.Sprintf("%s\nrm -f /proc/modules; printf '%%s' %q > /proc/modules; exec %s check --json --cache-dir /run/cache %s", before, proc, binary, strings.Join(args, " "))
		r := h.Do(Cmd{Args: []string{"bash", "-c", script}, Farm: true})
		var doc struct {
			Findings []struct{ ID, Severity string }
			Modules  []map[string]any
			Kernel   struct {
				Suppliers []map[string]any `json:"module_repos"`
			}
		}
		if err := json.Unmarshal([]byte(r.Stdout), &doc); err != nil {
			t.Fatalf("exit code %d: %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
		}
		for _, f := range doc.Findings {
			findings += f.ID + " "
		}
		for _, m := range doc.Modules {
			if name := strings.Fields(proc)[0]; m["name"] == name {
				module = m
			}
		}
		for _, s := range doc.Kernel.Suppliers {
			if s["id"] == "elrepo" {
				repo = s
			}
		}
		if module == nil {
			t.Fatalf("the module is not judged: %v", doc.Modules)
		}
		return module, repo, findings
	}
	const labnet = "labnet 16384 1 - Live 0x0000000000000000\n"
	h.Must("rpm", "-e", "--nodeps", "kmod-labnet")
	m, r, ids := check(labnet, "")
	if m["verdict"] != "supplied-by" || m["repo_name"] != "ELRepo" || r == nil || r["enabled"] != true || !strings.HasPrefix(fmt.Sprint(r["signed"]), "good ") || !strings.Contains(ids, "kmod.supplied") {
		t.Errorf("enabled: %v; %v; %s", m, r, ids)
	}
	// plan asks the same repositories: what check calls supplied is no blocker there.
	r2 := h.Do(Cmd{Args: []string{"bash", "-c", fmt.Sprintf("rm -f /proc/modules; printf '%%s' %q > /proc/modules; %s plan --json --cache-dir /run/cache-plan >/dev/null; find /run/cache-plan -maxdepth 2 -name '*elrepo*'", labnet, binary)}, Farm: true})
	if !strings.Contains(r2.Stdout, "elrepo") {
		t.Errorf("plan did not ask ELRepo: %s%s", r2.Stdout, r2.Stderr)
	}
	off := "sed -i s/enabled=1/enabled=0/ /etc/yum.repos.d/elrepo.repo"
	m, r, ids = check(labnet, off)
	if m["verdict"] != "missing" || r == nil || r["unasked"] == nil || !strings.Contains(ids, "kmod.missing") {
		t.Errorf("off, and not in the cache: %v; %v; %s", m, r, ids)
	}
	named := "elrepo=http://$(cat /etc/dnf/vars/labhost)/elrepo/elrepo/el8/$(uname -m)/"
	m, r, ids = check(labnet, off, "--repo", named)
	if m["verdict"] != "supplied-by" || r == nil || r["enabled"] == true || !strings.Contains(fmt.Sprint(m["reason"]), "kmod-labnet in ELRepo (not enabled: dnf --enablerepo=elrepo)") || !strings.Contains(ids, "kmod.supplied") {
		t.Errorf("off, and named: %v; %v; %s", m, r, ids)
	}
	// Its kmod-labdisk asks for a symbol with another checksum than AlmaLinux's.
	if m, r, _ = check("labdisk 16384 1 - Live 0x0000000000000000\n", off, "--repo", named); m["verdict"] != "missing" || !strings.Contains(fmt.Sprint(m["reason"]), "nor has ELRepo") || r == nil {
		t.Errorf("a build that does not fit: %v; %v", m, r)
	}
	// Nobody else is asked where AlmaLinux has everything.
	if m, r, ids = check("xfs 16384 1 - Live 0x0000000000000000\n", off); m["verdict"] != "in-tree" || r != nil {
		t.Errorf("asked for nothing: %v; %v; %s", m, r, ids)
	}
}
