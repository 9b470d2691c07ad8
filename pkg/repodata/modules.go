package repodata

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// MaxModules caps modules.yaml; RHEL 8 AppStream, the largest known, has 6 MB.
const MaxModules = 64 << 20

// Stream is one modulemd document: one build of a module's stream.
type Stream struct {
	Name      string
	Stream    string
	Version   uint64
	Context   string
	Arch      string // "" where the document names none
	Static    bool   // static_context: the context was chosen by hand
	Summary   string
	Requires  [][]ModuleDep // alternatives; each is a set of modules needed together
	Profiles  []Profile
	Artifacts []rpmver.NEVRA // source packages among them
}

// NSVCA returns "name:stream:version:context:arch", the stream's full name.
func (s *Stream) NSVCA() string {
	return fmt.Sprintf("%s:%s:%d:%s:%s", s.Name, s.Stream, s.Version, s.Context, s.Arch)
}

// ModuleDep is a module that a stream needs.
type ModuleDep struct {
	Module  string
	Streams []string // any of these; empty: any. "-el8" means any but el8
}

// Profile is a set of packages of a stream to install together.
type Profile struct {
	Name    string
	RPMs    []string // package names
	Default bool     // marked so in the stream's own document (modulemd version 3)
}

// ModuleDefaults is one modulemd-defaults document.
type ModuleDefaults struct {
	Module   string
	Stream   string // the default stream, "" for none
	Modified uint64
	Profiles []StreamProfiles // sorted by stream
}

// StreamProfiles names the default profiles of a stream.
type StreamProfiles struct {
	Stream   string
	Profiles []string
}

// ModuleObsoletes is one modulemd-obsoletes document: an end of life.
type ModuleObsoletes struct {
	Module, Stream, Context string // Context "" means all
	Modified, EOLDate       string // RFC 3339; EOLDate "" means at once
	Message                 string
	ByModule, ByStream      string // what replaces it, "" for nothing
	Reset                   bool   // takes back an earlier document
}

// Modules is the content of modules.yaml.
type Modules struct {
	Streams   []Stream
	Defaults  []ModuleDefaults
	Obsoletes []ModuleObsoletes
	Skipped   []string // documents of unknown kinds, as "kind/version"
}

// Find returns the indexes into Streams of every build of a module's stream;
// with an empty stream, of every stream of the module.
func (m *Modules) Find(name, stream string) []int {
	var out []int
	for i := range m.Streams {
		if s := &m.Streams[i]; s.Name == name && (stream == "" || s.Stream == stream) {
			out = append(out, i)
		}
	}
	return out
}

// DefaultStream returns the stream of a module that is active without anybody
// asking for it, "" for none: that of the document with the highest modified
// value; documents of the same value that disagree mean none.
func (m *Modules) DefaultStream(module string) string {
	best, found := ModuleDefaults{}, false
	for _, d := range m.Defaults {
		switch {
		case d.Module != module:
		case !found || d.Modified > best.Modified || d.Modified == best.Modified && best.Stream == "":
			best, found = d, true
		case d.Modified == best.Modified && d.Stream != "" && d.Stream != best.Stream:
			return ""
		}
	}
	return best.Stream
}

// DefaultProfiles returns the names of the default profiles of a stream.
func (m *Modules) DefaultProfiles(module, stream string) []string {
	var out []string
	for _, d := range m.Defaults {
		if d.Module != module {
			continue
		}
		for _, p := range d.Profiles {
			if p.Stream == stream {
				for _, name := range p.Profiles {
					if !slices.Contains(out, name) {
						out = append(out, name)
					}
				}
			}
		}
	}
	return out
}

type moduleDoc struct {
	Document string    `yaml:"document"`
	Version  yaml.Node `yaml:"version"`
	Data     yaml.Node `yaml:"data"`
}

