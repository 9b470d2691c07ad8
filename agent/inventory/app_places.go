package inventory

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ModuleFolders are searched as well, where they are: interpreters and servers
// look there for modules, and pecl, pip, cpan, gem, npm and apxs put them there.
// An element may be a pattern.
var ModuleFolders = []string{
	"/usr/lib64/php/modules", "/usr/lib64/php-zts/modules", "/usr/lib64/httpd/modules", "/usr/lib64/nginx/modules", "/usr/lib64/security",
	"/usr/lib/python[23].*/site-packages", "/usr/lib64/python[23].*/site-packages", "/usr/lib64/perl5", "/usr/lib64/gems", "/usr/share/gems",
	"/usr/lib/node_modules",
}

// preloadFile names libraries that ld.so puts into every program.
const preloadFile = "/etc/ld.so.preload"

// moduleFolders are those of ModuleFolders that are there.
func (s *appScan) moduleFolders() []string {
	var out []string
	for _, pattern := range ModuleFolders {
		dir, below := pattern, ""
		names := []string{"."}
		if strings.Contains(pattern, "*") { // in the folder above the last
			dir, below = path.Dir(path.Dir(pattern)), path.Base(pattern)
			var err error
			if names, err = s.r.Names(dir); err != nil {
				s.skip(dir, err)
				continue
			}
		}
		for _, n := range names {
			name := path.Join(dir, n, below)
			if ok, err := path.Match(pattern, name); ok && err == nil && s.r.Exists(name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// preloads queues the libraries of ld.so.preload.
func (s *appScan) preloads() {
	data, err := s.r.ReadFile(preloadFile, maxUnit)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.skip(preloadFile, err)
		}
		return
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		for _, w := range strings.FieldsFunc(line, func(r rune) bool { return r == ':' || r == ' ' || r == '\t' || r == '\n' || r == '\r' }) {
			if !path.IsAbs(w) {
				continue // looked for like any library: in a folder of the host's
			}
			w = strings.ReplaceAll(strings.ReplaceAll(w, "${LIB}", "lib64"), "$LIB", "lib64")
			if pkg, owned := s.owners.of(w); !owned || s.foreign[pkg] {
				s.push(path.Clean(w), preloadFile, nil)
			}
		}
	}
}

// hostLinkers are the dynamic linkers of the host's own programs, by name: where
// no package is known to own one, it is one of these.
var hostLinkers = []string{"ld-linux-x86-64.so.2", "ld-linux.so.2", "ld-linux-aarch64.so.1", "ld64.so.2", "ld64.so.1"}

// ownLinker tells whether a program's dynamic linker is not the distribution's.
func (s *appScan) ownLinker(interp string) bool {
	names := []string{interp}
	if real, err := s.r.Resolve(interp); err == nil {
		names = append(names, "/"+real)
	}
	for _, p := range names {
		if pkg, owned := s.owners.of(p); owned {
			return s.foreign[pkg]
		}
	}
	dir := path.Dir(merged(path.Dir(interp) + "/x"))
	return !slices.Contains(hostLinkers, path.Base(interp)) || dir != "/usr/lib" && dir != "/usr/lib64"
}
