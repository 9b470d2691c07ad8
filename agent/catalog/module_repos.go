package catalog

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/ini"
)

// ModuleRepo is a repository of kernel modules that is not AlmaLinux's.
type ModuleRepo struct {
	ID      string
	Title   string
	BaseURL string   // with the variables replaced
	IDs     []string // patterns of a host's repository ids, lower case
	Owner   string   // KeyInfo.Owner of who signs it
	Package string   // brings its repo file, may be empty
	Enable  string   // the command that adds it to a host
	Source  string   // where this is known from
	Checked string   // YYYY-MM-DD
}

// Is tells whether a repository of a host, by its id, is this one.
func (r *ModuleRepo) Is(id string) bool {
	id = strings.ToLower(id)
	return slices.ContainsFunc(r.IDs, func(p string) bool { return match(p, id) })
}

type moduleRepoDef struct {
	ModuleRepo
	majors []int
	arches []string
}

// ModuleRepos returns the known repositories of kernel modules for a major and
// an architecture, sorted by id.
func (c *Catalog) ModuleRepos(major int, arch string) []ModuleRepo {
	var out []ModuleRepo
	for _, d := range c.moduleRepos {
		if !slices.Contains(d.majors, major) || len(d.arches) > 0 && !slices.Contains(d.arches, arch) {
			continue
		}
		r := d.ModuleRepo
		fill := strings.NewReplacer("$releasever", fmt.Sprint(major), "$basearch", arch)
		r.BaseURL, r.Enable = fill.Replace(r.BaseURL), fill.Replace(r.Enable)
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b ModuleRepo) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (l *loader) moduleRepo(s ini.Section, id string, words []string) error {
	majors, err := l.majors(s.Line, words)
	if err != nil {
		return err
	}
	var ids, arches string
	d := &moduleRepoDef{ModuleRepo: ModuleRepo{ID: id}, majors: majors}
	err = l.texts(s, map[string]*string{
		"title": &d.Title, "baseurl": &d.BaseURL, "ids": &ids, "owner": &d.Owner, "arches": &arches,
		"package": &d.Package, "enable": &d.Enable, "source": &d.Source, "checked": &d.Checked,
	})
	if err != nil {
		return err
	}
	d.IDs, d.arches = strings.Fields(strings.ToLower(ids)), strings.Fields(arches)
	for _, p := range d.IDs {
		if _, err := path.Match(p, ""); err != nil {
			return l.fail(s.Line, "%q is not a pattern", p)
		}
	}
	u, err := url.Parse(d.BaseURL)
	if d.Title == "" || d.Enable == "" || len(d.IDs) == 0 || err != nil || !slices.Contains([]string{"https", "http", "file"}, u.Scheme) {
		return l.fail(s.Line, "module repository %s needs title, ids, enable, and a URL as baseurl", id)
	}
	for _, o := range l.c.moduleRepos {
		if o.ID == id {
			o.majors = slices.DeleteFunc(o.majors, func(m int) bool { return slices.Contains(majors, m) })
		}
	}
	l.c.moduleRepos = append(l.c.moduleRepos, d)
	return nil
}
