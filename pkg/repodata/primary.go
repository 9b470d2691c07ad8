package repodata

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// Limits of primary and filelists. RHEL's largest repositories hold some
// 60,000 packages; kernel-debug-devel lists some 25,000 files.
const (
	maxPackages = 1 << 20
	maxPerPkg   = 1 << 20 // entries and files of one package
	maxEntries  = 1 << 27 // of a repository
)

// Package is one <package> of primary.xml. Sizes are bytes, times seconds since
// 1970. Strings are as given by the repository.
type Package struct {
	NEVRA        rpmver.NEVRA
	Pkgid        string // checksum of the .rpm file, hex
	ChecksumType string // "sha256", "sha", "sha512" ...
	Location     string // path below the repository, or below LocationBase
	LocationBase string // xml:base, mostly empty: a URL to use in place of the repository's

	SizePackage   int64 // of the .rpm file
	SizeInstalled int64
	SizeArchive   int64
	BuildTime     int64

	SourceRPM string
	Vendor    string
	BuildHost string

	Requires    []rpmver.Dep
	Provides    []rpmver.Dep
	Conflicts   []rpmver.Dep
	Obsoletes   []rpmver.Dep
	Recommends  []rpmver.Dep
	Suggests    []rpmver.Dep
	Supplements []rpmver.Dep
	Enhances    []rpmver.Dep

	Files []string // those that primary lists: below /etc, bin and sbin folders, sendmail
}

// Deps returns the entries of one kind.
func (p *Package) Deps(k DepKind) []rpmver.Dep { return *p.deps(k) }

func (p *Package) deps(k DepKind) *[]rpmver.Dep {
	return [...]*[]rpmver.Dep{&p.Requires, &p.Provides, &p.Conflicts, &p.Obsoletes,
		&p.Recommends, &p.Suggests, &p.Supplements, &p.Enhances}[k]
}

// DepKind names a dependency list of a package.
type DepKind uint8

// The dependency lists of primary.xml.
const (
	Requires DepKind = iota
	Provides
	Conflicts
	Obsoletes
	Recommends
	Suggests
	Supplements
	Enhances
	depKinds
)

