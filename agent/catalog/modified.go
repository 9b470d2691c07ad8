package catalog

import (
	"maps"

	"github.com/almamigrate/almamigrate/pkg/ini"
)

// ModifiedSource says where the list of modified packages is from.
type ModifiedSource struct {
	Source  string // in words
	Checked string // when it was looked up, YYYY-MM-DD
}

// Modified tells what AlmaLinux of a major changes in a source package beside
// rebuilding it; source is the source package's name. Empty: nothing that is
// known.
func (c *Catalog) Modified(major int, source string) string { return c.modified[major][source] }

// ModifiedSource tells where Modified's answers are from.
func (c *Catalog) ModifiedSource() ModifiedSource { return c.modifiedSource }

// TargetVars returns the dnf variables that AlmaLinux's release package of a
// major brings, by name.
func (c *Catalog) TargetVars(major int) map[string]string { return maps.Clone(c.targetVars[major]) }

// byMajor reads a section [WORD MAJOR] of plain names and values; an empty value
// takes a name out.
func (l *loader) byMajor(s ini.Section, word string, into *map[int]map[string]string) error {
	majors, err := l.majors(s.Line, []string{word})
	if err != nil {
		return err
	}
	if *into == nil {
		*into = map[int]map[string]string{}
	}
	m := (*into)[majors[0]]
	if m == nil {
		m = map[string]string{}
		(*into)[majors[0]] = m
	}
	for _, kv := range s.Keys {
		if m[kv.Name] = kv.Value; kv.Value == "" {
			delete(m, kv.Name)
		}
	}
	return nil
}
