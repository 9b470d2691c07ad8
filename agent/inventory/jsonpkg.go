package inventory

import (
	"strconv"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The lists of a package are nine tenths of the document: dependencies and
// files of a host are some 250,000 entries. They are written without
// reflection, the rest by encoding/json; the bytes are the same.

// appendString writes s as encoding/json does without HTML escapes.
func appendString(b []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			data, err := encode(s)
			return append(b, data...), err
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), nil
}

// appendList writes a member with a list, or nothing if it is empty.
func appendList[T any](b []byte, name string, list []T, one func([]byte, *T) ([]byte, error)) ([]byte, error) {
	if len(list) == 0 {
		return b, nil
	}
	b = append(append(append(b, `,"`...), name...), `":[`...)
	for i := range list {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = one(b, &list[i]); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendDep(b []byte, d *rpmver.Dep) (_ []byte, err error) {
	b = append(b, `{"name":`...)
	if b, err = appendString(b, d.Name); err != nil {
		return b, err
	}
	b = append(append(append(b, `,"flags":"`...), d.Flags.String()...), `","evr":`...)
	evr := ""
	if !d.EVR.IsZero() {
		evr = d.EVR.String()
	}
	if b, err = appendString(b, evr); err != nil {
		return b, err
	}
	b = strconv.AppendUint(append(b, `,"sense":`...), uint64(d.Flags), 10)
	if evr != "" && parseEVRText(evr) != d.EVR {
		parts, err := encode(evrParts{d.EVR.Epoch, d.EVR.Version, d.EVR.Release})
		if err != nil {
			return b, err
		}
		b = append(append(b, `,"evr_parts":`...), parts...)
	}
	return append(b, '}'), nil
}

// appendJSON writes the package as one object.
func (p *Package) appendJSON(b []byte) ([]byte, error) {
	head, err := encode(packageJSON{
		Row: p.Row, Name: p.Name, Epoch: p.EVR.Epoch, Version: p.EVR.Version, Release: p.EVR.Release, plain: (*plain)(p),
	})
	if err != nil {
		return b, err
	}
	b = append(b, head[:len(head)-1]...)
	for _, l := range []struct {
		name string
		deps []rpmver.Dep
	}{{"requires", p.Requires}, {"provides", p.Provides}, {"conflicts", p.Conflicts}, {"obsoletes", p.Obsoletes}} {
		if b, err = appendList(b, l.name, l.deps, appendDep); err != nil {
			return b, err
		}
	}
	if p.Files.Len() > 0 {
		if b, err = p.Files.appendJSON(append(b, `,"files":[`...)); err != nil {
			return b, err
		}
		b = append(b, ']')
	}
	return append(b, '}'), nil
}

func (f *Files) appendJSON(b []byte) (_ []byte, err error) {
	var path []byte
	for i := range f.Base {
		if i > 0 {
			b = append(b, ',')
		}
		path = append(append(path[:0], f.Dirs[f.DirIndex[i]]...), f.Base[i]...)
		if b, err = appendString(b, string(path)); err != nil {
			return b, err
		}
	}
	return b, nil
}
