package catalog

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/ini"
)

// Hardware is what is known of a driver that a RHEL major dropped, wholly or
// for some devices.
type Hardware struct {
	Driver     string // module name, with _
	Known      bool   // RHEL and Maintained are known
	RHEL       []int  // majors whose kernels have the driver
	Maintained []int  // majors that Red Hat maintains it in
	until      map[int][]pciID
	restored   map[int][]pciID
}

// HardwareSource says where a part of the hardware facts comes from.
type HardwareSource struct {
	Name, Title, URL string
	Checked          string // YYYY-MM-DD
}

// pciID is vendor, device, subvendor, subdevice, class, subclass, each in
// lower case hex or "*".
type pciID [6]string

// Hardware finds what is known of a driver. A driver without an entry is not
// known to have been dropped.
func (c *Catalog) Hardware(driver string) (Hardware, bool) {
	h, ok := c.hardware[strings.ReplaceAll(driver, "-", "_")]
	if !ok {
		return Hardware{}, false
	}
	return *h, true
}

// HardwareSources returns where the facts come from, sorted by name.
func (c *Catalog) HardwareSources() []HardwareSource { return slices.Clone(c.hardwareSources) }

// Dropped tells whether the kernel of a RHEL major does not claim a PCI device
// any more, by its modalias.
func (h *Hardware) Dropped(major int, modalias string) bool {
	for last, ids := range h.until {
		if last < major && matchPCI(ids, modalias) {
			return true
		}
	}
	return false
}

// Restored tells whether the kernel of AlmaLinux claims a device that RHEL's
// of the same major does not.
func (h *Hardware) Restored(major int, modalias string) bool {
	return matchPCI(h.restored[major], modalias)
}

func matchPCI(ids []pciID, modalias string) bool {
	dev, ok := parseModalias(modalias)
	if !ok {
		return false
	}
	for _, id := range ids {
		hit := true
		for i, want := range id {
			hit = hit && (want == "*" || want == dev[i])
		}
		if hit {
			return true
		}
	}
	return false
}

// parseModalias takes a PCI device's modalias apart (drivers/pci/pci-sysfs.c):
// pci:vVVVVVVVVdDDDDDDDDsvVVVVVVVVsdDDDDDDDDbcCCscSSiII.
func parseModalias(s string) (pciID, bool) {
	var id pciID
	rest, ok := strings.CutPrefix(s, "pci:")
	if !ok {
		return id, false
	}
	rest = strings.ToLower(rest)
	for i, f := range []struct {
		mark string
		n    int
	}{{"v", 8}, {"d", 8}, {"sv", 8}, {"sd", 8}, {"bc", 2}, {"sc", 2}} {
		if rest, ok = strings.CutPrefix(rest, f.mark); !ok || len(rest) < f.n {
			return id, false
		}
		id[i] = rest[max(0, f.n-4):f.n]
		rest = rest[f.n:]
	}
	return id, true
}

func (l *loader) hardware(s ini.Section, driver string) error {
	h := &Hardware{Driver: strings.ReplaceAll(driver, "-", "_"), until: map[int][]pciID{}, restored: map[int][]pciID{}}
	for _, k := range s.Keys {
		words := strings.Fields(k.Value)
		var err error
		kind, majors, _ := strings.Cut(k.Name, "_")
		switch {
		case k.Name == "rhel":
			h.RHEL, err = l.majors(k.Line, words)
			h.Known = true
			if h.Maintained == nil {
				h.Maintained = h.RHEL
			}
		case k.Name == "maintained" && k.Value == "none":
			h.Maintained = []int{}
		case k.Name == "maintained":
			h.Maintained, err = l.majors(k.Line, words)
		case kind == "until" || kind == "restored":
			var in []int
			if in, err = l.majors(k.Line, strings.Split(majors, "_")); err != nil {
				return err
			}
			var ids []pciID
			if ids, err = l.pciIDs(k.Line, words); err != nil {
				return err
			}
			to := h.until
			if kind == "restored" {
				to = h.restored
			}
			for _, m := range in {
				to[m] = append(to[m], ids...)
			}
		default:
			err = l.fail(k.Line, "unknown key %s in [%s]", k.Name, s.Name)
		}
		if err != nil {
			return err
		}
	}
	if l.c.hardware == nil {
		l.c.hardware = map[string]*Hardware{}
	}
	l.c.hardware[h.Driver] = h
	return nil
}

// pciIDs reads vendor:device[:subvendor:subdevice[:class:subclass]].
func (l *loader) pciIDs(line int, words []string) ([]pciID, error) {
	ids := make([]pciID, 0, len(words))
	for _, w := range words {
		parts := strings.Split(strings.ToLower(w), ":")
		id := pciID{"*", "*", "*", "*", "*", "*"}
		if len(parts) < 2 || len(parts) > len(id) {
			return nil, l.fail(line, "%q is not vendor:device[:subvendor:subdevice[:class:subclass]]", w)
		}
		for i, p := range parts {
			width := 4
			if i >= 4 {
				width = 2
			}
			if _, err := strconv.ParseUint(p, 16, 16); p != "*" && (err != nil || len(p) != width) {
				return nil, l.fail(line, "%q is not vendor:device[:subvendor:subdevice[:class:subclass]]", w)
			}
			id[i] = p
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (l *loader) hardwareSource(s ini.Section, name string) error {
	x := HardwareSource{Name: name}
	for _, k := range s.Keys {
		switch k.Name {
		case "title":
			x.Title = k.Value
		case "url":
			x.URL = k.Value
		case "checked":
			x.Checked = k.Value
		default:
			return l.fail(k.Line, "unknown key %s in [%s]", k.Name, s.Name)
		}
	}
	l.c.hardwareSources = slices.DeleteFunc(l.c.hardwareSources, func(o HardwareSource) bool { return o.Name == name })
	l.c.hardwareSources = append(l.c.hardwareSources, x)
	slices.SortFunc(l.c.hardwareSources, func(a, b HardwareSource) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// ModuleMerged says which module of newer kernels has what a module of older
// ones had, and since when.
func (c *Catalog) ModuleMerged(module string) (into, why string, ok bool) {
	m, ok := c.merged[strings.ReplaceAll(module, "-", "_")]
	return m[0], m[1], ok
}

// mergedModules reads OLD = NEW | why.
func (l *loader) mergedModules(s ini.Section) error {
	if l.c.merged == nil {
		l.c.merged = map[string][2]string{}
	}
	for _, k := range s.Keys {
		into, why, ok := strings.Cut(k.Value, "|")
		into, why = strings.TrimSpace(into), strings.TrimSpace(why)
		if !ok || into == "" || why == "" || strings.ContainsAny(into, " -") {
			return l.fail(k.Line, "expected MODULE | why: %q", k.Value)
		}
		l.c.merged[k.Name] = [2]string{into, why}
	}
	return nil
}
