package inventory

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Limits of Read: far above any real host, low enough that a hostile file
// cannot exhaust memory.
const (
	MaxDocument = 1 << 30 // bytes
	MaxPackages = 200_000
	maxEntries  = 5_000_000 // of dependencies and of files, of one package
)

// ErrDocument is wrapped by errors about a file that is no inventory.
var ErrDocument = errors.New("not an inventory")

// dep is the JSON form of a dependency. Flags is for people, sense for
// programs: rpm's own bits, of which flags shows the comparison.
type dep struct {
	Name  string    `json:"name"`
	Flags string    `json:"flags"` // "", "<", "<=", "=", ">=", ">"
	EVR   string    `json:"evr"`
	Sense uint32    `json:"sense"`
	Parts *evrParts `json:"evr_parts,omitempty"` // only where evr cannot be taken apart again
}

type evrParts struct {
	Epoch   uint32 `json:"epoch"`
	Version string `json:"version"`
	Release string `json:"release"`
}

// plain is Package without its methods.
type plain Package

type packageJSON struct {
	Row       uint32   `json:"row"`
	Name      string   `json:"name"`
	Epoch     uint32   `json:"epoch"`
	Version   string   `json:"version"`
	Release   string   `json:"release"`
	*plain             // its row and name are hidden by those above
	Requires  []dep    `json:"requires,omitempty"`
	Provides  []dep    `json:"provides,omitempty"`
	Conflicts []dep    `json:"conflicts,omitempty"`
	Obsoletes []dep    `json:"obsoletes,omitempty"`
	Files     []string `json:"files,omitempty"`
}

func toDeps(kind string, in []dep) ([]rpmver.Dep, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > maxEntries {
		return nil, fmt.Errorf("%s: too many entries: %w", kind, ErrDocument)
	}
	out := make([]rpmver.Dep, len(in))
	for i, d := range in {
		s := rpmver.Sense(d.Sense)
		if s.String() != d.Flags {
			return nil, fmt.Errorf("%s %q: flags %q and sense %d disagree: %w", kind, d.Name, d.Flags, d.Sense, ErrDocument)
		}
		out[i] = rpmver.Dep{Name: d.Name, Flags: s}
		switch {
		case d.Parts != nil:
			out[i].EVR = rpmver.EVR{Epoch: d.Parts.Epoch, Version: d.Parts.Version, Release: d.Parts.Release}
		case d.EVR != "":
			out[i].EVR = parseEVRText(d.EVR)
		}
	}
	return out, nil
}

// parseEVRText undoes rpmver.EVR.String. It is as lenient as rpm: an epoch that
// is no number belongs to the version.
func parseEVRText(s string) rpmver.EVR {
	if evr, err := rpmver.ParseEVR(s); err == nil {
		return evr
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		return rpmver.EVR{Version: s[:i], Release: s[i+1:]}
	}
	return rpmver.EVR{Version: s}
}

// MarshalJSON writes the package with everything that the struct's tags leave
// out: version, dependencies, files.
func (p Package) MarshalJSON() ([]byte, error) { return p.appendJSON(nil) }

// encode is json.Marshal without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Package) UnmarshalJSON(data []byte) error {
	var fresh plain
	pj := packageJSON{plain: &fresh}
	if err := json.Unmarshal(data, &pj); err != nil {
		return err
	}
	return p.take(&pj)
}

// take fills the package from its JSON form.
func (p *Package) take(pj *packageJSON) error {
	*p = Package(*pj.plain)
	p.Row, p.Name = pj.Row, pj.Name
	p.EVR = rpmver.EVR{Epoch: pj.Epoch, Version: pj.Version, Release: pj.Release}
	if p.Name == "" || p.EVR.Version == "" {
		return fmt.Errorf("a package without name or version (row %d): %w", p.Row, ErrDocument)
	}
	var err error
	for _, k := range []struct {
		kind string
		in   []dep
		out  *[]rpmver.Dep
	}{
		{"requires", pj.Requires, &p.Requires}, {"provides", pj.Provides, &p.Provides},
		{"conflicts", pj.Conflicts, &p.Conflicts}, {"obsoletes", pj.Obsoletes, &p.Obsoletes},
	} {
		if *k.out, err = toDeps(k.kind, k.in); err != nil {
			return fmt.Errorf("package %s: %w", p.NEVRA(), err)
		}
	}
	if len(pj.Files) > maxEntries {
		return fmt.Errorf("package %s: too many files: %w", p.NEVRA(), ErrDocument)
	}
	p.Files = packPaths(pj.Files)
	return nil
}