type streamDoc struct {
	Name         string    `yaml:"name"`
	Stream       string    `yaml:"stream"`
	Version      yaml.Node `yaml:"version"`
	Context      string    `yaml:"context"`
	Arch         string    `yaml:"arch"`
	Static       bool      `yaml:"static_context"`
	Summary      string    `yaml:"summary"`
	Dependencies yaml.Node `yaml:"dependencies"`
	Profiles     map[string]struct {
		RPMs    []string `yaml:"rpms"`
		Default bool     `yaml:"default"`
	} `yaml:"profiles"`
	Artifacts struct {
		RPMs []string `yaml:"rpms"`
	} `yaml:"artifacts"`
}

type defaultsDoc struct {
	Module   string              `yaml:"module"`
	Stream   string              `yaml:"stream"`
	Modified yaml.Node           `yaml:"modified"`
	Profiles map[string][]string `yaml:"profiles"`
}

type obsoletesDoc struct {
	Module      string    `yaml:"module"`
	Stream      string    `yaml:"stream"`
	Context     string    `yaml:"context"`
	Modified    yaml.Node `yaml:"modified"`
	EOLDate     yaml.Node `yaml:"eol_date"`
	Message     string    `yaml:"message"`
	Reset       bool      `yaml:"reset"`
	ObsoletedBy struct {
		Module string `yaml:"module"`
		Stream string `yaml:"stream"`
	} `yaml:"obsoleted_by"`
}

// ParseModules reads modules.yaml (uncompressed): modulemd documents of
// versions 1 to 3, modulemd-defaults and modulemd-obsoletes of version 1. Other
// documents are named in Skipped. Errors wrap ErrMalformed or ErrTooLarge, or
// are r's own.
func ParseModules(r io.Reader) (m *Modules, err error) {
	lim := &limitedReader{r: r, left: MaxModules}
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("cannot parse modules.yaml: %v: %w", p, ErrMalformed)
		}
	}()
	dec := yaml.NewDecoder(lim)
	m = &Modules{}
	for n := 1; ; n++ {
		var doc moduleDoc
		err := dec.Decode(&doc)
		if lim.err != nil && lim.err != io.EOF {
			return nil, fmt.Errorf("cannot read modules.yaml: %w", lim.err)
		}
		if err == io.EOF {
			return m, nil
		}
		if err == nil {
			err = m.add(&doc)
		}
		if err != nil {
			if errors.Is(err, ErrTooLarge) {
				return nil, fmt.Errorf("cannot parse modules.yaml: document %d: %w", n, err)
			}
			return nil, fmt.Errorf("cannot parse modules.yaml: document %d: %w: %w", n, err, ErrMalformed)
		}
	}
}

func (m *Modules) add(doc *moduleDoc) error {
	kind := doc.Document + "/" + doc.Version.Value
	switch kind {
	case "modulemd/1", "modulemd/2", "modulemd/3":
		return m.addStream(doc)
	case "modulemd-defaults/1":
		return m.addDefaults(doc)
	case "modulemd-obsoletes/1":
		return m.addObsoletes(doc)
	}
	m.Skipped = append(m.Skipped, kind)
	return nil
}

