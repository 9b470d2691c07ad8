package repack

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"syscall"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Errors that callers test for.
var (
	// ErrNotExact means that the content of some files is not on disk any more: see Report.
	ErrNotExact = errors.New("not all contents are on disk as the package had them")
	// ErrUnsupported means that a package cannot be rebuilt whatever is on disk, e.g. since its header is from before rpm 4.
	ErrUnsupported = errors.New("not supported")
	// ErrChanged means that a file changed while it was being packed: what was written is worth nothing.
	ErrChanged = errors.New("changed while being packed")
)

// FileState tells whether a file of the package can be packed as it was.
type FileState string

// The states. Folders, links, devices and empty files are in the header as a whole and always Intact.
const (
	Intact         FileState = "intact"
	ModifiedConfig FileState = "modified-config" // a configuration file that was edited
	Modified       FileState = "modified"        // any other file with another content
	MissingFile    FileState = "missing"         // not there, or no regular file
	NotInstalled   FileState = "not-installed"   // rpm was told to leave it out (documentation, languages)
	Unreadable     FileState = "unreadable"
)

// File is a file whose content is not on disk as the package had it.
type File struct {
	Path  string    `json:"path"`
	State FileState `json:"state"`
	Size  int64     `json:"size"` // by the header
	Err   string    `json:"error,omitempty"`
}

// Report tells how well a package can be, or was, rebuilt.
type Report struct {
	NEVRA rpmver.NEVRA
	// Files are those whose content the rebuilt package cannot have, in the order of the header. Empty means that everything
	// is there. NotInstalled among them: rpm must be told again to leave them out (--excludedocs and the like), or they are
	// to be removed afterwards.
	Files []File
	// Packed is the number of files in the archive, Ghosts those that never are in one.
	Packed, Ghosts int
	// ContentSize is the number of bytes of all contents: about the size of the archive before compression.
	ContentSize int64

	// The rest is set by Write only.

	// Exact means that the archive is the original one, proven by a digest in the header; then the file passes all checks of
	// rpm, signatures included.
	Exact bool
	// SameContent means that the uncompressed archive is the original one, where the header holds a digest of that (EL9 and later).
	SameContent bool
	// Size and SHA256 are those of the file written.
	Size   int64
	SHA256 string
}

// Complete tells whether every content is there.
func (r *Report) Complete() bool { return len(r.Files) == 0 }

// OnlyConfig tells whether the only contents that are not there are those of edited configuration files, and files that
// rpm had been told not to install.
func (r *Report) OnlyConfig() bool {
	for _, f := range r.Files {
		if f.State != ModifiedConfig && f.State != NotInstalled {
			return false
		}
	}
	return true
}

// InstallOptions are the options that rpm needs to install what Write wrote, none if it is Exact. A caller that uses
// them must have compared the file with Report.SHA256 immediately before, as rpm then checks less: the contents of the
// files by their digests, or with placeholders nothing. All of them exist in every rpm from 4.11 on. They count for all
// packages of a call of rpm.
func (r *Report) InstallOptions() []string {
	switch {
	case r.Exact:
		return nil
	case r.Complete():
		return []string{"--nodigest", "--nosignature"}
	}
	return []string{"--nodigest", "--nosignature", "--nofiledigest"}
}

const (
	flagConfig = 1 << 0
	flagGhost  = 1 << 6

	stateNotInstalled = 2
	stateWrongColor   = 4

	modeType    = 0o170000
	modeRegular = 0o100000
	modeLink    = 0o120000
	modeChar    = 0o020000
	modeBlock   = 0o060000
	modeDir     = 0o040000
)

const (
	tagFileDevices rpmhdr.Tag = 1095
	tagSourceRPM              = rpmhdr.TagSourceRPM
)

// pkgFile is one file by the immutable header.
type pkgFile struct {
	path    string // in the package
	disk    string // on the disk: another one for relocated packages
	mode    uint32
	size    int64
	mtime   uint32
	inode   uint32
	dev     uint32
	rdev    uint32
	flags   uint32
	digest  string
	target  string
	absent  bool // rpm did not install it
	links   []int
	state   FileState
	err     error
	content int // index of the name that has the content on disk
}

