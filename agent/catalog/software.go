package catalog

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/ini"
)

// Panel is a control panel: a program that manages the whole host and expects
// to know its distribution.
type Panel struct {
	Name    string // short name, e.g. "plesk"
	Title   string
	Marker  string // a path that is there when it is installed
	Version string // a file whose first word is its version, may be empty
	Minimum string // the oldest version that can be moved, empty: any
	Advice  string // what to do
	Command string // the same as a command, may be empty
	Source  string // where this is known from
	Checked string // when it was looked up, YYYY-MM-DD
}

// Agent is a program of a third party that behaves differently by the
// distribution or the kernel that it sees.
type Agent struct {
	Pattern string // of package names
	Title   string
	Effect  string // what may happen
	Advice  string // what to do
	Source  string
	Checked string // YYYY-MM-DD
}

// Panels returns every control panel that is known, sorted by name.
func (c *Catalog) Panels() []Panel { return slices.Clone(c.panels) }

// Agent finds what is known of a package as an Agent.
func (c *Catalog) Agent(pkg string) (Agent, bool) {
	for i := range c.agents {
		a := &c.agents[i]
		if a.Pattern == pkg {
			return *a, true
		}
		if strings.ContainsAny(a.Pattern, "*?[") {
			if ok, err := path.Match(a.Pattern, pkg); err == nil && ok {
				return *a, true
			}
		}
	}
	return Agent{}, false
}

func (l *loader) panel(s ini.Section, name string) error {
	p := Panel{Name: name}
	err := l.texts(s, map[string]*string{
		"title": &p.Title, "marker": &p.Marker, "version": &p.Version, "minimum": &p.Minimum,
		"advice": &p.Advice, "command": &p.Command, "source": &p.Source, "checked": &p.Checked,
	})
	if err != nil {
		return err
	}
	if p.Title == "" || p.Advice == "" || !path.IsAbs(p.Marker) || p.Version != "" && !path.IsAbs(p.Version) {
		return l.fail(s.Line, "panel %s needs title, advice, and a full path as marker", name)
	}
	if p.Minimum != "" && p.Version == "" {
		return l.fail(s.Line, "panel %s: a minimum needs the file with the version", name)
	}
	l.c.panels = slices.DeleteFunc(l.c.panels, func(o Panel) bool { return o.Name == name })
	l.c.panels = append(l.c.panels, p)
	slices.SortFunc(l.c.panels, func(a, b Panel) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (l *loader) agent(s ini.Section, pattern string) error {
	a := Agent{Pattern: pattern}
	err := l.texts(s, map[string]*string{
		"title": &a.Title, "effect": &a.Effect, "advice": &a.Advice, "source": &a.Source, "checked": &a.Checked,
	})
	if err != nil {
		return err
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return l.fail(s.Line, "%q is not a pattern", pattern)
	}
	if a.Title == "" || a.Effect == "" || a.Advice == "" {
		return l.fail(s.Line, "agent %s needs title, effect and advice", pattern)
	}
	l.c.agents = slices.DeleteFunc(l.c.agents, func(o Agent) bool { return o.Pattern == pattern })
	l.c.agents = append(l.c.agents, a)
	slices.SortStableFunc(l.c.agents, func(a, b Agent) int { return cmp.Compare(len(b.Pattern), len(a.Pattern)) })
	return nil
}

// texts reads a section of plain values.
func (l *loader) texts(s ini.Section, into map[string]*string) error {
	for _, kv := range s.Keys {
		dst := into[kv.Name]
		if dst == nil {
			return l.fail(kv.Line, "unknown key %q", kv.Name)
		}
		*dst = kv.Value
		if kv.Name == "checked" {
			if _, err := time.Parse(time.DateOnly, kv.Value); err != nil {
				return l.fail(kv.Line, "checked: %q is not a date like 2026-01-12", kv.Value)
			}
		}
	}
	return nil
}