// packPaths is the inverse of Files.All.
func packPaths(paths []string) Files {
	var f Files
	if len(paths) == 0 {
		return f
	}
	f.DirIndex, f.Base = make([]uint32, len(paths)), make([]string, len(paths))
	at := map[string]uint32{}
	for i, p := range paths {
		cut := strings.LastIndexByte(p, '/') + 1
		d := p[:cut]
		n, ok := at[d]
		if !ok {
			n = uint32(len(f.Dirs))
			at[d] = n
			f.Dirs = append(f.Dirs, d)
		}
		f.DirIndex[i], f.Base[i] = n, p[cut:]
	}
	return f
}

// WriteJSON writes the document, one package a line. The same inventory gives
// the same bytes. It does not hold the document in memory.
func (inv *Inventory) WriteJSON(w io.Writer) error {
	b := bufio.NewWriterSize(w, 64<<10)
	first := true
	field := func(name string, v any) error {
		data, err := encode(v)
		if err != nil {
			return fmt.Errorf("cannot encode %s of the inventory: %w", name, err)
		}
		sep := ",\n"
		if first {
			sep, first = "{\n", false
		}
		fmt.Fprintf(b, "%s%q: %s", sep, name, data)
		return nil
	}
	for _, f := range []struct {
		name string
		v    any
	}{
		{"kind", inv.Kind}, {"schema_version", inv.SchemaVersion}, {"tool", inv.Tool}, {"taken", inv.Taken},
		{"host", inv.Host}, {"database", inv.Database},
	} {
		if err := field(f.name, f.v); err != nil {
			return err
		}
	}
	b.WriteString(",\n\"packages\": [")
	var data []byte
	for i := range inv.Packages {
		var err error
		if data, err = inv.Packages[i].appendJSON(data[:0]); err != nil {
			return fmt.Errorf("cannot encode package %s: %w", inv.Packages[i].NEVRA(), err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		if _, err := b.Write(data); err != nil {
			return fmt.Errorf("cannot write inventory: %w", err)
		}
	}
	b.WriteString("\n]")
	for _, f := range []struct {
		name string
		v    any
	}{{"keys", inv.Keys}, {"repos", inv.Repos}, {"dnf", inv.DNF}, {"environment", inv.Environment}, {"kernel", inv.Kernel}, {"applications", inv.Applications}, {"skipped", inv.Skipped}} {
		if f.name == "environment" && inv.Environment == nil || f.name == "kernel" && inv.Kernel == nil || f.name == "applications" && inv.Applications == nil {
			continue
		}
		if err := field(f.name, f.v); err != nil {
			return err
		}
	}
	b.WriteString("\n}\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("cannot write inventory: %w", err)
	}
	return nil
}

// Read reads an inventory that WriteJSON wrote, here or on another machine, by
// this version or by one that only added to it. Errors about the content wrap
// ErrDocument.
func Read(r io.Reader) (*Inventory, error) {
	limited := &io.LimitedReader{R: r, N: MaxDocument + 1}
	d := json.NewDecoder(bufio.NewReaderSize(limited, 64<<10))
	inv, err := read(d)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = fmt.Errorf("something follows the document: %w", ErrDocument)
		}
	}
	if limited.N == 0 {
		err = fmt.Errorf("larger than %d bytes: %w", MaxDocument, ErrDocument)
	}
	if err != nil {
		var syntax *json.SyntaxError
		var typ *json.UnmarshalTypeError
		if errors.As(err, &syntax) || errors.As(err, &typ) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = fmt.Errorf("at byte %d: %w: %w", d.InputOffset(), err, ErrDocument)
		}
		return nil, fmt.Errorf("cannot read inventory: %w", err)
	}
	return inv, nil
}

