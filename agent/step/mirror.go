package step

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/ini"
)

// baseurlOf finds where below AlmaLinux's tree a repository is. The files of
// almalinux-release have the line commented out beside a mirrorlist:
//
//	mirrorlist=https://mirrors.almalinux.org/mirrorlist/$releasever/baseos
//	# baseurl=https://repo.almalinux.org/almalinux/$releasever/BaseOS/$basearch/os/
//
// Debug and source packages are in another tree, vault, which mirrors have not.
var baseurlOf = regexp.MustCompile(`^#?[ \t]*baseurl[ \t]*=[ \t]*\S*?/almalinux/(\$releasever/\S+)[ \t]*$`)

// toMirror returns the text of one of AlmaLinux's repository files with every
// repository of the tree read from the mirror. Other lines stay as they are. A
// text that was returned before is returned as it is.
func toMirror(text string, m *plan.Mirror) string {
	lines := strings.SplitAfter(text, "\n")
	var out strings.Builder
	for begin := 0; begin < len(lines); {
		end := begin + 1
		for end < len(lines) && !strings.HasPrefix(lines[end], "[") {
			end++
		}
		for _, l := range sectionToMirror(lines[begin:end], m) {
			out.WriteString(l)
		}
		begin = end
	}
	return out.String()
}

func sectionToMirror(lines []string, m *plan.Mirror) []string {
	if !strings.HasPrefix(lines[0], "[") {
		return lines
	}
	at, below := -1, ""
	for i, l := range lines {
		l = strings.TrimRight(l, "\r\n")
		if rest, ok := strings.CutPrefix(l, "baseurl="+m.URL+"/"); ok {
			at, below = i, rest
			break
		}
		if f := baseurlOf.FindStringSubmatch(l); f != nil && (at < 0 || !strings.HasPrefix(l, "#")) {
			at, below = i, f[1]
		}
	}
	if at < 0 {
		return lines
	}
	var out []string
	for i, l := range lines {
		key, _, isKey := strings.Cut(l, "=")
		key = strings.TrimSpace(key)
		switch {
		case i == at:
			if strings.HasPrefix(l, "#") {
				out = append(out, l)
			}
			out = append(out, "baseurl="+m.URL+"/"+below+"\n")
			for _, o := range m.Options {
				out = append(out, o+"\n")
			}
		case isKey && (key == "mirrorlist" || key == "metalink" || key == "baseurl"):
			out = append(out, "#"+l)
		case isKey && slices.ContainsFunc(m.Options, func(o string) bool { k, _, _ := strings.Cut(o, "="); return k == key }):
			// It stands after baseurl.
		default:
			out = append(out, l)
		}
	}
	return out
}

// useMirror points AlmaLinux's repositories, in the files that the coming
// packages brought, to the mirror.
func useMirror(m *plan.Mirror, write bool) (same bool, err error) {
	if m == nil {
		return true, nil
	}
	files, err := filepath.Glob(reposDir + "/almalinux*.repo")
	if err != nil {
		return false, err
	}
	same = true
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return false, fmt.Errorf("cannot read %s: %w", f, err)
		}
		out := toMirror(string(data), m)
		if out == string(data) {
			continue
		}
		same = false
		if !write {
			continue
		}
		if _, err := ini.Parse(f, bytes.NewReader([]byte(out))); err != nil {
			return false, fmt.Errorf("internal error: %w", err)
		}
		if err := atomicfile.Write(f, []byte(out), 0o644, atomicfile.Keep); err != nil {
			return false, fmt.Errorf("cannot change %s: %w", f, err)
		}
	}
	return same, nil
}