var depKindNames = [depKinds]string{"requires", "provides", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"}

// String returns the element's name: "requires", "provides", ...
func (k DepKind) String() string {
	if k < depKinds {
		return depKindNames[k]
	}
	return "unknown"
}

// rawDep is an <rpm:entry>; the slices are valid during the call.
type rawDep struct {
	name, ver, rel []byte
	epoch          uint32
	flags          rpmver.Sense
	raw            []byte // the attributes as written, nil where they took a second look
}

// rawPackage is a <package> without its lists; the slices are valid during the
// call.
type rawPackage struct {
	name, arch, ver, rel         []byte
	epoch                        uint32
	pkgid, cksumType             []byte
	location, locationBase       []byte
	sourceRPM, vendor, buildHost []byte
	size, installed, archive     int64
	buildTime                    int64
}

// primarySink takes what primary.xml holds as it is read. The lists of a
// package come before pkg is called.
type primarySink interface {
	dep(k DepKind, d *rawDep) error
	file(path []byte, t FileType) error
	pkg(p *rawPackage) error
}

// primaryParser walks primary.xml.
type primaryParser struct {
	s       *xmlScanner
	sink    primarySink
	p       rawPackage
	d       rawDep
	arena   []byte // what p's slices point to
	seen    uint32 // elements of the package so far, one bit each
	entries int
	total   int
}

// ParsePrimary reads primary.xml (uncompressed) and calls fn for every package;
// fn's error ends the reading and is returned. declared is the packages
// attribute of the document, -1 where it has none; a document that holds
// another number of packages is an error, found after fn saw them. Errors wrap
// ErrMalformed or ErrTooLarge, or are r's own.
//
// Elements are known by their local names, whatever their prefix; unknown ones
// are passed over. Packages of a type other than "rpm" are counted, and not
// given to fn. Values that other readers would choose between, an element given
// twice, are errors.
func ParsePrimary(r io.Reader, fn func(*Package) error) (declared int, err error) {
	return parsePrimary(r, &packageSink{fn: fn, strings: map[string]string{}})
}

func parsePrimary(r io.Reader, sink primarySink) (declared int, err error) {
	pp := &primaryParser{s: newXMLScanner("primary metadata", r), sink: sink}
	return readPackages(pp.s, pp.readPackage, "metadata")
}

// readPackages walks the root element, which must have one of the names given.
func readPackages(s *xmlScanner, readPackage func() error, roots ...string) (int, error) {
	t, err := s.next()
	if err != nil {
		return 0, err
	}
	if t != tokStart || !slices.Contains(roots, string(s.local)) {
		return 0, s.fail(fmt.Sprintf("the root element is <%.40s>, not <%s>", s.local, roots[0]))
	}
	declared := -1
	if v, ok := s.attr("packages"); ok {
		n, err := strconv.ParseUint(string(v), 10, 31)
		if err != nil {
			return 0, s.fail("bad number of packages")
		}
		if n > maxPackages {
			return 0, s.limitAt(s.r, "too many packages")
		}
		declared = int(n)
	}
	count := 0
	if !s.empty {
		for {
			if t, err = s.next(); err != nil {
				return declared, err
			}
			if t == tokEnd {
				break
			}
			if string(s.local) != "package" {
				if err := s.skip(); err != nil {
					return declared, err
				}
				continue
			}
			if count++; count > maxPackages {
				return declared, s.limitAt(s.r, "too many packages")
			}
			if err := readPackage(); err != nil {
				return declared, err
			}
		}
	}
	// Comments and white space may follow, nothing else.
	if _, err := s.next(); err != nil {
		return declared, err
	}
	if declared >= 0 && count != declared {
		return declared, s.fail(fmt.Sprintf("%d packages where %d are declared", count, declared))
	}
	return declared, nil
}

// attr returns an attribute of the start tag just read, by its name without
// prefix.
func (s *xmlScanner) attr(name string) ([]byte, bool) {
	for i := range s.attrs {
		if string(s.attrs[i].local) == name {
			return s.attrs[i].value, true
		}
	}
	return nil, false
}

// Bits of primaryParser.seen.
const (
	seenName = 1 << iota
	seenArch
	seenVersion
	seenChecksum
	seenTime
	seenSize
	seenLocation
	seenFormat
	seenVendor
	seenBuildHost
	seenSourceRPM
	seenLists // the first of depKinds bits
)

func (pp *primaryParser) once(bit uint32) error {
	if pp.seen&bit != 0 {
		return pp.s.fail(fmt.Sprintf("<%.40s> given twice in package %.200q", pp.s.local, pp.p.name))
	}
	pp.seen |= bit
	return nil
}

// own copies a value that must outlive the scanner's next step.
func (pp *primaryParser) own(b []byte) []byte {
	n := len(pp.arena)
	pp.arena = append(pp.arena, b...)
	return pp.arena[n:len(pp.arena):len(pp.arena)]
}

func (pp *primaryParser) text(bit uint32, dst *[]byte) error {
	if err := pp.once(bit); err != nil {
		return err
	}
	b, err := pp.s.content()
	*dst = pp.own(b)
	return err
}

func (pp *primaryParser) readPackage() error {
	s := pp.s
	if t, ok := s.attr("type"); ok && string(t) != "rpm" {
		return s.skip()
	}
	pp.p = rawPackage{}
	pp.arena = pp.arena[:0]
	pp.seen = 0
	pp.entries = 0
	if !s.empty {
		for {
			t, err := s.next()
			if err != nil {
				return err
			}
			if t == tokEnd {
				break
			}
			if err := pp.packageChild(); err != nil {
				return err
			}
		}
	}
	for _, m := range [...]struct {
		bit  uint32
		v    []byte
		what string
	}{{seenName, pp.p.name, "name"}, {seenArch, pp.p.arch, "arch"}, {seenVersion, pp.p.ver, "version"},
		{seenChecksum, pp.p.pkgid, "checksum"}, {seenLocation, pp.p.location, "location"}} {
		if pp.seen&m.bit == 0 || len(m.v) == 0 {
			return s.fail(fmt.Sprintf("package %.200q has no %s", pp.p.name, m.what))
		}
	}
	return pp.sink.pkg(&pp.p)
}

func (pp *primaryParser) packageChild() error {
	s, p := pp.s, &pp.p
	switch string(s.local) {
	case "name":
		return pp.text(seenName, &p.name)
	case "arch":
		return pp.text(seenArch, &p.arch)
	case "version":
		if err := pp.once(seenVersion); err != nil {
			return err
		}
		ver, _ := s.attr("ver")
		rel, _ := s.attr("rel")
		epoch, _ := s.attr("epoch")
		p.ver, p.rel = pp.own(ver), pp.own(rel)
		var err error
		if p.epoch, err = pp.epoch(epoch); err != nil {
			return err
		}
	case "checksum":
		t, _ := s.attr("type")
		p.cksumType = pp.own(t)
		return pp.text(seenChecksum, &p.pkgid)
	case "time":
		if err := pp.once(seenTime); err != nil {
			return err
		}
		if err := pp.number("build", &p.buildTime); err != nil {
			return err
		}
	case "size":
		if err := pp.once(seenSize); err != nil {
			return err
		}
		if err := pp.number("package", &p.size); err != nil {
			return err
		}
		if err := pp.number("installed", &p.installed); err != nil {
			return err
		}
		if err := pp.number("archive", &p.archive); err != nil {
			return err
		}
	case "location":
		if err := pp.once(seenLocation); err != nil {
			return err
		}
		href, _ := s.attr("href")
		base, _ := s.attr("base")
		p.location, p.locationBase = pp.own(href), pp.own(base)
	case "format":
		if err := pp.once(seenFormat); err != nil {
			return err
		}
		return pp.format()
	}
	return s.skip()
}

func (pp *primaryParser) format() error {
	s, p := pp.s, &pp.p
	if s.empty {
		return nil
	}
	for {
		t, err := s.next()
		if err != nil || t == tokEnd {
			return err
		}
		switch string(s.local) {
		case "vendor":
			err = pp.text(seenVendor, &p.vendor)
		case "buildhost":
			err = pp.text(seenBuildHost, &p.buildHost)
		case "sourcerpm":
			err = pp.text(seenSourceRPM, &p.sourceRPM)
		case "file":
			err = pp.file()
		case "requires":
			err = pp.list(Requires)
		case "provides":
			err = pp.list(Provides)
		case "conflicts":
			err = pp.list(Conflicts)
		case "obsoletes":
			err = pp.list(Obsoletes)
		case "recommends":
			err = pp.list(Recommends)
		case "suggests":
			err = pp.list(Suggests)
		case "supplements":
			err = pp.list(Supplements)
		case "enhances":
			err = pp.list(Enhances)
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (pp *primaryParser) list(k DepKind) error {
	s := pp.s
	if err := pp.once(seenLists << k); err != nil {
		return err
	}
	if s.empty {
		return nil
	}
	for {
		// All but a few entries are in the form that createrepo_c writes.
		for s.plainEntry(&pp.d) {
			if err := pp.count(); err != nil {
				return err
			}
			if err := pp.sink.dep(k, &pp.d); err != nil {
				return err
			}
		}
		t, err := s.next()
		if err != nil || t == tokEnd {
			return err
		}
		if string(s.local) == "entry" {
			if err := pp.entry(k); err != nil {
				return err
			}
		}
		if !s.empty {
			if err := s.skip(); err != nil {
				return err
			}
		}
	}
}

func (pp *primaryParser) count() error {
	pp.entries++
	pp.total++
	if pp.entries > maxPerPkg || pp.total > maxEntries {
		return pp.s.limitAt(pp.s.r, "too many entries")
	}
	return nil
}

func (pp *primaryParser) file() error {
	if err := pp.count(); err != nil {
		return err
	}
	t, err := fileType(pp.s)
	if err != nil {
		return err
	}
	path, err := pp.s.content()
	if err != nil {
		return err
	}
	return pp.sink.file(path, t)
}

func (pp *primaryParser) epoch(b []byte) (uint32, error) {
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, pp.s.fail(fmt.Sprintf("bad epoch %.40q", b))
		}
		if n = n*10 + uint64(c-'0'); n > 1<<32-1 {
			return 0, pp.s.fail(fmt.Sprintf("bad epoch %.40q", b))
		}
	}
	return uint32(n), nil
}

// number reads an attribute; absent or empty means 0. Old createrepo wrote
// installed sizes beyond 2 GiB as negative numbers: they are kept as given.
func (pp *primaryParser) number(attr string, dst *int64) error {
	v, _ := pp.s.attr(attr)
	if len(v) == 0 {
		return nil
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return pp.s.fail(fmt.Sprintf("bad number %.40q", v))
	}
	*dst = n
	return nil
}

// packageSink makes Package values.
type packageSink struct {
	fn      func(*Package) error
	cur     Package
	strings map[string]string
}

// str keeps one copy of what recurs: names, versions, vendors.
func (k *packageSink) str(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := k.strings[string(b)]; ok {
		return s
	}
	if len(k.strings) >= 1<<16 {
		clear(k.strings)
	}
	s := string(b)
	k.strings[s] = s
	return s
}

func (k *packageSink) dep(kind DepKind, d *rawDep) error {
	l := k.cur.deps(kind)
	*l = append(*l, rpmver.Dep{Name: k.str(d.name), Flags: d.flags,
		EVR: rpmver.EVR{Epoch: d.epoch, Version: k.str(d.ver), Release: k.str(d.rel)}})
	return nil
}

func (k *packageSink) file(path []byte, _ FileType) error {
	k.cur.Files = append(k.cur.Files, k.str(path))
	return nil
}

func (k *packageSink) pkg(p *rawPackage) error {
	c := k.cur
	k.cur = Package{}
	c.NEVRA = rpmver.NEVRA{Name: k.str(p.name), Arch: k.str(p.arch),
		EVR: rpmver.EVR{Epoch: p.epoch, Version: k.str(p.ver), Release: k.str(p.rel)}}
	c.Pkgid, c.ChecksumType = string(p.pkgid), k.str(p.cksumType)
	c.Location, c.LocationBase = string(p.location), k.str(p.locationBase)
	c.SizePackage, c.SizeInstalled, c.SizeArchive, c.BuildTime = p.size, p.installed, p.archive, p.buildTime
	c.SourceRPM, c.Vendor, c.BuildHost = k.str(p.sourceRPM), k.str(p.vendor), k.str(p.buildHost)
	return k.fn(&c)
}
