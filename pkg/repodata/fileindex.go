package repodata

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// BuildFileIndex reads filelists.xml (uncompressed) and writes the index of it
// to w, for OpenFileIndex. The packages are numbered as in ix, the index of the
// same repository's primary.xml; a package that primary does not have is an
// error, one that filelists does not have owns no file. Otherwise it is like
// BuildIndex.
func BuildFileIndex(w io.Writer, filelists io.Reader, ix *Index, src Source) (Stats, error) {
	b, err := newFileBuilder(ix)
	if err != nil {
		return Stats{}, err
	}
	ahead := newReadAhead(filelists)
	err = parseFilelists(ahead, b)
	ahead.stop()
	if err != nil {
		return Stats{}, err
	}
	secs, err := b.finish(src)
	if err != nil {
		return Stats{}, err
	}
	n, err := writeIndex(w, kindFilelists, b.strs.seed, secs)
	return Stats{Packages: b.seen, Entries: b.entries, Bytes: n}, err
}

// fileBuilder is the filelistsSink that collects a file index.
type fileBuilder struct {
	strs    *stringTable
	refs    chains           // per folder: package, place of the group in pkgs
	byID    map[string][]int // packages of a pkgid not yet seen in filelists
	pkgs    blob
	offs    []uint32 // record of each package, plus one
	body    []byte   // groups of the package being read
	groups  []fileGroup
	count   int // files of the last group
	last    memoString
	pending []byte // its files, encoded
	entries int
	seen    int
}

type fileGroup struct {
	dir uint32
	at  int // in body
}

func newFileBuilder(ix *Index) (*fileBuilder, error) {
	b := &fileBuilder{strs: newStringTable(), byID: make(map[string][]int, ix.Len()), offs: make([]uint32, ix.Len())}
	b.refs.strs = b.strs
	for i := range ix.Len() {
		r := ix.record(i)
		for range 6 {
			r.num()
		}
		id := r.hex()
		b.byID[id] = append(b.byID[id], i)
	}
	return b, ix.Err()
}

// A package record is the number of groups, then for each: folder, number of
// files, and for each of them string<<2 | type. A path is folder (with its
// slash) and name.
func (b *fileBuilder) file(path []byte, t FileType) error {
	b.entries++
	slash := bytes.LastIndexByte(path, '/') + 1
	dir := b.last.add(b.strs, path[:slash])
	if n := len(b.groups); n == 0 || b.groups[n-1].dir != dir {
		b.flush()
		b.groups = append(b.groups, fileGroup{dir, len(b.body)})
	}
	b.pending = binary.AppendUvarint(b.pending, uint64(b.strs.add(path[slash:]))<<2|uint64(t))
	b.count++
	return nil
}

// flush ends a group.
func (b *fileBuilder) flush() {
	if b.count > 0 {
		b.body = binary.AppendUvarint(b.body, uint64(b.groups[len(b.groups)-1].dir))
		b.body = binary.AppendUvarint(b.body, uint64(b.count))
		b.body = append(b.body, b.pending...)
	}
	b.count, b.pending = 0, b.pending[:0]
}

func (b *fileBuilder) pkg(p *rawPackage) error {
	b.flush()
	ids := b.byID[string(p.pkgid)]
	if len(ids) == 0 {
		return fmt.Errorf("cannot index filelists: package %.200q, checksum %.150q, is not in primary metadata, or there less often: %w", p.name, p.pkgid, ErrMalformed)
	}
	i := ids[0]
	b.byID[string(p.pkgid)] = ids[1:]
	b.seen++
	head := binary.AppendUvarint(nil, uint64(len(b.groups)))
	b.offs[i] = uint32(b.pkgs.n) + 1
	b.pkgs.write(head)
	base := b.pkgs.n
	for _, g := range b.groups {
		b.refs.add(g.dir, uint32(i), uint32(base+g.at))
	}
	b.pkgs.write(b.body)
	b.body, b.groups = b.body[:0], b.groups[:0]
	if err := tooLarge(&b.pkgs, "filelists"); err != nil {
		return err
	}
	return tooLarge(&b.strs.blob, "filelists")
}