func read(d *json.Decoder) (*Inventory, error) {
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("it is no JSON object: %w", ErrDocument)
	}
	inv := &Inventory{Packages: []Package{}, Keys: []Key{}, Repos: []Repo{}, Skipped: []Skipped{}}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if seen[name] {
			return nil, fmt.Errorf("%q is there twice: %w", name, ErrDocument)
		}
		seen[name] = true
		if name == "packages" {
			if err := readPackages(d, inv); err != nil {
				return nil, err
			}
			continue
		}
		var dst any
		switch name {
		case "kind":
			dst = &inv.Kind
		case "schema_version":
			dst = &inv.SchemaVersion
		case "tool":
			dst = &inv.Tool
		case "taken":
			dst = &inv.Taken
		case "host":
			dst = &inv.Host
		case "database":
			dst = &inv.Database
		case "keys":
			dst = &inv.Keys
		case "repos":
			dst = &inv.Repos
		case "dnf":
			dst = &inv.DNF
		case "kernel":
			dst = &inv.Kernel
		case "environment":
			dst = &inv.Environment
		case "applications":
			dst = &inv.Applications
		case "skipped":
			dst = &inv.Skipped
		default:
			dst = &json.RawMessage{} // of a later minor version
		}
		if err := d.Decode(dst); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := inv.checkVersion(name); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for _, name := range []string{"kind", "schema_version", "taken", "host", "database", "packages"} {
		if !seen[name] {
			return nil, fmt.Errorf("%q is missing: %w", name, ErrDocument)
		}
	}
	if inv.Host.OSRelease == nil {
		inv.Host.OSRelease = map[string]string{}
	}
	return inv, inv.Applications.check()
}

// checkVersion looks at kind and version as soon as they are known: an
// inventory of another major version may differ in everything that follows.
func (inv *Inventory) checkVersion(name string) error {
	switch name {
	case "kind":
		if inv.Kind != Kind {
			return fmt.Errorf("its kind is %q, not %q: %w", inv.Kind, Kind, ErrDocument)
		}
	case "schema_version":
		got, _, _ := strings.Cut(inv.SchemaVersion, ".")
		want, _, _ := strings.Cut(SchemaVersion, ".")
		if got != want {
			return fmt.Errorf("it has schema version %q, this program reads %s.x: %w", inv.SchemaVersion, want, ErrDocument)
		}
	}
	return nil
}

func readPackages(d *json.Decoder, inv *Inventory) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("packages is no list: %w", ErrDocument)
	}
	words := map[string]string{}
	var paths []string // memory that goes round
	for d.More() {
		if len(inv.Packages) == MaxPackages {
			return fmt.Errorf("more than %d packages: %w", MaxPackages, ErrDocument)
		}
		// Not into a Package: UnmarshalJSON would have every byte scanned twice more.
		pj := packageJSON{plain: &plain{}, Files: paths[:0]}
		err := d.Decode(&pj)
		var p Package
		if err == nil {
			err = p.take(&pj)
		}
		if err != nil {
			return fmt.Errorf("package %d: %w", len(inv.Packages)+1, err)
		}
		paths = pj.Files
		p.share(words)
		inv.Packages = append(inv.Packages, p)
	}
	_, err = d.Token()
	return err
}

// share keeps one copy of strings that many packages have.
func (p *Package) share(words map[string]string) {
	one := func(s *string) {
		if k, ok := words[*s]; ok {
			*s = k
			return
		}
		words[*s] = *s
	}
	for _, s := range []*string{&p.Arch, &p.Vendor, &p.BuildHost, &p.SourceRPM, &p.ModuleLabel, &p.EVR.Version, &p.EVR.Release,
		&p.Signature.Status, &p.Signature.KeyID, &p.Signature.Fingerprint, &p.Signature.Owner, &p.Signature.UserID} {
		one(s)
	}
	for _, l := range [][]rpmver.Dep{p.Requires, p.Provides, p.Conflicts, p.Obsoletes} {
		for i := range l {
			one(&l[i].Name)
			one(&l[i].EVR.Version)
			one(&l[i].EVR.Release)
		}
	}
	for i := range p.Files.Dirs {
		one(&p.Files.Dirs[i])
	}
}
