package report

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The bounds of a support bundle, in bytes: of one file, of which the end is
// taken where it is longer, and of all.
const (
	maxBundleFile = 8 << 20
	maxBundle     = 64 << 20
)

// BundleFile is one file of a support bundle.
type BundleFile struct {
	Name string // path in the archive
	From string // where it is from, in words or as a path
	Cut  bool   // only the end is in
	Data []byte
}

// Bundle is everything that a bug report needs. All of it goes through its
// Redactor before it is listed or written; after that nothing can be added.
type Bundle struct {
	Redactor *Redactor
	Files    []BundleFile
	Left     []string // what is not in, and why
	size     int
	sealed   bool
}

// seal redacts everything, once all names are known: the last file may tell
// the host that the first one names.
func (b *Bundle) seal() {
	if b.sealed {
		return
	}
	b.sealed = true
	for i := range b.Files {
		f := &b.Files[i]
		f.Name, f.From, f.Data = b.Redactor.Text(f.Name), b.Redactor.Text(f.From), b.Redactor.Redact(f.Data)
	}
	for i := range b.Left {
		b.Left[i] = b.Redactor.Text(b.Left[i])
	}
}

// Add takes a content.
func (b *Bundle) Add(name, from string, data []byte) {
	cut := len(data) > maxBundleFile
	if cut {
		data = data[len(data)-maxBundleFile:]
		if i := slices.Index(data, '\n'); i >= 0 {
			data = data[i+1:] // a secret cut in two would not be recognised
		}
	}
	if b.size+len(data) > maxBundle {
		b.Left = append(b.Left, from+": the bundle is full")
		return
	}
	b.size += len(data)
	b.Redactor.Learn(data)
	b.Files = append(b.Files, BundleFile{name, from, cut, data})
}

// AddFile takes a file of the host; where there is none, nothing. Links and
// what is not a regular file are left out.
func (b *Bundle) AddFile(name, file string) {
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var data []byte
	if err == nil {
		data, err = tail(file)
	}
	if err != nil {
		b.Left = append(b.Left, fmt.Sprintf("%s: %v", file, err))
		return
	}
	b.Add(name, file, data)
}

// AddDir takes the regular files of a folder that want accepts, and those of
// the folders below it, as many levels deep as said; the newest most files.
func (b *Bundle) AddDir(name, dir string, levels, most int, want func(base string) bool) {
	type found struct {
		rel string
		mod time.Time
	}
	var list []found
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			b.Left = append(b.Left, fmt.Sprintf("%s: %v", p, err))
			return nil
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if e.IsDir() {
			if rel != "." && strings.Count(rel, "/") >= levels {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !want(e.Name()) {
			return nil
		}
		list = append(list, found{rel, info.ModTime()})
		return nil
	})
	if err != nil {
		b.Left = append(b.Left, fmt.Sprintf("%s: %v", dir, err))
	}
	slices.SortFunc(list, func(x, y found) int { return cmp.Or(y.mod.Compare(x.mod), strings.Compare(x.rel, y.rel)) })
	if len(list) > most {
		b.Left = append(b.Left, fmt.Sprintf("%s: the older %d of %d files", dir, len(list)-most, len(list)))
		list = list[:most]
	}
	slices.SortFunc(list, func(x, y found) int { return strings.Compare(x.rel, y.rel) })
	for _, f := range list {
		b.AddFile(path.Join(name, f.rel), filepath.Join(dir, f.rel))
	}
}

// tail reads a file, of a long one somewhat more than the end that Add takes.
func tail(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if n := info.Size(); n > maxBundleFile+1 {
		if _, err := f.Seek(n-maxBundleFile-1, io.SeekStart); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, maxBundleFile+1))
}

// Content returns the files as they are packed, sorted by name.
func (b *Bundle) Content() []BundleFile {
	b.seal()
	files := slices.Clone(b.Files)
	slices.SortFunc(files, func(x, y BundleFile) int { return strings.Compare(x.Name, y.Name) })
	return files
}

// List tells what is in the bundle; it is the bundle's first file as well.
func (b *Bundle) List() string {
	var s strings.Builder
	for _, f := range b.Content() {
		note := ""
		if f.Cut {
			note = " (its end)"
		}
		fmt.Fprintf(&s, "%9d  %-44s %s%s\n", len(f.Data), Safe(f.Name), Safe(f.From), note)
	}
	if len(b.Left) > 0 {
		s.WriteString("\nNot in it:\n")
		for _, l := range b.Left {
			fmt.Fprintf(&s, "           %s\n", Safe(l))
		}
	}
	s.WriteString("\nRedacted: host names and addresses of this host and of private servers, passwords, tokens, keys, the machine id.\nNot redacted: names of packages, files and users.\n")
	return s.String()
}

// Write writes the bundle as a tar archive, compressed by gzip, all below one
// folder.
func (b *Bundle) Write(w io.Writer, dir string, at time.Time) error {
	b.seal()
	zw := gzip.NewWriter(w)
	tw := tar.NewWriter(zw)
	files := append([]BundleFile{{Name: "CONTENT.txt", Data: []byte(b.List())}}, b.Files...)
	slices.SortStableFunc(files[1:], func(x, y BundleFile) int { return strings.Compare(x.Name, y.Name) })
	for _, f := range files {
		h := &tar.Header{Name: path.Join(dir, f.Name), Mode: 0o600, Size: int64(len(f.Data)), ModTime: at.UTC().Truncate(time.Second), Typeflag: tar.TypeReg}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("cannot write the bundle: %w", err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			return fmt.Errorf("cannot write the bundle: %w", err)
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	if err := zw.Close(); err != nil {
		return fmt.Errorf("cannot write the bundle: %w", err)
	}
	return nil
}
