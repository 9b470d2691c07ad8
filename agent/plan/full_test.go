package plan_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// fullWorld is the host of world, judged: bash is rebuilt, many others get a
// newer version, a kernel comes beside the old one.
func fullWorld(t *testing.T) (plan.Input, *[]rpm) {
	in, content := world(t)
	in.Full = true
	m := &assess.Moves{}
	come := func(name string, kind assess.MoveKind) {
		m.Coming = append(m.Coming, assess.MoveIn{Repo: "baseos", Kind: kind, Why: "because", Package: &repodata.Package{
			NEVRA: nevra(t, name), Location: "Packages/" + name + ".rpm", SizePackage: 1000, SizeInstalled: 2000, ChecksumType: "sha256", Pkgid: strings.Repeat("0", 64),
		}})
	}
	m.Leaving = append(m.Leaving, assess.MoveOut{Row: 0, Kind: assess.MoveRebuild, Why: "rebuilt"})
	come("bash-4.4-1.x86_64", assess.MoveRebuild)
	for i := range 40 {
		in.Inventory.Packages = append(in.Inventory.Packages, installed(t, fmt.Sprintf("lib%02d-1-1.x86_64", i), theirs, nil, nil))
		m.Leaving = append(m.Leaving, assess.MoveOut{Row: len(in.Inventory.Packages) - 1, Kind: assess.MoveUpgrade, Why: "newer"})
		come(fmt.Sprintf("lib%02d-2-1.x86_64", i), assess.MoveUpgrade)
	}
	come("kernel-core-4.18.0-553.x86_64", assess.MoveBeside)
	come("almalinux-release-8.10-1.x86_64", assess.MoveNew) // comes with the swap already
	in.Inventory.DNF.Modules = []inventory.ModuleState{{Name: "container-tools", Stream: "ol8", State: "enabled"}, {Name: "php", Stream: "7.4", State: "disabled"}}
	in.Assessment = &assess.Assessment{Moves: m, Findings: []assess.Finding{{ID: plan.StreamMissing, Severity: assess.Warning}}, Space: []assess.SpaceNeed{
		{Mount: "/", Free: 1 << 30, Need: 30 << 20, Parts: []assess.SpacePart{{What: assess.SavedPackages, Bytes: 20 << 20}, {What: "download", Bytes: 10 << 20}}},
	}}
	return in, content
}

func TestFullPlan(t *testing.T) {
	in, content := fullWorld(t)
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]int{plan.KindBranding: 2, "rebuild": 1, "upgrade": 40, "beside": 1}, p.Counts.Coming); d != "" {
		t.Errorf("coming: %s", d)
	}
	if d := cmp.Diff(map[string]int{plan.KindBranding: 4, "rebuild": 1, "upgrade": 40}, p.Counts.Leaving); d != "" {
		t.Errorf("leaving: %s", d)
	}
	if b, o := p.Branding(), p.Others(); len(b.Coming) != 2 || len(o.Coming) != 42 {
		t.Errorf("%d of the branding, %d others", len(b.Coming), len(o.Coming))
	}
	if d := cmp.Diff([]plan.Stream{{Module: "container-tools", From: "ol8", To: "rhel8"}}, p.Streams); d != "" {
		t.Errorf("streams: %s", d)
	}
	if d := cmp.Diff([]string{plan.StreamMissing}, p.Blockers); d != "" {
		t.Errorf("blockers: %s", d)
	}
	var steps []string
	for _, s := range p.Steps {
		steps = append(steps, s.Name)
	}
	for i, want := range []string{plan.StepSwapPackages, plan.StepMapStreams, plan.StepSyncPackages, plan.StepSeal} {
		at := slices.Index(steps, want)
		if at < 0 || i > 0 && at < slices.Index(steps, plan.StepSwapPackages) {
			t.Errorf("%s is not in its place: %v", want, steps)
		}
	}
	if p.Space[0].Need != 30<<20 {
		t.Errorf("space: %+v", p.Space)
	}
	var short, long bytes.Buffer
	if err := errors.Join(p.WriteText(&short, false), p.WriteText(&long, true)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(short.String(), "... and 25 more") || strings.Contains(short.String(), "lib39") {
		t.Errorf("not cut short:\n%s", short.String())
	}
	if !strings.Contains(long.String(), "lib39") || strings.Contains(long.String(), "more (") {
		t.Errorf("cut short:\n%s", long.String())
	}
	if !strings.Contains(short.String(), "45 packages leave, 44 come") {
		t.Errorf("no verdict first:\n%s", short.String())
	}
}

func TestRollbackDepthIsPlanned(t *testing.T) {
	for depth, says := range map[string]string{plan.RollbackBranding: "41 packages beyond the branding", plan.RollbackNone: "anything, once the migration is done"} {
		in, content := fullWorld(t)
		in.RollbackDepth = depth
		p, err := build(t, in, *content)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(p.NotRestorable, "\n"), says) {
			t.Errorf("%s: %q", depth, p.NotRestorable)
		}
		if p.Space[0].Need >= 30<<20 {
			t.Errorf("%s: as much space as for all packages: %+v", depth, p.Space)
		}
		whole := *p
		whole.RollbackDepth = plan.RollbackFull
		if err := plan.Drift(p, &whole); !errors.Is(err, plan.ErrDrift) {
			t.Errorf("%s: another depth is not noticed: %v", depth, err)
		}
	}
}

func TestFullPlanIsRefused(t *testing.T) {
	in, content := fullWorld(t)
	in.Assessment.Moves = nil
	if _, err := build(t, in, *content); !errors.Is(err, plan.ErrNoTarget) {
		t.Errorf("without all repositories: %v", err)
	}
	in, content = fullWorld(t)
	in.Assessment.Moves.Coming[1].Package.Location = "../../x.rpm"
	if _, err := build(t, in, *content); !errors.Is(err, plan.ErrUnsafe) {
		t.Errorf("a location above the repository: %v", err)
	}
}