func (b *fileBuilder) finish(src Source) ([]section, error) {
	post, dirs, offs := &blob{}, &blob{}, &blob{}
	type ref struct{ pkg, at uint32 }
	var refs []ref
	var e []byte
	for h, last := range b.refs.heads {
		refs = refs[:0]
		for n := b.refs.node(last); n != nil; n = b.refs.node(n.next) {
			refs = append(refs, ref{n.val, n.aux})
		}
		slices.SortFunc(refs, func(x, y ref) int { return cmp.Or(cmp.Compare(x.pkg, y.pkg), cmp.Compare(x.at, y.at)) })
		e = binary.AppendUvarint(e[:0], uint64(len(refs)))
		var prev ref
		for _, r := range refs {
			e = binary.AppendUvarint(e, uint64(r.pkg-prev.pkg))
			e = binary.AppendVarint(e, int64(r.at)-int64(prev.at))
			prev = r
		}
		b.strs.setHead(b.refs.owner[h], uint32(post.n)+1)
		post.write(e)
		dirs.u32(b.refs.owner[h])
	}
	for _, o := range b.offs {
		offs.u32(o)
	}
	if err := tooLarge(post, "filelists"); err != nil {
		return nil, err
	}
	if len(src.Primary)+len(src.Modules)+len(src.Filelists) > maxSourceLen {
		return nil, fmt.Errorf("cannot build index: source of more than %d bytes: %w", maxSourceLen, ErrTooLarge)
	}
	return []section{
		{secSource, src.encode()}, {secStrings, &b.strs.blob}, {secTable, b.strs.table()}, {secPost, post},
		{secOffsets, offs}, {secPackages, &b.pkgs}, {secDirs, dirs},
	}, nil
}

// FileIndex knows every file of every package of a repository. What is said of
// Index holds for it; packages have the numbers they have there.
type FileIndex struct {
	*container
}

// OpenFileIndex opens a file that BuildFileIndex wrote. The caller compares
// Source and Len with those of the Index it uses it with.
func OpenFileIndex(path string) (*FileIndex, error) {
	c, err := openContainer(path, kindFilelists)
	if err != nil {
		return nil, err
	}
	return &FileIndex{c}, nil
}

// Files returns the files of package i.
func (fx *FileIndex) Files(i int) iter.Seq[File] {
	return func(yield func(File) bool) {
		at := binary.LittleEndian.Uint32(fx.secs[secOffsets][4*i:])
		if at == 0 {
			return
		}
		r := fx.cursor(secPackages, uint64(at)-1)
		for range r.count() {
			dir := string(fx.bytesAt(r.num()))
			if r.bad || !fx.group(&r, dir, yield) {
				return
			}
		}
	}
}

// group yields the files of a group after its folder.
func (fx *FileIndex) group(r *cursor, dir string, yield func(File) bool) bool {
	for range r.count() {
		n := r.num()
		f := File{dir + string(fx.bytesAt(n>>2)), FileType(n & 3)}
		if r.bad || !yield(f) {
			return false
		}
	}
	return true
}

// places calls fn for every group of files of a folder, in package order, with
// a cursor behind the folder's name.
func (fx *FileIndex) places(dir uint32, fn func(pkg int, r *cursor) bool) {
	p, ok := fx.posting(dir)
	if !ok {
		return
	}
	pkg, at := uint64(0), int64(0)
	for range p.count() {
		pkg += p.num()
		at += p.signed()
		if p.bad || pkg >= uint64(fx.Len()) {
			fx.spoil("a package that is not there")
			return
		}
		r := fx.cursor(secPackages, uint64(at))
		if r.num() != uint64(dir) {
			fx.spoil("a folder that is not where it should be")
			return
		}
		if !fn(int(pkg), &r) {
			return
		}
	}
}

// Owners returns the packages that list a path, in rising order.
func (fx *FileIndex) Owners(path string) []int {
	slash := strings.LastIndexByte(path, '/') + 1
	dir, ok := fx.find([]byte(path[:slash]))
	if !ok {
		return nil
	}
	base, ok := fx.find([]byte(path[slash:]))
	if !ok {
		return nil
	}
	var out []int
	fx.places(dir, func(pkg int, r *cursor) bool {
		for range r.count() {
			if r.num()>>2 == uint64(base) {
				if n := len(out); n == 0 || out[n-1] != pkg {
					out = append(out, pkg)
				}
				break
			}
		}
		return true
	})
	return out
}

// Under returns the files whose path begins with prefix, and their packages;
// per folder in package order. "/lib/modules/" gives all of that folder, not
// the folder itself.
func (fx *FileIndex) Under(prefix string) iter.Seq2[int, File] {
	return func(yield func(int, File) bool) {
		dirs := fx.secs[secDirs]
		for ; len(dirs) >= 4; dirs = dirs[4:] {
			off := binary.LittleEndian.Uint32(dirs)
			dir := string(fx.bytesAt(uint64(off)))
			// Either all of the folder, or those of its files that go on
			// as the prefix does.
			if !strings.HasPrefix(dir, prefix) && !(strings.HasPrefix(prefix, dir) && strings.IndexByte(prefix[len(dir):], '/') < 0) {
				continue
			}
			if uint64(off)+strHead > uint64(len(fx.secs[secStrings])) {
				return // bytesAt has noted it
			}
			more := true
			fx.places(off, func(pkg int, r *cursor) bool {
				more = fx.group(r, dir, func(f File) bool {
					return !strings.HasPrefix(f.Path, prefix) || yield(pkg, f)
				})
				return more
			})
			if !more {
				return
			}
		}
	}
}
