package inventory

import "iter"

// Len returns the number of files.
func (f *Files) Len() int { return len(f.Base) }

// Path returns the path of file i.
func (f *Files) Path(i int) string { return f.Dirs[f.DirIndex[i]] + f.Base[i] }

// All yields every path in the package's order.
func (f *Files) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range f.Base {
			if !yield(f.Path(i)) {
				return
			}
		}
	}
}

// Has tells whether a path is among the files.
func (f *Files) Has(path string) bool {
	for i, d := range f.Dirs {
		if len(path) <= len(d) || path[:len(d)] != d {
			continue
		}
		for j, b := range f.Base {
			if int(f.DirIndex[j]) == i && b == path[len(d):] {
				return true
			}
		}
	}
	return false
}
