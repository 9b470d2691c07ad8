package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/jsonscan"
)

// Fact is something that a report says and that is counted over hosts.
type Fact struct {
	Facet string // what it is about, see facets
	Class string // e.g. a verdict, or the id of a finding
	Name  string
}

// The facets that the findings are made of.
const (
	facetFinding  = "finding"  // class: severity, name: id
	facetTitle    = "title"    // class: id
	facetResource = "resource" // class: id
	facetCommand  = "command"  // class: id
)

// facets are those shown as tables of their own, in this order.
var facets = []struct{ id, title string }{
	{"packages", "Packages that are not simply updated"},
	{"incoming", "Packages that come along"},
	{"modules", "Kernel modules that need a look"},
	{facetClosed, "Security advisories that the move closes"},
	{facetOpen, "Security advisories that stay open"},
	{"repos", "AlmaLinux repositories that are off and would be needed"},
	{"tool", "Versions of almamigrate that reported"},
}

// sections are the readers of a report's members that facts are made of. Each
// is called with the value to read next; what it leaves is passed over.
var sections = map[string]func(*extractor) error{
	"findings": (*extractor).findings,
	"packages": (*extractor).packages,
	"incoming": (*extractor).incoming,
	"modules":  (*extractor).modules,
	"security": (*extractor).security,
}

// table numbers the facts of all reports.
type table struct {
	mu    sync.RWMutex
	ids   map[Fact]uint32
	facts []Fact

	shared map[uint64][][]uint32 // lists of facts that many hosts have alike
}

var errDistinct = errors.New("the reports name too many different things")

func (t *table) id(f Fact) (uint32, error) {
	t.mu.RLock()
	id, ok := t.ids[f]
	t.mu.RUnlock()
	if ok {
		return id, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok = t.ids[f]; ok {
		return id, nil
	}
	if len(t.facts) >= maxDistinct {
		return 0, errDistinct
	}
	f = Fact{strings.Clone(f.Facet), strings.Clone(f.Class), strings.Clone(f.Name)}
	id = uint32(len(t.facts))
	t.ids[f] = id
	t.facts = append(t.facts, f)
	return id, nil
}

// extractor takes the facts of one document at a time.
type extractor struct {
	s     *jsonscan.Scanner
	table *table
	cache map[string]uint32 // facts seen by this extractor, by their joined text
	key   []byte
	kind  string
	host  *Host
	facts []uint32

	advisories []uint32 // facts of the security section, kept apart
}

func newExtractor(t *table) *extractor {
	return &extractor{s: jsonscan.New(nil), table: t, cache: map[string]uint32{}}
}

func (x *extractor) add(facet, class string, name []byte) error {
	if len(name) > maxName {
		name = append(name[:maxName:maxName], "..."...)
	}
	x.key = append(x.key[:0], facet...)
	x.key = append(append(x.key, 0), class...)
	x.key = append(append(x.key, 0), name...)
	id, ok := x.cache[string(x.key)]
	if !ok {
		var err error
		if id, err = x.table.id(Fact{facet, class, string(name)}); err != nil {
			return err
		}
		if len(x.cache) > 1<<17 {
			clear(x.cache)
		}
		x.cache[string(x.key)] = id
	}
	if x.facts = append(x.facts, id); len(x.facts) > maxFacts {
		// perhaps one thing many times
		slices.Sort(x.facts)
		if x.facts = slices.Compact(x.facts); len(x.facts) > maxFacts/2 {
			return fmt.Errorf("it names more than %d things", maxFacts/2)
		}
	}
	return nil
}

// text reads a string into a place; null is empty.
func (x *extractor) text(to *string) error {
	if x.s.Null() {
		*to = ""
		return nil
	}
	b, err := x.s.String()
	if len(b) > 4*maxName {
		b = b[:4*maxName]
	}
	*to = string(b)
	return err
}

// bytes reads a string into a buffer that is used again.
func (x *extractor) bytes(to *[]byte) error {
	b, err := x.s.String()
	*to = append((*to)[:0], b...)
	return err
}

func (x *extractor) number(to *int) error {
	n, err := x.s.Int()
	*to = int(n)
	return err
}

func (x *extractor) time(to *time.Time) error {
	b, err := x.s.String()
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return fmt.Errorf("%.40q is not a time", b)
	}
	*to = t.UTC().Truncate(time.Second)
	return nil
}