type pkg struct {
	h     *rpmhdr.Header // as in the database
	built *rpmhdr.Header // the immutable region
	raw   []byte         // the immutable region in the form with magic
	algo  uint32
	files []pkgFile
	// old says that rpm before 4.12 (EL7) made the package. Its archive holds the device and, for folders, the link count
	// that the files had when it was built. rpm reads neither; a wrong guess costs the exactness, nothing else.
	old        bool
	subfolders map[string]int // by folder, those of the package
}

func load(h *rpmhdr.Header) (*pkg, error) {
	unsupported := func(why string) error {
		return fmt.Errorf("cannot rebuild %s: %w: %s", h.NEVRA(), ErrUnsupported, why)
	}
	p := &pkg{h: h}
	var err error
	if p.raw, err = h.Immutable(); err != nil {
		return nil, unsupported("its header has no immutable region")
	}
	if err := h.VerifyDigests(); err != nil && !errors.Is(err, rpmhdr.ErrNoDigest) {
		return nil, fmt.Errorf("cannot rebuild %s: %w", h.NEVRA(), err)
	}
	if p.built, _, err = rpmhdr.ParseMagic(bytes.NewReader(p.raw)); err != nil {
		return nil, fmt.Errorf("cannot rebuild %s: %w", h.NEVRA(), err)
	}
	if f := p.built.String(rpmhdr.TagPayloadFormat); f != "" && f != "cpio" {
		return nil, unsupported("payload format " + f)
	}
	if p.built.Has(rpmhdr.TagSourcePackage) || !p.built.Has(tagSourceRPM) {
		return nil, unsupported("not a binary package")
	}
	p.algo = 1
	if a := p.built.Uint32s(rpmhdr.TagFileDigestAlgo); len(a) > 0 {
		p.algo = a[0]
	}
	if newHash(p.algo) == nil {
		return nil, unsupported(fmt.Sprintf("file digest algorithm %d", p.algo))
	}
	by, err := rpmver.ParseEVR(p.built.String(rpmhdr.TagRPMVersion))
	p.old = err == nil && by.Compare(rpmver.EVR{Version: "4.12"}) < 0
	return p, p.loadFiles()
}

// newHash gives the algorithms of OpenPGP by number (RFC 9580, 9.5), which tag 5011 names.
func newHash(algo uint32) hash.Hash {
	switch algo {
	case 1:
		return md5.New()
	case 2:
		return sha1.New()
	case 8:
		return sha256.New()
	case 9:
		return sha512.New384()
	case 10:
		return sha512.New()
	case 11:
		return sha256.New224()
	}
	return nil
}

func (p *pkg) loadFiles() error {
	b := p.built
	dirs, dirIndex, base, err := b.FilePaths()
	if err != nil {
		return fmt.Errorf("cannot rebuild %s: %w", p.h.NEVRA(), err)
	}
	n := len(base)
	if n == 0 {
		return nil
	}
	// Entries behind the region replace those in it: a relocated package has its folders there.
	ddirs, ddirIndex, dbase, err := p.h.FilePaths()
	if err != nil || len(dbase) != n {
		return fmt.Errorf("cannot rebuild %s: %w: %d files were built, %d installed", p.h.NEVRA(), rpmhdr.ErrCorrupt, n, len(dbase))
	}
	sizes := b.Uint64s(rpmhdr.TagLongFileSizes)
	if !b.Has(rpmhdr.TagLongFileSizes) {
		for _, s := range b.Uint32s(rpmhdr.TagFileSizes) {
			sizes = append(sizes, uint64(s))
		}
	}
	modes, mtimes := b.Uint16s(rpmhdr.TagFileModes), b.Uint32s(rpmhdr.TagFileMtimes)
	inodes, devs := b.Uint32s(rpmhdr.TagFileInodes), b.Uint32s(tagFileDevices)
	rdevs, flags := b.Uint16s(rpmhdr.TagFileRdevs), b.Uint32s(rpmhdr.TagFileFlags)
	digests, targets := b.Strings(rpmhdr.TagFileDigests), b.Strings(rpmhdr.TagFileLinktos)
	states := p.h.Bytes(rpmhdr.TagFileStates)
	for name, have := range map[string]int{"sizes": len(sizes), "modes": len(modes), "times": len(mtimes), "inodes": len(inodes),
		"devices": len(devs), "device numbers": len(rdevs), "flags": len(flags), "digests": len(digests), "link targets": len(targets)} {
		if have != n {
			return fmt.Errorf("cannot rebuild %s: %w: %d files, %d %s", p.h.NEVRA(), rpmhdr.ErrCorrupt, n, have, name)
		}
	}
	p.files = make([]pkgFile, n)
	groups := map[[2]uint32][]int{}
	p.subfolders = map[string]int{}
	for i := range p.files {
		f := &p.files[i]
		*f = pkgFile{
			path: dirs[dirIndex[i]] + base[i], disk: ddirs[ddirIndex[i]] + dbase[i],
			mode: uint32(modes[i]), size: int64(sizes[i]), mtime: mtimes[i], inode: inodes[i], dev: devs[i], rdev: uint32(rdevs[i]),
			flags: flags[i], digest: digests[i], target: targets[i],
		}
		if f.size < 0 || f.size > 1<<46 { // times 65535 files still is an int64
			return fmt.Errorf("cannot rebuild %s: %w: %s has %d bytes", p.h.NEVRA(), rpmhdr.ErrCorrupt, f.path, sizes[i])
		}
		if i < len(states) && (states[i] == stateNotInstalled || states[i] == stateWrongColor) {
			f.absent = true
		}
		if f.mode&modeType == modeDir && !f.ghost() {
			p.subfolders[path.Dir(f.path)]++
		}
		if f.regular() && !f.ghost() {
			id := [2]uint32{f.dev, f.inode}
			groups[id] = append(groups[id], i)
		}
	}
	for _, g := range groups {
		for _, i := range g {
			p.files[i].links = g
		}
	}
	return nil
}

