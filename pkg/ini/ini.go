// Package ini reads INI files as dnf and yum read theirs: *.repo files, dnf.conf, yum.conf, and this program's own
// configuration, which is written in the same form.
//
// The format is the common ground of Python's configparser and of libdnf's own reader (see "Options" in dnf.conf(5)):
//
//	# a comment; so is a line starting with ';'
//	[section]
//	key = value
//	key: value
//	list = first
//	       second
//
// A comment begins in the first column, never behind a value: URLs and passwords contain '#' and ';'. A line that begins
// with a blank or a tab continues the value above it. A section that is named twice is one section, and of a key given
// twice in it the last one counts; both are reported in [File.Duplicates].
package ini

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxSize is the largest file read, in bytes. The biggest .repo files in use (redhat.repo of a subscribed host) stay well
// under one megabyte.
const MaxSize = 8 << 20

// File is a parsed file.
type File struct {
	Name       string      // as given to Parse
	Sections   []Section   // in the order of their first appearance
	Duplicates []Duplicate // what was given more than once, in the order found
}

// Section is one section with its keys in the order of their first appearance; no key appears twice.
type Section struct {
	Name string
	Line int // line of the first header, from 1
	Keys []Key
}

// Key is one setting. The lines of a continued value are joined by '\n', each without surrounding white space.
type Key struct {
	Name  string // as written
	Value string
	Line  int // line of the key that counted, from 1
}

// Duplicate tells of a section, or of a key in a section, that was given again.
type Duplicate struct {
	Section  string
	Key      string // empty: the section header itself was repeated
	Line     int    // of the repetition, which is the one that counts
	Previous int    // line of the one before
}

// String says it in words, without the file's name.
func (d Duplicate) String() string {
	if d.Key == "" {
		return fmt.Sprintf("line %d: section [%s] was begun in line %d already", d.Line, d.Section, d.Previous)
	}
	return fmt.Sprintf("line %d: %q in section [%s] replaces the one of line %d", d.Line, d.Key, d.Section, d.Previous)
}

// SyntaxError is what Parse returns for a file that it could read but not understand.
type SyntaxError struct {
	File string
	Line int // from 1; 0 where the file as a whole is meant
	Msg  string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Parse reads a whole file; name is used in messages only. The error is a *SyntaxError, or that of the reader with the
// file's name in front. There is no partial result: dnf skips such a file as a whole, too.
func Parse(name string, r io.Reader) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	if len(data) > MaxSize {
		return nil, &SyntaxError{File: name, Msg: fmt.Sprintf("larger than %d bytes", MaxSize)}
	}
	p := parser{file: &File{Name: name}, byName: map[string]*section{}}
	// Editors on Windows put a byte order mark in front; it is no part of the first section's name.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte{'\n'})
		data = rest
		p.line++
		if err := p.add(strings.TrimSuffix(string(line), "\r")); err != nil {
			return nil, err
		}
	}
	p.endKey()
	for _, s := range p.order {
		p.file.Sections = append(p.file.Sections, s.Section)
	}
	return p.file, nil
}

// section is a Section under construction; index finds a key by its folded name.
type section struct {
	Section
	index map[string]int
	last  int // line of the latest header
}

