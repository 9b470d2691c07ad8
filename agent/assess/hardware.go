package assess

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
)

// findHardware judges the devices that have a driver, and returns the modules
// whose absence was told with their devices.
func (a *assessor) findHardware(j *kernelJudge) map[string]bool {
	told := map[string]bool{}
	var gone, ids [2]devices
	var restored devices
	for i := range j.k.Devices {
		d := &j.k.Devices[i]
		n := 1
		if d.Role != "" {
			n = 0
		}
		r := j.driver(d)
		switch {
		case r != nil && r.Verdict == ModuleMissing:
			gone[n].add(d, "AlmaLinux's kernel has no "+d.Module)
			told[d.Module] = true
		case r != nil && j.drops(d, r):
			text := fmt.Sprintf("%s of AlmaLinux's kernel does not claim %s", d.Module, d.Modalias)
			if c := a.claimant(j.t, d.Module, d.Modalias); c != nil {
				text += "; supplied by " + a.inRepo(c)
				ids[n].take(c)
			}
			ids[n].add(d, text)
		case r != nil && r.Verdict == ModuleUnknown && j.t.evidence == EvidenceNone || r == nil && d.Module == "":
			// The catalogue's word, where the kernel itself is not known.
			h, ok := a.cat.Hardware(driverName(d))
			if !ok {
				continue
			}
			back := h.Restored(a.in.Major, d.Modalias)
			switch {
			case h.Known && !slices.Contains(h.RHEL, a.in.Major) && !back:
				gone[n].add(d, fmt.Sprintf("RHEL %d has no %s; whether AlmaLinux has is not known", a.in.Major, driverName(d)))
			case h.Dropped(a.in.Major, d.Modalias) && !back:
				ids[n].add(d, fmt.Sprintf("RHEL %d does not claim %s; whether AlmaLinux does is not known", a.in.Major, d.Modalias))
			}
		}
		if h, ok := a.cat.Hardware(driverName(d)); ok && h.Restored(a.in.Major, d.Modalias) && j.works(d, r) {
			restored.add(d, "claimed by "+driverName(d))
		}
	}
	for n := range gone {
		essential := n == 0
		if g := gone[n]; len(g.res) > 0 {
			f := Finding{
				ID: idHwDriver, Severity: severityOf(essential), Resources: g.res,
				Title:  fmt.Sprintf("AlmaLinux's kernel has no driver for %s: %s", plural(len(g.res), "device"), g.list()),
				Detail: "The driver that the device works with here is not in the kernel " + j.kernelName() + ".",
				Remedy: Remedy{Text: "look for a kmod package of the driver in ELRepo or the CentOS Kmods SIG, or replace the hardware", Command: "lspci -nnk -s " + shellWord(g.first())},
			}
			if essential {
				f.Detail = deviceText + f.Detail
			}
			a.raise(f)
		}
		if g := ids[n]; len(g.res) > 0 {
			f := Finding{
				ID: idHwID, Severity: severityOf(essential), Resources: g.res,
				Title:  fmt.Sprintf("the driver of %s does not claim %s any more: %s", plural(len(g.res), "device"), verb(len(g.res), "it", "them"), g.list()),
				Detail: "AlmaLinux's kernel has the driver, without this device's id: the device would stay without a driver.",
				Remedy: Remedy{Text: "look for a kmod package of the driver in ELRepo or the CentOS Kmods SIG, or replace the hardware", Command: "lspci -nnk -s " + shellWord(g.first())},
			}
			if j.t.evidence == EvidenceMetadata {
				f.Detail += " This is by the metadata; check --deep reads the modules themselves."
			}
			if len(g.names) == len(g.from) {
				names, repos := g.packages()
				f.Detail += " " + sentence(strings.Join(names, ", ")+" has it") + a.aboutSuppliers(repos, j.res.Enforced)
				f.Remedy = Remedy{Text: "install the package that claims it together with the kernel, before the reboot", Command: a.installCommand(names, repos)}
			}
			if essential {
				f.Detail = deviceText + f.Detail
			}
			a.raise(f)
		}
	}
	if n := len(restored.res); n > 0 {
		a.raise(Finding{
			ID: idHwRestored, Severity: Info, Resources: restored.res,
			Title:  fmt.Sprintf("%s that RHEL dropped %s with AlmaLinux's kernel: %s", plural(n, "device"), verb(n, "works", "work"), restored.list()),
			Detail: "AlmaLinux keeps the device's id in its driver; RHEL's kernel of the same release does not claim it.",
			Remedy: Remedy{Text: "nothing to do"},
		})
	}
	return told
}

