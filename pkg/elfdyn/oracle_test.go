package elfdyn_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/almamigrate/almamigrate/pkg/elfdyn"
)

// told is a file as readelf tells it.
type told struct {
	Interp, Soname, Path string
	Needed               []string
	Imports, Exports     []string
	Needs                []string
	Defs                 []string
}

func (o *told) sort() {
	for _, l := range [][]string{o.Imports, o.Exports, o.Needs, o.Defs} {
		slices.Sort(l)
	}
}

// TestReadelf compares what is read of the programs and libraries of this
// machine with binutils' readelf.
func TestReadelf(t *testing.T) {
	files := elfFiles(t, "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec", "/usr/local/bin")
	if len(files) < 50 {
		t.Skipf("skipped: only %d ELF files on this machine", len(files))
	}
	if limit := 200; len(files) > limit && os.Getenv("ALMAMIGRATE_ELF_ALL") == "" {
		// Every n-th of them: the whole machine takes a minute.
		step := len(files)/limit + 1
		var some []string
		for i := 0; i < len(files); i += step {
			some = append(some, files[i])
		}
		files = some
	}
	compared := 0
	for chunk := range slices.Chunk(files, 50) {
		want := readelf(t, chunk)
		for _, name := range chunk {
			o, ok := want[name]
			if !ok {
				t.Errorf("readelf says nothing of %s", name)
				continue
			}
			have := ours(t, name)
			if d := cmp.Diff(o, have, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s (-readelf +ours):\n%.2000s", name, d)
			}
			compared++
		}
	}
	t.Logf("%d files agree with readelf", compared)
}

func elfFiles(t *testing.T, dirs ...string) []string {
	var list []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || seen[name] {
				return nil
			}
			seen[name] = true
			if f, err := os.Open(name); err == nil {
				defer f.Close()
				var head [20]byte
				// Relocatable files and cores have nothing for the dynamic linker.
				if n, _ := f.Read(head[:]); n == len(head) && elfdyn.Magic(head[:]) && (head[16] == 2 || head[16] == 3) {
					list = append(list, name)
				}
			}
			return nil
		})
	}
	return list
}

func ours(t *testing.T, name string) *told {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	e, err := elfdyn.Read(name, f, info.Size(), elfdyn.Options{Symbols: true})
	if err != nil {
		t.Error(err)
		return nil
	}
	o := &told{Interp: e.Interp, Soname: e.Soname, Path: strings.Join(append(slices.Clone(e.RPath), e.RunPath...), ":"), Needed: e.Needed}
	kind := func(s *elfdyn.Symbol) string {
		bind := "GLOBAL"
		if s.Weak {
			bind = "WEAK"
		} else if s.Unique {
			bind = "UNIQUE"
		}
		return strings.ToUpper(s.Type.String()) + " " + bind
	}
	for i := range e.Imports {
		s := &e.Imports[i]
		if s.Copied {
			// readelf knows nothing of copies.
			o.Exports = append(o.Exports, fmt.Sprintf("%s %d %s", s, s.Size, kind(s)))
			continue
		}
		text := s.Name
		if s.Version != "" {
			text += "@" + s.Version
		}
		o.Imports = append(o.Imports, text+" "+kind(s))
	}
	for i := range e.Exports {
		s := &e.Exports[i]
		o.Exports = append(o.Exports, fmt.Sprintf("%s %d %s", s, s.Size, kind(s)))
	}
	for _, n := range e.Needs {
		for _, v := range n.Versions {
			o.Needs = append(o.Needs, n.Library+" "+v.Name)
		}
	}
	for _, d := range e.Defs {
		o.Defs = append(o.Defs, d.Name)
	}
	o.sort()
	return o
}

// readelf has binutils read files and takes its output apart.
func readelf(t *testing.T, files []string) map[string]*told {
	cmd := exec.Command("readelf", append([]string{"-W", "-l", "-d", "-V", "--dyn-syms"}, files...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		t.Skipf("skipped: readelf (binutils) does not run: %v", err)
	}
	list := map[string]*told{}
	var o *told
	part, library := "", ""
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		// What readelf calls a unique symbol where the file does not say that it is for GNU.
		line := strings.ReplaceAll(sc.Text(), "<OS specific>: 10", "UNIQUE")
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "File: "):
			o = &told{}
			list[strings.TrimPrefix(line, "File: ")] = o
			part = ""
		case o == nil:
		case strings.Contains(line, "[Requesting program interpreter: "):
			o.Interp = strings.TrimSuffix(line[strings.Index(line, ": ")+2:], "]")
		case strings.HasPrefix(line, "Symbol table '.dynsym'"), strings.HasPrefix(line, "Symbol table for image"):
			part = "symbols"
		case strings.HasPrefix(line, "Version needs section"):
			part = "needs"
		case strings.HasPrefix(line, "Version definition section"):
			part = "defs"
		case strings.HasPrefix(line, "Version symbols section"), strings.HasPrefix(line, "Dynamic section"):
			part = "other"
		case strings.Contains(line, "(NEEDED)"):
			o.Needed = append(o.Needed, bracketed(line))
		case strings.Contains(line, "(SONAME)"):
			o.Soname = bracketed(line)
		case strings.Contains(line, "(RPATH)"), strings.Contains(line, "(RUNPATH)"):
			o.Path = bracketed(line)
		case part == "needs" && len(f) > 4 && f[3] == "File:":
			library = f[4]
		case part == "needs" && len(f) > 2 && f[1] == "Name:":
			o.Needs = append(o.Needs, library+" "+f[2])
		case part == "defs" && strings.Contains(line, "Cnt: "):
			o.Defs = append(o.Defs, line[strings.Index(line, "Name: ")+6:])
		case part == "symbols" && len(f) >= 8 && strings.HasSuffix(f[0], ":"):
			if f[4] != "GLOBAL" && f[4] != "WEAK" && f[4] != "UNIQUE" || f[3] == "SECTION" || f[3] == "FILE" {
				continue
			}
			// "<OTHER: 60>" and the like stand between visibility and section on some machines.
			text := f[7] + " " + f[3] + " " + f[4]
			switch {
			case f[6] == "UND":
				o.Imports = append(o.Imports, text)
			case f[5] == "DEFAULT" || f[5] == "PROTECTED":
				size := f[2]
				if strings.HasPrefix(size, "0x") {
					var n uint64
					_, _ = fmt.Sscanf(size, "0x%x", &n)
					size = fmt.Sprint(n)
				}
				o.Exports = append(o.Exports, fmt.Sprintf("%s %s %s %s", f[7], size, f[3], f[4]))
			}
		}
	}
	for _, o := range list {
		// A symbol stands for each version, which nothing can import.
		o.Exports = slices.DeleteFunc(o.Exports, func(s string) bool {
			name, rest, _ := strings.Cut(s, " ")
			return rest == "0 OBJECT GLOBAL" && slices.Contains(o.Defs, name)
		})
		o.sort()
	}
	return list
}

func bracketed(line string) string {
	return strings.TrimSuffix(line[strings.Index(line, "[")+1:], "]")
}
