package repodata

import (
	"fmt"
	"io"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// FileType is the type attribute of a <file>.
type FileType uint8

// What a package lists.
const (
	Regular FileType = iota // no type given: a file, link or device
	Dir
	Ghost // not in the package, owned by it
	fileTypes
)

// String returns the attribute's value: "file" (the default), "dir", "ghost".
func (t FileType) String() string {
	if t < fileTypes {
		return [...]string{"file", "dir", "ghost"}[t]
	}
	return "unknown"
}

func fileType(s *xmlScanner) (FileType, error) {
	v, _ := s.attr("type")
	switch string(v) {
	case "", "file":
		return Regular, nil
	case "dir":
		return Dir, nil
	case "ghost":
		return Ghost, nil
	}
	return 0, s.fail(fmt.Sprintf("unknown file type %.40q", v))
}

// File is one entry of filelists.xml.
type File struct {
	Path string
	Type FileType
}

// filelistsSink takes what filelists.xml holds as it is read. The files of a
// package come before pkg is called.
type filelistsSink interface {
	file(path []byte, t FileType) error
	pkg(p *rawPackage) error
}

type filelistsParser struct {
	primaryParser
	files filelistsSink
}

// ParseFilelists reads filelists.xml or filelists-ext.xml (uncompressed) and
// calls fn for every package, with the pkgid that primary has for it; fn's
// error ends the reading and is returned. Errors are as for ParsePrimary.
func ParseFilelists(r io.Reader, fn func(pkgid, name, arch string, evr rpmver.EVR, files []File) error) error {
	return parseFilelists(r, &fileSink{fn: fn})
}

func parseFilelists(r io.Reader, sink filelistsSink) error {
	fp := &filelistsParser{files: sink}
	fp.s = newXMLScanner("filelists", r)
	_, err := readPackages(fp.s, fp.readFiles, "filelists", "filelists-ext")
	return err
}

func (fp *filelistsParser) readFiles() error {
	s, p := fp.s, &fp.p
	*p = rawPackage{}
	fp.arena = fp.arena[:0]
	fp.seen = 0
	fp.entries = 0
	pkgid, _ := s.attr("pkgid")
	name, _ := s.attr("name")
	arch, _ := s.attr("arch")
	p.pkgid, p.name, p.arch = fp.own(pkgid), fp.own(name), fp.own(arch)
	if len(p.pkgid) == 0 {
		return s.fail(fmt.Sprintf("package %.200q has no pkgid", p.name))
	}
	if !s.empty {
		for {
			t, err := s.next()
			if err != nil {
				return err
			}
			if t == tokEnd {
				break
			}
			switch string(s.local) {
			case "file":
				if err = fp.count(); err != nil {
					return err
				}
				typ, err := fileType(s)
				if err != nil {
					return err
				}
				path, err := s.content()
				if err != nil {
					return err
				}
				if err := fp.files.file(path, typ); err != nil {
					return err
				}
			case "version":
				err = fp.packageChild()
			default:
				err = s.skip()
			}
			if err != nil {
				return err
			}
		}
	}
	return fp.files.pkg(p)
}

type fileSink struct {
	fn  func(pkgid, name, arch string, evr rpmver.EVR, files []File) error
	cur []File
}

func (k *fileSink) file(path []byte, t FileType) error {
	k.cur = append(k.cur, File{string(path), t})
	return nil
}

func (k *fileSink) pkg(p *rawPackage) error {
	files := k.cur
	k.cur = nil
	return k.fn(string(p.pkgid), string(p.name), string(p.arch),
		rpmver.EVR{Epoch: p.epoch, Version: string(p.ver), Release: string(p.rel)}, files)
}