type parser struct {
	file   *File
	order  []*section
	byName map[string]*section
	cur    *section
	line   int

	key   Key // the key being read, valid where open
	value []string
	open  bool
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{File: p.file.Name, Line: p.line, Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) add(line string) error {
	if strings.IndexByte(line, 0) >= 0 {
		return p.errorf("contains a NUL byte: this is not a text file")
	}
	text := strings.TrimSpace(line)
	switch {
	case text == "" || line[0] == '#' || line[0] == ';':
		// Neither ends a continued value: a mirror in the middle of a list may be commented out.
		return nil
	case line[0] == ' ' || line[0] == '\t':
		if !p.open {
			return p.errorf("continues a value, but there is none above it: %s", quote(text))
		}
		p.value = append(p.value, text)
		return nil
	case line[0] == '[':
		return p.header(line)
	}
	p.endKey()
	if p.cur == nil {
		return p.errorf("setting outside of any [section]: %s", quote(text))
	}
	at := strings.IndexAny(line, "=:")
	if at < 0 {
		return p.errorf("neither a [section] nor a \"key = value\": %s", quote(text))
	}
	name := strings.TrimSpace(line[:at])
	if name == "" {
		return p.errorf("no key in front of the %q", line[at:at+1])
	}
	p.key = Key{Name: name, Line: p.line}
	p.value = append(p.value[:0], strings.TrimSpace(line[at+1:]))
	p.open = true
	return nil
}

func (p *parser) header(line string) error {
	p.endKey()
	end := strings.IndexByte(line, ']')
	if end < 0 {
		return p.errorf("section header without \"]\": %s", quote(line))
	}
	name := strings.TrimSpace(line[1:end])
	if name == "" {
		return p.errorf("section without a name")
	}
	if after := strings.TrimSpace(line[end+1:]); after != "" && after[0] != '#' && after[0] != ';' {
		return p.errorf("text behind the section header [%s]: %s", name, quote(after))
	}
	if s, ok := p.byName[name]; ok {
		p.file.Duplicates = append(p.file.Duplicates, Duplicate{Section: name, Line: p.line, Previous: s.last})
		s.last = p.line
		p.cur = s
		return nil
	}
	s := &section{Section: Section{Name: name, Line: p.line}, index: map[string]int{}, last: p.line}
	p.byName[name] = s
	p.order = append(p.order, s)
	p.cur = s
	return nil
}

func (p *parser) endKey() {
	if !p.open {
		return
	}
	p.open = false
	// "baseurl =" with the URLs below it leaves an empty first line, which is no item of the list.
	p.key.Value = strings.TrimPrefix(strings.Join(p.value, "\n"), "\n")
	fold := strings.ToLower(p.key.Name)
	if i, ok := p.cur.index[fold]; ok {
		old := &p.cur.Keys[i]
		p.file.Duplicates = append(p.file.Duplicates, Duplicate{
			Section: p.cur.Name, Key: p.key.Name, Line: p.key.Line, Previous: old.Line})
		*old = p.key
		return
	}
	p.cur.index[fold] = len(p.cur.Keys)
	p.cur.Keys = append(p.cur.Keys, p.key)
}

// quote shortens and quotes what a message repeats of the file. What stands behind a "=" or ":" is left out: it may be
// a password.
func quote(s string) string {
	const limit = 40
	if i := strings.IndexAny(s, "=:"); i >= 0 {
		s = s[:i+1] + "..."
	}
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// Section returns the section of that name; names are compared as written.
func (f *File) Section(name string) (*Section, bool) {
	for i := range f.Sections {
		if f.Sections[i].Name == name {
			return &f.Sections[i], true
		}
	}
	return nil, false
}

// Get returns the value of a key. Case does not count, as in configparser.
func (s *Section) Get(key string) (string, bool) {
	if k, ok := s.Key(key); ok {
		return k.Value, true
	}
	return "", false
}

// Key returns a key with its line; case does not count.
func (s *Section) Key(name string) (Key, bool) {
	fold := strings.ToLower(name) // not EqualFold: Parse tells keys apart by ToLower
	for _, k := range s.Keys {
		if strings.ToLower(k.Name) == fold {
			return k, true
		}
	}
	return Key{}, false
}

// List splits a value as dnf splits list options: at white space and commas.
func List(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool {
		return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r'
	})
}

// Bool reads a boolean as dnf.conf(5) spells it: 1, yes, true, on, enabled; 0, no, false, off, disabled, in any case.
func Bool(value string) (b, ok bool) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "1", "yes", "true", "on", "enabled":
		return true, true
	case "0", "no", "false", "off", "disabled":
		return false, true
	}
	return false, false
}