// document reads the document that data begins with, and returns its length.
func (x *extractor) document(data []byte) (h *Host, length int, err error) {
	x.s.Reset(data)
	x.facts, x.advisories, x.kind = x.facts[:0], x.advisories[:0], ""
	x.host = &Host{Blockers: []string{}, Warnings: []string{}}
	var schema, message string
	err = x.s.Object(func(key []byte) error {
		switch k := string(key); k {
		case "kind":
			return x.text(&x.kind)
		case "schema_version":
			return x.text(&schema)
		case "message": // of a document of failure
			return x.text(&message)
		default:
			if x.kind != "" && x.kind != report.ReportKind && x.kind != report.CheckKind {
				return nil // of no interest, and perhaps of other types
			}
			return x.member(k)
		}
	})
	length = x.s.Pos()
	other := x.kind != report.ReportKind && x.kind != report.CheckKind
	switch {
	case err != nil && (!other || x.kind == "" || !errors.Is(err, jsonscan.ErrType)):
		return nil, length, err
	case x.kind == "":
		return nil, length, errors.New("it does not say what it is: not a report or check")
	case x.kind == report.ErrorKind:
		return nil, length, fmt.Errorf("the check failed: %.200s", message)
	case other:
		return nil, length, fmt.Errorf("it is %.60q, not a report or check", x.kind)
	}
	if major, _, ok := strings.Cut(schema, "."); !ok || major != "1" {
		if major > "1" {
			return nil, length, fmt.Errorf("its schema version is %.20q: is there a newer almamigrate?", schema)
		}
		return nil, length, fmt.Errorf("its schema version is %.20q, not 1.x", schema)
	}
	if x.host.Finished.IsZero() {
		return nil, length, errors.New("it does not say when it was made")
	}
	return x.finish(), length, nil
}

// finish brings what was read in order.
func (x *extractor) finish() *Host {
	h := x.host
	if h.tool != "" {
		_ = x.add("tool", "", []byte(h.tool)) // a report is not refused for this
	}
	slices.Sort(x.facts)
	x.facts = slices.Compact(x.facts)
	h.facts = slices.Clone(x.facts)
	h.advisories = x.table.share(x.advisories)
	slices.Sort(h.Blockers)
	slices.Sort(h.Warnings)
	h.Blockers, h.Warnings = slices.Compact(h.Blockers), slices.Compact(h.Warnings)
	switch h.Verdict {
	case assess.Ready, assess.ReadyWithWarnings:
		if len(h.Blockers) > 0 { // a report that contradicts itself is taken for the worse
			h.Verdict = assess.Blocked
		}
	case assess.Blocked:
	default:
		h.Verdict = assess.Unknown
	}
	if h.Failure != "" {
		h.Verdict = assess.Unknown
	}
	return h
}

func (x *extractor) member(key string) error {
	h := x.host
	switch key {
	case "run_id":
		return x.text(&h.runID)
	case "finished":
		return x.time(&h.Finished)
	case "verdict":
		return x.text((*string)(&h.Verdict))
	case "tool":
		return x.s.Object(func(k []byte) error {
			if string(k) == "version" {
				return x.text(&h.tool)
			}
			return nil
		})
	case "failure":
		if x.s.Null() {
			return nil
		}
		h.Failure = "no reason given"
		return x.s.Object(func(k []byte) error {
			if string(k) == "message" {
				return x.text(&h.Failure)
			}
			return nil
		})
	case "host":
		return x.s.Object(func(k []byte) error {
			switch string(k) {
			case "name":
				return x.text(&h.Name)
			case "distro":
				return x.text(&h.Distro)
			case "version":
				return x.text(&h.Version)
			case "major":
				return x.number(&h.Major)
			case "arch":
				return x.text(&h.Arch)
			case "state":
				return x.text(&h.State)
			case "kernel":
				return x.text(&h.Kernel)
			}
			return nil
		})
	case "summary":
		return x.s.Object(func(k []byte) error {
			switch string(k) {
			case "total":
				return x.number(&h.Packages)
			case "target":
				return x.text(&h.Target)
			}
			return nil
		})
	}
	if read := sections[key]; read != nil && !x.s.Null() {
		return read(x)
	}
	return nil
}

