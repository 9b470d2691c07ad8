package assess

import (
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// modules is dnf's view of module streams on the host after the move. A
// stream is active when the host enabled it, when packages of it are installed,
// or when it is AlmaLinux's default and the host did not say otherwise.
// Packages of streams that are not active are invisible; those of active ones
// hide packages of the same name outside.
type modules struct {
	cat       *catalog.Catalog
	host      map[string]string // module: stream enabled on the host, as AlmaLinux names it
	known     map[string]map[string]bool
	artifacts map[string][]artifact // by package name
}

type artifact struct {
	nevra  rpmver.NEVRA
	stream string // "name:stream"
	active bool
}

func newModules(cat *catalog.Catalog, inv *inventory.Inventory, repos []TargetRepo) modules {
	m := modules{cat: cat, host: map[string]string{}, known: map[string]map[string]bool{}, artifacts: map[string][]artifact{}}
	var docs []*repodata.Modules
	for i := range repos {
		if repos[i].Index == nil {
			continue
		}
		if d := repos[i].Index.Modules(); d != nil && len(d.Streams) > 0 {
			docs = append(docs, d)
		}
	}
	for _, d := range docs {
		for i := range d.Streams {
			s := &d.Streams[i]
			if m.known[s.Name] == nil {
				m.known[s.Name] = map[string]bool{}
			}
			m.known[s.Name][s.Stream] = true
		}
	}
	disabled := map[string]bool{}
	for _, s := range inv.DNF.Modules {
		switch {
		case s.State == "disabled":
			disabled[s.Name] = true
		case s.State == "enabled" && s.Stream != "":
			m.host[s.Name] = m.mapped(s.Stream)
		}
	}
	if len(docs) == 0 {
		return m
	}
	active := map[string]string{}
	for _, d := range docs {
		for i := range d.Defaults {
			n := d.Defaults[i].Module
			if s := d.DefaultStream(n); s != "" && m.known[n][s] && !disabled[n] {
				active[n] = s
			}
		}
	}
	for i := range inv.Packages {
		n, s := splitStream(moduleOf(inv.Packages[i].ModuleLabel))
		if s = m.mapped(s); n != "" && m.known[n][s] && !disabled[n] {
			active[n] = s
		}
	}
	for n, s := range m.host {
		active[n] = s
	}
	for _, d := range docs {
		for i := range d.Streams {
			s := &d.Streams[i]
			on := active[s.Name] == s.Stream && satisfied(s, active)
			id := s.Name + ":" + s.Stream
			for _, n := range s.Artifacts {
				if n.Arch != "src" && n.Arch != "nosrc" {
					m.artifacts[n.Name] = append(m.artifacts[n.Name], artifact{n, id, on})
				}
			}
		}
	}
	return m
}

// satisfied tells whether a build of a stream goes with the active streams of
// the modules that it was built for: a stream is built several times, for
// every stream of what it needs.
func satisfied(s *repodata.Stream, active map[string]string) bool {
	if len(s.Requires) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Requires, func(set []repodata.ModuleDep) bool {
		for _, d := range set {
			have := active[d.Module]
			if have == "" || len(d.Streams) == 0 || d.Module == "platform" {
				continue
			}
			ok, positive := false, false
			for _, want := range d.Streams {
				if not, found := strings.CutPrefix(want, "-"); found {
					if not == have {
						return false
					}
					continue
				}
				positive = true
				ok = ok || want == have
			}
			if positive && !ok {
				return false
			}
		}
		return true
	})
}

// mapped gives a stream AlmaLinux's name: Oracle's ol8 is rhel8.
func (m *modules) mapped(stream string) string {
	if stream == "" {
		return ""
	}
	return m.cat.MapStream(stream)
}

func (m *modules) empty() bool { return len(m.known) == 0 }

func (m *modules) has(name, stream string) bool { return m.known[name][stream] }

func (m *modules) streams(name string) []string {
	return sortedKeys(m.known[name])
}

// enabledOnHost returns the stream of a module that is enabled on the host, "" for none.
func (m *modules) enabledOnHost(name string) string { return m.host[name] }

// streamOf returns the "name:stream" that a package belongs to, an active one
// before others, "" for none.
func (m *modules) streamOf(n rpmver.NEVRA) string {
	stream := ""
	for _, a := range m.artifacts[n.Name] {
		if a.nevra == n && (stream == "" || a.active) {
			stream = a.stream
			if a.active {
				break
			}
		}
	}
	return stream
}

// hides tells whether dnf would not see a package.
func (m *modules) hides(n rpmver.NEVRA) bool {
	modular, shadowed := false, false
	for _, a := range m.artifacts[n.Name] {
		if a.nevra == n {
			if a.active {
				return false
			}
			modular = true
		}
		shadowed = shadowed || a.active
	}
	return modular || shadowed
}
