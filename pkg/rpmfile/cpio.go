package rpmfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// Entry is one file of the payload. Reading from it gives the file's content:
// nothing for anything but regular files, and for all but one name of a file
// with several (hard links), which carries the content for all.
type Entry struct {
	// Name is as the archive has it, usually "./usr/bin/x"; for an archive
	// without names ("stripped") it is the header's path "/usr/bin/x".
	Name string
	// Mode is the st_mode: type and permission bits.
	Mode uint32
	// Size is the number of bytes that Read gives.
	Size int64
	// Linkname is the target of a symbolic link.
	Linkname string
	// Links is the number of names the file has, Inode tells which names of
	// one package belong together.
	Links, Inode uint32
	// MTime is in seconds since 1970, cut to 32 bits by the format.
	MTime uint32
	// Index is the file's place in the header's lists, or -1: cpio archives
	// with names do not tell.
	Index int

	c *cpioReader
}

// Read reads the content. At its end it returns io.EOF.
func (e *Entry) Read(p []byte) (int, error) {
	if e.c == nil || e.c.current != e {
		return 0, errors.New("cannot read payload entry: the iteration has gone on")
	}
	n, err := e.c.content(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("cannot read %q: %w", e.Name, payloadError(err))
	}
	return n, err
}

const (
	modeType    = 0o170000
	modeRegular = 0o100000
	modeSymlink = 0o120000

	maxName    = 64 << 10 // PATH_MAX is 4096
	maxFile    = 1 << 50
	cpioTrail  = "TRAILER!!!"
	newcLen    = 104 // behind the magic of 6
	strippedAt = 8   // hex digits behind the magic 07070X
)

// cpioReader reads the archive: the "newc" format (cpio(5)), and rpm's own
// variant for packages with files of 4 GiB and more, whose entries hold only
// "07070X" and the file's number in the header's lists; everything else is
// taken from there.
type cpioReader struct {
	r       *bufio.Reader
	files   *fileList
	current *Entry
	left    int64 // bytes of content not yet read
	pad     int64 // bytes behind the content
}

func (c *cpioReader) content(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if err == io.EOF && c.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next returns the next entry, io.EOF at the trailer.
func (c *cpioReader) next() (*Entry, error) {
	c.current = nil
	for skip := c.left + c.pad; skip > 0; {
		n, err := c.r.Discard(int(min(skip, 1<<30)))
		skip -= int64(n)
		if err != nil {
			return nil, unexpected(err)
		}
	}
	c.left, c.pad = 0, 0
	var magic [6]byte
	if _, err := io.ReadFull(c.r, magic[:]); err != nil {
		return nil, unexpected(err)
	}
	var e *Entry
	var err error
	switch string(magic[:]) {
	case "070701", "070702":
		e, err = c.newc()
	case "07070X":
		e, err = c.stripped()
	default:
		return nil, fmt.Errorf("%w: archive entry starts with %q", ErrCorrupt, magic[:])
	}
	if err != nil {
		return nil, err
	}
	e.c, c.current, c.left = c, e, e.Size
	c.pad = -e.Size & 3
	if e.Mode&modeType == modeSymlink {
		if e.Size > maxName {
			return nil, fmt.Errorf("%w: link target of %d bytes", ErrCorrupt, e.Size)
		}
		target := make([]byte, e.Size)
		if _, err := io.ReadFull(c.r, target); err != nil {
			return nil, unexpected(err)
		}
		e.Linkname, e.Size, c.left = string(target), 0, 0
	}
	return e, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// newc reads the thirteen numbers of 8 hex digits and the name.
func (c *cpioReader) newc() (*Entry, error) {
	var b [newcLen]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return nil, unexpected(err)
	}
	var v [13]uint32
	for i := range v {
		n, ok := hex8(b[i*8:])
		if !ok {
			return nil, fmt.Errorf("%w: archive entry with number %q", ErrCorrupt, b[i*8:i*8+8])
		}
		v[i] = n
	}
	nameLen := int64(v[11])
	if nameLen < 1 || nameLen > maxName {
		return nil, fmt.Errorf("%w: archive entry with a name of %d bytes", ErrCorrupt, nameLen)
	}
	// Header and name together are padded to a multiple of 4.
	name := make([]byte, nameLen+-(6+newcLen+nameLen)&3)
	if _, err := io.ReadFull(c.r, name); err != nil {
		return nil, unexpected(err)
	}
	if name[nameLen-1] != 0 || slices.Contains(name[:nameLen-1], 0) {
		return nil, fmt.Errorf("%w: archive entry with a bad name %.100q", ErrCorrupt, name)
	}
	e := &Entry{Name: string(name[:nameLen-1]), Inode: v[0], Mode: v[1], Links: v[4], MTime: v[5], Size: int64(v[6]), Index: -1}
	if e.Name == cpioTrail {
		return nil, io.EOF
	}
	return e, nil
}

func (c *cpioReader) stripped() (*Entry, error) {
	var b [strippedAt + 2]byte // padded to a multiple of 4
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return nil, unexpected(err)
	}
	if c.files.err != nil {
		return nil, c.files.err
	}
	i, ok := hex8(b[:])
	if !ok || uint64(i) >= uint64(c.files.len()) {
		return nil, fmt.Errorf("%w: archive entry for file %q of %d", ErrCorrupt, b[:strippedAt], c.files.len())
	}
	return c.files.entry(int(i)), nil
}

