package rpmdb

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// nonblock keeps the opening of a pipe from waiting for a writer.
const nonblock = unix.O_NONBLOCK

// maxMacroFile is far above the largest real one, rpm's own, of 50 KB.
const maxMacroFile = 1 << 20

// macros are the definitions of rpm's macro files: a name and the text behind
// it, the last definition winning. nil stands for one that takes parameters.
type macros map[string]*string

// readMacros reads the macro files in rpm's order ("Macro path" of rpm
// --showrc), those for building packages left out.
func readMacros(r *os.Root) (macros, error) {
	var texts [][]byte
	relevant := false
	for _, pattern := range []string{
		"/usr/lib/rpm/macros",
		"/usr/lib/rpm/macros.d/macros.*",
		"/usr/lib/rpm/redhat/macros",
		"/etc/rpm/macros.*",
		"/etc/rpm/macros",
	} {
		names := []string{pattern}
		if strings.HasSuffix(pattern, "*") {
			var err error
			if names, err = macroFiles(r, path.Dir(pattern), strings.TrimSuffix(path.Base(pattern), "*")); err != nil {
				return nil, err
			}
		}
		for _, name := range names {
			text, err := readMacroFile(r, name)
			if err != nil {
				return nil, err
			}
			texts = append(texts, text)
			relevant = relevant || bytes.Contains(text, []byte("_dbpath")) || bytes.Contains(text, []byte("_db_backend"))
		}
	}
	m := make(macros)
	if relevant {
		for _, text := range texts {
			m.define(string(text))
		}
	}
	if _, ok := m["_var"]; !ok {
		value := "/var"
		m["_var"] = &value
	}
	return m, nil
}

// macroFiles lists a directory of macro files, sorted, without what package
// managers and editors leave behind, as rpm does. What is no directory is empty.
func macroFiles(r *os.Root, dir, prefix string) ([]string, error) {
	var entries []fs.DirEntry
	real, err := resolve(r, dir)
	if err == nil {
		entries, err = fs.ReadDir(r.FS(), real)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err != nil {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		n := e.Name()
		if !strings.HasPrefix(n, prefix) || strings.HasSuffix(n, "~") ||
			strings.HasSuffix(n, ".rpmnew") || strings.HasSuffix(n, ".rpmsave") || strings.HasSuffix(n, ".rpmorig") {
			continue
		}
		names = append(names, path.Join(dir, n))
	}
	return names, nil
}

// readMacroFile returns nothing for what is absent or no file: rpm, too, goes
// on without it.
func readMacroFile(r *os.Root, name string) ([]byte, error) {
	f, err := openRegular(r, name)
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxMacroFile))
}

// define takes in the definitions of one file: "%name body" or
// "%name(options) body", the body going on over lines that end in a backslash
// or leave a bracket open.
func (m macros) define(text string) {
	for len(text) > 0 {
		var line string
		line, text = logicalLine(text)
		line = strings.TrimLeft(line, " \t")
		if !strings.HasPrefix(line, "%") {
			continue
		}
		name := macroName(line[1:])
		if name == "" {
			continue
		}
		body := line[1+len(name):]
		if strings.HasPrefix(body, "(") {
			m[name] = nil
			continue
		}
		body = strings.TrimSpace(body)
		m[name] = &body
	}
}

// logicalLine cuts off the first line with its continuations. Brackets count
// once one was opened by %{, %( or %[.
func logicalLine(text string) (line, rest string) {
	closing := ""
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			i++ // an escaped character, or an escaped end of line
		case '\n':
			if closing == "" {
				return text[:i], text[i+1:]
			}
		case '%':
			if i+1 >= len(text) {
				continue
			}
			switch text[i+1] {
			case '%':
				i++
			case '{':
				closing += "}"
				i++
			case '(':
				closing += ")"
				i++
			case '[':
				closing += "]"
				i++
			}
		case '{', '(', '[':
			// Within %{...} further braces must be closed too, and so on.
			if n := len(closing); n > 0 && closing[n-1] == closer(c) {
				closing += string(closer(c))
			}
		case '}', ')', ']':
			if n := len(closing); n > 0 && closing[n-1] == c {
				closing = closing[:n-1]
			}
		}
	}
	return text, ""
}

func closer(open byte) byte {
	switch open {
	case '{':
		return '}'
	case '(':
		return ')'
	}
	return ']'
}

func macroName(s string) string {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return s[:i]
		}
	}
	return s
}

// expand replaces %name, %{name} and %{?name}. It reports false for anything
// else, such as the shell expansion that Debian's rpm has for %_dbpath: nothing
// is ever run.
func (m macros) expand(s string) (string, bool) {
	budget := 256
	return m.expandWithin(s, &budget)
}

// expandWithin spends one of budget on every macro, which ends recursion.
func (m macros) expandWithin(s string, budget *int) (string, bool) {
	if *budget--; *budget < 0 {
		return "", false
	}
	var out strings.Builder
	for {
		at := strings.IndexByte(s, '%')
		if at < 0 {
			out.WriteString(s)
			return out.String(), out.Len() <= 4096
		}
		out.WriteString(s[:at])
		s = s[at+1:]
		if strings.HasPrefix(s, "%") {
			out.WriteByte('%')
			s = s[1:]
			continue
		}
		name, optional := "", false
		if strings.HasPrefix(s, "{") {
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return "", false
			}
			name, s = s[1:end], s[end+1:]
			name, optional = strings.CutPrefix(name, "?")
		} else {
			name = macroName(s)
			s = s[len(name):]
		}
		if name == "" || macroName(name) != name {
			return "", false
		}
		body, ok := m[name]
		switch {
		case !ok && optional:
			continue
		case !ok || body == nil:
			return "", false
		}
		value, plain := m.expandWithin(*body, budget)
		if !plain || out.Len()+len(value) > 4096 {
			return "", false
		}
		out.WriteString(value)
	}
}
