package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// confFile is one file of a configuration folder with its logical lines.
type confFile struct {
	path  string // below the host's root
	lines []confLine
}

type confLine struct {
	number int // of the first physical line
	text   string
}

// confFiles reads the files of several folders as kmod and systemd do: a name
// found in an earlier folder hides the same name in later ones, the remaining
// files are read in the order of their names. A file that is empty or links to
// /dev/null is there only to hide another.
func (h *Host) confFiles(dirs []string, continued bool, exts ...string) ([]confFile, error) {
	at := map[string]string{}
	for _, dir := range dirs {
		names, err := h.names(dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if _, hidden := at[name]; hidden || strings.HasPrefix(name, ".") {
				continue
			}
			for _, ext := range exts {
				if strings.HasSuffix(name, ext) {
					at[name] = path.Join(dir, name)
				}
			}
		}
	}
	names := make([]string, 0, len(at))
	for name := range at {
		names = append(names, name)
	}
	sort.Strings(names)
	var out []confFile
	seen := map[string]bool{}
	for _, name := range names {
		real, err := h.resolve(at[name])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read /%s: %w", at[name], err)
		}
		if err != nil || real == "dev/null" || seen[real] {
			continue
		}
		seen[real] = true
		info, err := h.root.Lstat(real)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		data, err := h.readFile(at[name], 4<<20)
		if err != nil {
			return nil, fmt.Errorf("cannot read /%s: %w", at[name], err)
		}
		out = append(out, confFile{at[name], confLines(string(data), continued)})
	}
	return out, nil
}

// confLines drops comments and empty lines and, where the format has it, joins
// lines that end with a backslash.
func confLines(text string, continued bool) []confLine {
	var out []confLine
	var held strings.Builder
	start := 0
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if start == 0 {
			start = n
		}
		if continued && strings.HasSuffix(line, `\`) {
			held.WriteString(line[:len(line)-1])
			continue
		}
		held.WriteString(line)
		if t := strings.TrimSpace(held.String()); t != "" && t[0] != '#' && t[0] != ';' {
			out = append(out, confLine{start, t})
		}
		held.Reset()
		start = 0
	}
	if t := strings.TrimSpace(held.String()); t != "" && t[0] != '#' {
		out = append(out, confLine{start, t})
	}
	return out
}