func (f *pkgFile) regular() bool { return f.mode&modeType == modeRegular }
func (f *pkgFile) ghost() bool   { return f.flags&flagGhost != 0 }

// Inspect compares the files on disk with the header. Nothing is written. An error means that the package cannot be
// rebuilt at all; what is merely not on disk is in the Report.
func Inspect(r *rootfs.Root, h *rpmhdr.Header) (Report, error) {
	p, err := load(h)
	if err != nil {
		return Report{NEVRA: h.NEVRA()}, err
	}
	p.inspect(r)
	return p.report(), nil
}

func (p *pkg) inspect(r *rootfs.Root) {
	for i := range p.files {
		f := &p.files[i]
		f.content = i
		f.state = Intact
		if f.ghost() || !f.regular() || f.size == 0 {
			continue
		}
		f.state, f.err = p.compare(r, f)
	}
	// Of the names of one file, one with its content is enough.
	for i := range p.files {
		f := &p.files[i]
		if f.state == Intact || len(f.links) < 2 {
			continue
		}
		for _, j := range f.links {
			if g := &p.files[j]; g.state == Intact && g.content == j && g.digest == f.digest {
				f.state, f.content = Intact, j
				break
			}
		}
	}
}

// compare reads one regular file.
func (p *pkg) compare(r *rootfs.Root, f *pkgFile) (FileState, error) {
	fi, err := r.Lstat(f.disk)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err == nil && !fi.Mode().IsRegular():
		if f.absent {
			return NotInstalled, nil
		}
		return MissingFile, nil
	case err != nil:
		return Unreadable, err
	}
	differs := Modified
	if f.flags&flagConfig != 0 {
		differs = ModifiedConfig
	}
	if fi.Size() != f.size {
		return differs, nil
	}
	in, err := r.OpenFile(f.disk)
	if err != nil {
		return Unreadable, err
	}
	defer in.Close()
	h := newHash(p.algo)
	if _, err := io.Copy(h, io.LimitReader(in, f.size+1)); err != nil {
		return Unreadable, err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.digest {
		return differs, nil
	}
	return Intact, nil
}

func (p *pkg) report() Report {
	rep := Report{NEVRA: p.h.NEVRA()}
	for i := range p.files {
		f := &p.files[i]
		if f.ghost() {
			rep.Ghosts++
			continue
		}
		rep.Packed++
		if f.regular() && (len(f.links) < 2 || last(f.links) == i) {
			rep.ContentSize += f.size
		}
		if f.state == Intact {
			continue
		}
		one := File{Path: f.disk, State: f.state, Size: f.size}
		if f.err != nil {
			one.Err = f.err.Error()
		}
		rep.Files = append(rep.Files, one)
	}
	return rep
}