func (m *Modules) addStream(doc *moduleDoc) error {
	var d streamDoc
	if err := doc.Data.Decode(&d); err != nil {
		return err
	}
	s := Stream{Name: d.Name, Stream: d.Stream, Context: d.Context, Arch: d.Arch, Static: d.Static, Summary: d.Summary}
	// A document without name or stream describes a build to come; such
	// documents are for packagers and have no artifacts.
	if s.Name == "" || s.Stream == "" {
		return fmt.Errorf("module %.200q has no name or no stream", s.Name)
	}
	var err error
	if s.Version, err = number(&d.Version); err != nil {
		return fmt.Errorf("module %.200q: bad version: %w", s.Name, err)
	}
	if s.Requires, err = requires(&d.Dependencies); err != nil {
		return fmt.Errorf("module %.200q: %w", s.Name, err)
	}
	for name, p := range d.Profiles {
		s.Profiles = append(s.Profiles, Profile{name, p.RPMs, p.Default})
	}
	slices.SortFunc(s.Profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	s.Artifacts = make([]rpmver.NEVRA, len(d.Artifacts.RPMs))
	for i, a := range d.Artifacts.RPMs {
		if s.Artifacts[i], err = rpmver.ParseNEVRA(a); err != nil {
			return fmt.Errorf("module %.200q: artifact: %w", s.Name, err)
		}
	}
	m.Streams = append(m.Streams, s)
	return nil
}

// requires reads dependencies: a list of {requires: {module: [streams]}} in
// version 2, one {requires: {module: stream}} in version 1, one {platform,
// requires: {module: [streams]}} in version 3.
func requires(n *yaml.Node) ([][]ModuleDep, error) {
	type one struct {
		Platform yaml.Node            `yaml:"platform"`
		Requires map[string]yaml.Node `yaml:"requires"`
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	var all []one
	switch n.Kind {
	case yaml.SequenceNode:
		if err := n.Decode(&all); err != nil {
			return nil, err
		}
	case yaml.MappingNode:
		all = make([]one, 1)
		if err := n.Decode(&all[0]); err != nil {
			return nil, err
		}
	}
	var out [][]ModuleDep
	for _, d := range all {
		var set []ModuleDep
		if d.Platform.Value != "" {
			set = append(set, ModuleDep{"platform", []string{d.Platform.Value}})
		}
		for module, node := range d.Requires {
			dep := ModuleDep{Module: module}
			if node.Kind == yaml.ScalarNode {
				if node.Value != "" {
					dep.Streams = []string{node.Value}
				}
			} else if err := node.Decode(&dep.Streams); err != nil {
				return nil, err
			}
			if len(dep.Streams) == 0 {
				dep.Streams = nil
			}
			set = append(set, dep)
		}
		if len(set) == 0 {
			continue
		}
		slices.SortFunc(set, func(a, b ModuleDep) int { return strings.Compare(a.Module, b.Module) })
		out = append(out, set)
	}
	return out, nil
}

func (m *Modules) addDefaults(doc *moduleDoc) error {
	var d defaultsDoc
	if err := doc.Data.Decode(&d); err != nil {
		return err
	}
	if d.Module == "" {
		return errors.New("defaults without a module")
	}
	out := ModuleDefaults{Module: d.Module, Stream: d.Stream}
	var err error
	if out.Modified, err = number(&d.Modified); err != nil {
		return fmt.Errorf("defaults of module %.200q: bad modified: %w", d.Module, err)
	}
	for stream, names := range d.Profiles {
		if len(names) == 0 {
			names = nil
		}
		out.Profiles = append(out.Profiles, StreamProfiles{stream, names})
	}
	slices.SortFunc(out.Profiles, func(a, b StreamProfiles) int { return strings.Compare(a.Stream, b.Stream) })
	m.Defaults = append(m.Defaults, out)
	return nil
}

func (m *Modules) addObsoletes(doc *moduleDoc) error {
	var d obsoletesDoc
	if err := doc.Data.Decode(&d); err != nil {
		return err
	}
	if d.Module == "" || d.Stream == "" {
		return fmt.Errorf("obsoletes of module %.200q without a module or a stream", d.Module)
	}
	m.Obsoletes = append(m.Obsoletes, ModuleObsoletes{
		Module: d.Module, Stream: d.Stream, Context: d.Context,
		Modified: d.Modified.Value, EOLDate: d.EOLDate.Value, Message: d.Message,
		ByModule: d.ObsoletedBy.Module, ByStream: d.ObsoletedBy.Stream, Reset: d.Reset,
	})
	return nil
}

func number(n *yaml.Node) (uint64, error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Value == "" {
		return 0, nil
	}
	return strconv.ParseUint(n.Value, 10, 64)
}

// limitedReader fails once more than left bytes came, and keeps what it failed
// with: yaml loses the error's type.
type limitedReader struct {
	r    io.Reader
	left int64
	err  error
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		err = fmt.Errorf("more than %d bytes: %w", int64(MaxModules), ErrTooLarge)
	}
	if err != nil {
		l.err = err
	}
	return n, err
}
