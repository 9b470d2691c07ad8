// Package fleetgen makes reports of a fleet that does not exist: variants of
// one report, the same for the same seed.
package fleetgen

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

// kinds is how many different reports there are; the hosts of a kind differ in
// name, time and run.
const kinds = 40

// Fleet is what to make.
type Fleet struct {
	Template *report.Report
	Hosts    int
	Packages int // of each host, about
	Seed     uint64
	Now      time.Time
}

var findings = []struct {
	id       string
	severity assess.Severity
	one      int // in how many kinds
}{
	{"dep.broken", assess.Blocker, 8}, {"dep.conflict", assess.Blocker, 20}, {"kmod.no-target-driver", assess.Blocker, 15}, {"space.boot-low", assess.Blocker, 25},
	{"pkg.missing", assess.Warning, 2}, {"pkg.older", assess.Warning, 4}, {"repo.vanishes", assess.Warning, 6}, {"pkg.versionlocked", assess.Warning, 9}, {"pkg.repo-disabled", assess.Warning, 5},
}

var systems = []struct {
	distro, pretty, version, arch string
	major                         int
}{
	{"centos", "CentOS Linux 8", "8.5", "x86_64", 8}, {"rocky", "Rocky Linux 9.4", "9.4", "x86_64", 9}, {"rhel", "Red Hat Enterprise Linux 8.10", "8.10", "x86_64", 8}, {"oracle", "Oracle Linux Server 9.4", "9.4", "aarch64", 9},
}

// Each calls fn with every report, encoded; the name is a path, HOST.json.
func (f Fleet) Each(fn func(name string, doc []byte) error) error {
	r := rand.New(rand.NewPCG(f.Seed, 1))
	protos := make([][]byte, 0, kinds)
	for k := range kinds {
		doc, err := f.proto(r, k)
		if err != nil {
			return err
		}
		protos = append(protos, doc)
	}
	for i := range f.Hosts {
		// half of the fleet is of the first few kinds, as fleets are
		k := r.IntN(kinds)
		if r.IntN(2) == 0 {
			k = r.IntN(5)
		}
		host := fmt.Sprintf("%s%05d.example.com", []string{"web", "db", "app", "ci"}[r.IntN(4)], i)
		at := f.Now.Add(-time.Duration(r.IntN(9*24*60)) * time.Minute)
		doc := bytes.Replace(protos[k], []byte("HOST-NAME"), []byte(host), 1)
		doc = bytes.Replace(doc, []byte("2001-01-01T00:00:00Z"), []byte(at.UTC().Format(time.RFC3339)), 1)
		doc = bytes.Replace(doc, []byte("RUN-ID"), fmt.Appendf(nil, "%08x-0000-4000-8000-%012x", k, i), 1)
		if err := fn(host+".json", doc); err != nil {
			return err
		}
	}
	return nil
}

// proto makes the report of a kind, with marks where hosts differ.
func (f Fleet) proto(r *rand.Rand, k int) ([]byte, error) {
	d := *f.Template
	d.Kind, d.RunID = report.ReportKind, "RUN-ID"
	d.Delivery = []report.Delivery{}
	s := systems[k%len(systems)]
	d.Host.Name, d.Host.PrettyName, d.Host.Version, d.Host.Arch, d.Host.Major = "HOST-NAME", s.pretty, s.version, s.arch, s.major
	d.Host.Distro = "" // set below, by its text: the type is the inventory's
	d.Host.State = "source"
	d.Finished = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	d.Started = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	d.Findings = []assess.Finding{}
	for i, fd := range findings {
		if (k+i*7)%fd.one != 0 || k == 1 {
			continue
		}
		nf := assess.Finding{ID: fd.id, Severity: fd.severity, Title: fmt.Sprintf("%d things: %s", 1+k%3, fd.id), Remedy: assess.Remedy{Text: "look at it", Command: "dnf remove thing" + fmt.Sprint(k%3)}}
		for j := range 1 + k%5 {
			nf.Resources = append(nf.Resources, assess.Resource{Kind: "package", Name: fmt.Sprintf("thing%d-1.%d-%d.el8.x86_64", j, k, j), Detail: "requires libthing.so.1()(64bit)"})
		}
		d.Findings = append(d.Findings, nf)
	}
	d.Verdict = assess.Ready
	for _, fd := range d.Findings {
		if fd.Severity == assess.Blocker {
			d.Verdict = assess.Blocked
		} else if d.Verdict == assess.Ready {
			d.Verdict = assess.ReadyWithWarnings
		}
	}
	d.Packages = nil
	for i := 0; i < f.Packages && len(f.Template.Packages) > 0; i++ {
		p := f.Template.Packages[i%len(f.Template.Packages)]
		if i >= len(f.Template.Packages) {
			// most of a host's packages are simply updated
			p.Name = fmt.Sprintf("%s-part%d", p.Name, i)
			p.NEVRA = fmt.Sprintf("%s-%d.%d-%d.el8.%s", p.Name, 1+r.IntN(9), r.IntN(30), r.IntN(5), p.Arch)
			if i%12 != 0 {
				p.Verdict = assess.Newer
			}
		}
		d.Packages = append(d.Packages, p)
	}
	d.Summary.Total = len(d.Packages)
	doc, err := d.Encode()
	return bytes.Replace(doc, []byte(`"distro": ""`), fmt.Appendf(nil, `"distro": %q`, s.distro), 1), err
}
