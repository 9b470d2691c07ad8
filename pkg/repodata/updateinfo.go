package repodata

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Limits of advisories. AlmaLinux 8 has some 3,000 with up to 600 packages and
// 1,400 CVEs each.
const (
	maxAdvisories        = 200_000
	maxAdvisoryPackages  = 20_000
	maxAdvisoryReference = 20_000
	maxAdvisoryDepth     = 8 // collections in lists in an update
)

// AdvisoryType is the kind of an advisory, as updateinfo.xml calls it.
type AdvisoryType string

// The types of advisories; others are kept as they are written.
const (
	AdvisorySecurity    AdvisoryType = "security"
	AdvisoryBugfix      AdvisoryType = "bugfix"
	AdvisoryEnhancement AdvisoryType = "enhancement"
	AdvisoryNewPackage  AdvisoryType = "newpackage"
)

// Advisory is one erratum: what was mended, and from which versions on.
type Advisory struct {
	ID       string // e.g. "ALSA-2023:7549"
	Type     AdvisoryType
	Severity string // "Critical", "Important", "Moderate", "Low", or empty; spelled as AlmaLinux does
	Title    string
	Issued   time.Time // UTC; zero: not said or not understood
	CVEs     []string  // as listed, each once
	Packages []AdvisoryPackage
	Reboot   bool // the advisory itself says so: reboot_suggested
}

// AdvisoryPackage is a package that mends what its advisory is about.
type AdvisoryPackage struct {
	Name string
	EVR  rpmver.EVR // from this one on it is mended
	Arch string     // empty: of any (OSV records name none)
	// Module and Stream are those of the collection that the package is in,
	// empty where it is in no module.
	Module, Stream string
}

// ParseUpdateinfo reads updateinfo.xml (uncompressed) and calls fn for every
// update, in the document's order; fn's error ends the reading and is returned.
// What is malformed or too large is a *ParseError. Packages of architecture
// "src" are left out. The form is createrepo_c's (updateinfo.c) and libsolv's
// (repo_updateinfoxml.c); AlmaLinux writes <module> into the collection.
func ParseUpdateinfo(r io.Reader, fn func(*Advisory) error) error {
	s := newXMLScanner("updateinfo", r)
	t, err := s.next()
	if err != nil {
		return err
	}
	if t != tokStart || string(s.local) != "updates" {
		return s.fail(fmt.Sprintf("the root element is <%.40s>, not <updates>", s.local))
	}
	count := 0
	err = s.children(func(name string) error {
		if name != "update" {
			return s.skip()
		}
		if count++; count > maxAdvisories {
			return s.limitAt(s.r, "too many updates")
		}
		a, err := s.advisory()
		if err != nil {
			return err
		}
		return fn(a)
	})
	if err != nil {
		return err
	}
	t, err = s.next() // nothing may follow the root
	if err != nil {
		return err
	}
	if t != tokEOF {
		return s.fail("something follows the last update")
	}
	return nil
}

// children calls fn for every child element of the element just begun; fn
// consumes it.
func (s *xmlScanner) children(fn func(name string) error) error {
	if s.empty {
		return nil
	}
	for {
		t, err := s.next()
		if err != nil {
			return err
		}
		if t == tokEnd {
			return nil
		}
		if err := fn(string(s.local)); err != nil {
			return err
		}
	}
}

func (s *xmlScanner) attrString(name string) string {
	v, _ := s.attr(name)
	return string(v)
}

func (s *xmlScanner) advisory() (*Advisory, error) {
	a := &Advisory{Type: AdvisoryType(s.attrString("type"))}
	text := func(to *string) error {
		b, err := s.content()
		*to = strings.TrimSpace(string(b))
		return err
	}
	seen := map[string]bool{}
	err := s.children(func(name string) error {
		switch name {
		case "id":
			return text(&a.ID)
		case "title":
			return text(&a.Title)
		case "severity":
			return text(&a.Severity)
		case "issued":
			a.Issued = advisoryTime(s.attrString("date"))
			return s.skip()
		case "references":
			n := 0
			return s.children(func(string) error {
				if n++; n > maxAdvisoryReference {
					return s.limitAt(s.r, "too many references of an update")
				}
				if id := s.attrString("id"); s.attrString("type") == "cve" && id != "" && !seen[id] {
					seen[id] = true
					a.CVEs = append(a.CVEs, id)
				}
				return s.skip()
			})
		case "pkglist":
			return s.children(func(name string) error {
				if name != "collection" {
					return s.skip()
				}
				return s.collection(a)
			})
		}
		return s.skip()
	})
	if err == nil && a.ID == "" {
		err = s.fail("an update has no id")
	}
	return a, err
}

func (s *xmlScanner) collection(a *Advisory) error {
	from := len(a.Packages)
	var module, stream string
	err := s.children(func(name string) error {
		switch name {
		case "module":
			module, stream = s.attrString("name"), s.attrString("stream")
		case "package":
			return s.advisoryPackage(a)
		}
		return s.skip()
	})
	for i := range a.Packages[from:] {
		a.Packages[from+i].Module, a.Packages[from+i].Stream = module, stream
	}
	return err
}

func (s *xmlScanner) advisoryPackage(a *Advisory) error {
	if len(a.Packages) >= maxAdvisoryPackages {
		return s.limitAt(s.r, "too many packages of an update")
	}
	p := AdvisoryPackage{Name: s.attrString("name"), Arch: s.attrString("arch")}
	p.EVR.Version, p.EVR.Release = s.attrString("version"), s.attrString("release")
	if e := s.attrString("epoch"); e != "" && e != "None" {
		n, err := strconv.ParseUint(e, 10, 32)
		if err != nil {
			return s.fail(fmt.Sprintf("bad epoch %.40q of package %.200q in update %.100q", e, p.Name, a.ID))
		}
		p.EVR.Epoch = uint32(n)
	}
	if p.Name == "" || p.EVR.Version == "" {
		return s.fail(fmt.Sprintf("update %.100q lists a package without name or version", a.ID))
	}
	err := s.children(func(name string) error {
		if name == "reboot_suggested" {
			b, err := s.content()
			// createrepo_c writes "True" or "1" and leaves the element out otherwise
			if v := strings.ToLower(strings.TrimSpace(string(b))); v != "0" && v != "false" {
				a.Reboot = true
			}
			return err
		}
		return s.skip()
	})
	if p.Arch != "src" && p.Arch != "nosrc" {
		a.Packages = append(a.Packages, p)
	}
	return err
}

// advisoryTime reads the forms that are in use: seconds since 1970, or a date
// with or without a time of day.
func advisoryTime(s string) time.Time {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 && n < 1<<40 {
		return time.Unix(n, 0).UTC()
	}
	for _, layout := range []string{"2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05 MST", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