func hex8(b []byte) (uint32, bool) {
	var n uint32
	for _, c := range b[:8] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | uint32(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | uint32(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, true
}

// fileList is what the header says of the files, as far as the payload needs.
type fileList struct {
	dirs, base []string
	dirIndex   []uint32
	size       []uint64
	mode       []uint16
	inode      []uint32
	mtime      []uint32
	links      map[uint32][]int // by inode: the regular files and their names
	err        error
}

// newFileList never fails: only archives without names need the lists, and
// they fail at the first entry with err.
func newFileList(h *rpmhdr.Header) *fileList {
	l := &fileList{links: map[uint32][]int{}}
	if h.Has(rpmhdr.TagLongFileSizes) {
		l.size = h.Uint64s(rpmhdr.TagLongFileSizes)
	} else {
		for _, n := range h.Uint32s(rpmhdr.TagFileSizes) {
			l.size = append(l.size, uint64(n))
		}
	}
	var err error
	if l.dirs, l.dirIndex, l.base, err = h.FilePaths(); err != nil {
		l.err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		return l
	}
	l.mode = h.Uint16s(rpmhdr.TagFileModes)
	l.inode = h.Uint32s(rpmhdr.TagFileInodes)
	l.mtime = h.Uint32s(rpmhdr.TagFileMtimes)
	n := len(l.base)
	if len(l.size) != n || len(l.mode) != n || len(l.inode) != n || len(l.mtime) != n || len(l.dirIndex) != n {
		l.err = fmt.Errorf("%w: %d file names, but lists of %d sizes, %d modes, %d inodes, %d times",
			ErrCorrupt, n, len(l.size), len(l.mode), len(l.inode), len(l.mtime))
		return l
	}
	for i, ino := range l.inode {
		if l.size[i] > maxFile {
			l.err = fmt.Errorf("%w: a file of %d bytes", ErrCorrupt, l.size[i])
			return l
		}
		if uint32(l.mode[i])&modeType == modeRegular {
			l.links[ino] = append(l.links[ino], i)
		}
	}
	return l
}

func (l *fileList) len() int { return len(l.base) }

func (l *fileList) name(i int) string {
	if d := int(l.dirIndex[i]); d < len(l.dirs) {
		return l.dirs[d] + l.base[i]
	}
	return l.base[i]
}

// entry makes an entry of a stripped archive.
func (l *fileList) entry(i int) *Entry {
	e := &Entry{Name: l.name(i), Mode: uint32(l.mode[i]), Inode: l.inode[i], MTime: l.mtime[i], Links: 1, Index: i}
	switch e.Mode & modeType {
	case modeRegular:
		names := l.links[e.Inode]
		e.Links = uint32(len(names))
		// The last name of a file carries its content.
		if i == names[len(names)-1] {
			e.Size = int64(l.size[i])
		}
	case modeSymlink:
		e.Size = int64(l.size[i])
	}
	return e
}