const deviceText = "The root disk, /boot or a network card is behind it: the host may not come back. "

// devices gathers the devices of one finding.
type devices struct {
	res   []Resource
	names []string
	from  []*candidate // packages that have a driver for them
}

func (g *devices) take(c *candidate) { g.from = append(g.from, c) }

// packages names what take was given, each once, and the repositories.
func (g *devices) packages() (names []string, repos []*TargetRepo) {
	for _, c := range g.from {
		if !slices.Contains(names, c.id.Name) {
			names = append(names, c.id.Name)
		}
		if !slices.Contains(repos, c.repo) {
			repos = append(repos, c.repo)
		}
	}
	slices.Sort(names)
	return names, repos
}

func (g *devices) add(d *inventory.KernelDevice, detail string) {
	g.res = append(g.res, Resource{"device", d.Bus + " " + d.Name, "driver " + d.Driver + ": " + detail})
	g.names = append(g.names, d.Name+" ("+d.Driver+")")
}

func (g *devices) list() string { return fewSymbols(g.names) }

// first is the address of the first device, for lspci.
func (g *devices) first() string {
	_, name, _ := strings.Cut(g.res[0].Name, " ")
	return name
}

func driverName(d *inventory.KernelDevice) string {
	if d.Module != "" {
		return d.Module
	}
	return strings.ReplaceAll(d.Driver, "-", "_")
}

func (j *kernelJudge) driver(d *inventory.KernelDevice) *ModuleResult {
	if d.Module == "" {
		return nil
	}
	if i, ok := j.byName[d.Module]; ok {
		return &j.modules[i]
	}
	return nil
}

// drops tells whether the module that would drive the device under AlmaLinux's
// kernel is the kernel's own and does not claim it, though the one here does.
func (j *kernelJudge) drops(d *inventory.KernelDevice, r *ModuleResult) bool {
	if !d.Claimed {
		return false
	}
	switch r.Verdict {
	case ModuleInTree, ModuleMoved:
	case ModuleBreaks:
		if _, _, ok := j.t.found(r.Name); !ok {
			return false
		}
	default:
		return false // built in: the image's aliases are on no list; out of tree: its own stay
	}
	table := j.t.claims()
	if table.Len() == 0 || j.t.builtin[r.Name] {
		return false
	}
	bus, _, _ := strings.Cut(d.Modalias, ":")
	if !j.t.knowsBus(bus) {
		return false
	}
	return len(table.Match(d.Modalias)) == 0
}

// works tells whether AlmaLinux's kernel has the driver of a device and claims
// it, as far as is known; r is nil for a driver that is part of the running image.
func (j *kernelJudge) works(d *inventory.KernelDevice, r *ModuleResult) bool {
	if r == nil {
		return d.Module == "" // no module of its own to ask about: the catalogue's word
	}
	switch r.Verdict {
	case ModuleInTree, ModuleMoved, ModuleBuiltIn:
	case ModuleBreaks, ModuleUnknown:
		// Out of tree: then it is the kernel's own that would be loaded.
		if _, _, ok := j.t.found(r.Name); !ok && j.t.evidence != EvidenceNone {
			return false
		}
	case ModuleMissing, ModuleSupplied, ModuleCompatible:
		return false
	}
	return !j.drops(d, r)
}

// knowsBus tells whether the aliases cover a bus at all.
func (t *targetKernel) knowsBus(bus string) bool {
	if t.buses == nil {
		t.buses = map[string]bool{}
		for _, p := range t.parts {
			if p.facts != nil {
				for _, a := range p.facts.Aliases {
					b, _, _ := strings.Cut(a.Pattern, ":")
					t.buses[b] = true
				}
				continue
			}
			for _, d := range p.provides {
				if arg, ok := strings.CutPrefix(d.Name, "modalias("); ok {
					b, _, _ := strings.Cut(arg, ":")
					t.buses[b] = true
				}
			}
		}
	}
	return t.buses[bus]
}
