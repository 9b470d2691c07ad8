package inventory

import "strings"

// ownerIndex tells which package owns a path. Folders are few; the files of
// one are gathered when it is asked for the first time.
type ownerIndex struct {
	packages []Package
	dirs     map[string][]int32
	files    map[string]map[string]int32
}

// maxOwnerFolders is how many folders' files are kept.
const maxOwnerFolders = 256

func newOwnerIndex(packages []Package) *ownerIndex {
	x := &ownerIndex{packages: packages, dirs: map[string][]int32{}}
	for i := range packages {
		for _, d := range packages[i].Files.Dirs {
			d = merged(d)
			if l := x.dirs[d]; len(l) == 0 || l[len(l)-1] != int32(i) {
				x.dirs[d] = append(l, int32(i))
			}
		}
	}
	return x
}

// merged names a folder as it is called where /bin, /sbin and /lib are links.
func merged(dir string) string {
	for _, p := range []string{"/lib/", "/lib64/", "/bin/", "/sbin/"} {
		if strings.HasPrefix(dir, p) {
			return "/usr" + dir
		}
	}
	return dir
}

func (x *ownerIndex) of(name string) (int32, bool) {
	i := strings.LastIndexByte(name, '/') + 1
	dir := merged(name[:i])
	files, ok := x.files[dir]
	if !ok {
		if len(x.dirs[dir]) == 0 {
			return 0, false
		}
		if len(x.files) >= maxOwnerFolders || x.files == nil {
			x.files = map[string]map[string]int32{}
		}
		files = map[string]int32{}
		x.files[dir] = files
		for _, p := range x.dirs[dir] {
			f := &x.packages[p].Files
			here := make([]bool, len(f.Dirs)) // compared once, not for each file
			for i, d := range f.Dirs {
				here[i] = merged(d) == dir
			}
			for k, n := range f.DirIndex {
				if int(n) < len(here) && here[n] {
					files[f.Base[k]] = p
				}
			}
		}
	}
	p, ok := files[name[i:]]
	return p, ok
}