func (x *extractor) findings() error {
	var names [][]byte
	var name, kind, title, command []byte
	return x.s.Array(func() error {
		id, severity := "", ""
		n := 0
		title, command = title[:0], command[:0]
		err := x.s.Object(func(k []byte) error {
			switch string(k) {
			case "id":
				return x.text(&id)
			case "severity":
				return x.text(&severity)
			case "title":
				return x.bytes(&title)
			case "remedy":
				return x.s.Object(func(k []byte) error {
					if string(k) == "command" {
						return x.bytes(&command)
					}
					return nil
				})
			case "resources":
				return x.s.Array(func() error {
					name, kind = name[:0], kind[:0]
					if err := x.s.Object(func(k []byte) error {
						switch string(k) {
						case "name":
							return x.bytes(&name)
						case "kind":
							return x.bytes(&kind)
						}
						return nil
					}); err != nil {
						return err
					}
					if n == maxFacts {
						return nil
					}
					if string(kind) == "package" {
						name = packageName(name)
					}
					if n == len(names) {
						names = append(names, nil)
					}
					names[n] = append(names[n][:0], name...)
					n++
					return nil
				})
			}
			return nil
		})
		if err != nil {
			return err
		}
		switch assess.Severity(severity) {
		case assess.Blocker:
			x.host.Blockers = append(x.host.Blockers, id)
		case assess.Warning:
			x.host.Warnings = append(x.host.Warnings, id)
		default:
			return nil
		}
		if len(x.host.Blockers)+len(x.host.Warnings) > maxFacts {
			return fmt.Errorf("it has more than %d findings", maxFacts)
		}
		if len(id) > maxName {
			return errors.New("the id of a finding is too long")
		}
		if err := x.add(facetFinding, severity, []byte(id)); err != nil {
			return err
		}
		for _, n := range names[:n] {
			if err := x.add(facetResource, id, n); err != nil {
				return err
			}
		}
		if len(command) > 0 && len(command) <= maxName {
			if err := x.add(facetCommand, id, command); err != nil {
				return err
			}
		}
		return x.add(facetTitle, id, title)
	})
}

// packageName takes version, release and architecture off a NEVRA.
func packageName(nevra []byte) []byte {
	name := nevra
	for range 2 {
		i := bytes.LastIndexByte(name, '-')
		if i <= 0 {
			return nevra
		}
		name = name[:i]
	}
	return name
}

// packageClasses are the verdicts on packages that are worth a row.
var packageClasses = map[string]bool{
	string(assess.Missing): true, string(assess.Older): true, string(assess.Replaced): true, string(assess.ThirdParty): true, string(assess.Local): true,
}

func (x *extractor) packages() error {
	var name, verdict, repo []byte
	return x.s.Array(func() error {
		name, verdict, repo = name[:0], verdict[:0], repo[:0]
		enabled := true
		if err := x.s.Object(func(k []byte) error {
			switch string(k) {
			case "name":
				return x.bytes(&name)
			case "verdict":
				return x.bytes(&verdict)
			case "target":
				if x.s.Null() {
					return nil
				}
				return x.s.Object(func(k []byte) (err error) {
					switch string(k) {
					case "repo":
						return x.bytes(&repo)
					case "repo_enabled":
						enabled, err = x.s.Bool()
					}
					return err
				})
			}
			return nil
		}); err != nil {
			return err
		}
		if !enabled && len(repo) > 0 {
			if err := x.add("repos", "", repo); err != nil {
				return err
			}
		}
		if packageClasses[string(verdict)] {
			return x.add("packages", string(verdict), name)
		}
		return nil
	})
}

func (x *extractor) incoming() error {
	var name, repo []byte
	return x.s.Array(func() error {
		name, repo = name[:0], repo[:0]
		if err := x.s.Object(func(k []byte) error {
			switch string(k) {
			case "nevra":
				return x.bytes(&name)
			case "repo":
				return x.bytes(&repo)
			}
			return nil
		}); err != nil {
			return err
		}
		return x.add("incoming", clip(repo), packageName(name))
	})
}

func (x *extractor) modules() error {
	var name, verdict []byte
	return x.s.Array(func() error {
		name, verdict = name[:0], verdict[:0]
		if err := x.s.Object(func(k []byte) error {
			switch string(k) {
			case "name":
				return x.bytes(&name)
			case "verdict":
				return x.bytes(&verdict)
			}
			return nil
		}); err != nil {
			return err
		}
		switch assess.ModuleVerdict(verdict) {
		case assess.ModuleInTree, assess.ModuleBuiltIn:
			return nil
		}
		return x.add("modules", clip(verdict), name)
	})
}

// clip bounds what becomes a class.
func clip(b []byte) string {
	if len(b) > maxName {
		b = b[:maxName]
	}
	return string(b)
}
