package repodata

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// modules adds what modules.yaml said, and which package belongs to which
// stream: those whose name, epoch, version, release and architecture an
// artifact names.
func (b *indexBuilder) modules(m *Modules) {
	type pair struct{ pkg, stream uint32 }
	var pairs []pair
	e := b.enc[:0]
	flush := func() {
		b.mod.write(e)
		e = e[:0]
	}
	num := func(n uint64) { e = binary.AppendUvarint(e, n) }
	str := func(s string) {
		// Summaries and messages may be longer than any name.
		if len(s) > xmlMaxValue {
			s = strings.ToValidUTF8(s[:xmlMaxValue], "")
		}
		num(uint64(b.strs.addString(s)))
	}
	flag := func(f bool) {
		if f {
			num(1)
		} else {
			num(0)
		}
	}
	list := func(l []string) {
		num(uint64(len(l)))
		for _, s := range l {
			str(s)
		}
	}
	num(uint64(len(m.Streams)))
	for i := range m.Streams {
		s := &m.Streams[i]
		str(s.Name)
		str(s.Stream)
		num(s.Version)
		str(s.Context)
		str(s.Arch)
		flag(s.Static)
		str(s.Summary)
		num(uint64(len(s.Requires)))
		for _, set := range s.Requires {
			num(uint64(len(set)))
			for _, d := range set {
				str(d.Module)
				list(d.Streams)
			}
		}
		num(uint64(len(s.Profiles)))
		for _, p := range s.Profiles {
			str(p.Name)
			flag(p.Default)
			list(p.RPMs)
		}
		num(uint64(len(s.Artifacts)))
		for _, a := range s.Artifacts {
			for _, pkg := range b.find(a) {
				pairs = append(pairs, pair{uint32(pkg), uint32(i)})
			}
			str(a.Name)
			num(uint64(a.EVR.Epoch))
			str(a.EVR.Version)
			str(a.EVR.Release)
			str(a.Arch)
		}
		flush()
	}
	num(uint64(len(m.Defaults)))
	for _, d := range m.Defaults {
		str(d.Module)
		str(d.Stream)
		num(d.Modified)
		num(uint64(len(d.Profiles)))
		for _, p := range d.Profiles {
			str(p.Stream)
			list(p.Profiles)
		}
		flush()
	}
	num(uint64(len(m.Obsoletes)))
	for _, o := range m.Obsoletes {
		for _, s := range [...]string{o.Module, o.Stream, o.Context, o.Modified, o.EOLDate, o.Message, o.ByModule, o.ByStream} {
			str(s)
		}
		flag(o.Reset)
	}
	list(m.Skipped)
	flush()
	b.enc = e

	slices.SortFunc(pairs, func(x, y pair) int { return cmp.Or(cmp.Compare(x.pkg, y.pkg), cmp.Compare(x.stream, y.stream)) })
	for _, p := range slices.Compact(pairs) {
		b.pkgMod.u32(p.pkg)
		b.pkgMod.u32(p.stream)
	}
}

// Modules decodes what modules.yaml said; never nil. Nothing is cached: keep
// the value where it is needed more than once.
func (ix *Index) Modules() *Modules {
	m := &Modules{}
	c := ix.cursor(secModules, 0)
	for range c.count() {
		s := Stream{Name: c.str(), Stream: c.str(), Version: c.num(), Context: c.str(), Arch: c.str(), Static: c.num() != 0, Summary: c.str()}
		for range c.count() {
			var set []ModuleDep
			for range c.count() {
				set = append(set, ModuleDep{c.str(), c.strs()})
			}
			s.Requires = append(s.Requires, set)
		}
		for range c.count() {
			p := Profile{Name: c.str(), Default: c.num() != 0}
			p.RPMs = c.strs()
			s.Profiles = append(s.Profiles, p)
		}
		n := c.count()
		s.Artifacts = make([]rpmver.NEVRA, 0, n)
		for range n {
			a := rpmver.NEVRA{Name: c.str()}
			a.EVR.Epoch = uint32(c.num())
			a.EVR.Version, a.EVR.Release, a.Arch = c.str(), c.str(), c.str()
			s.Artifacts = append(s.Artifacts, a)
		}
		if c.bad {
			break
		}
		m.Streams = append(m.Streams, s)
	}
	for range c.count() {
		d := ModuleDefaults{Module: c.str(), Stream: c.str(), Modified: c.num()}
		for range c.count() {
			d.Profiles = append(d.Profiles, StreamProfiles{c.str(), c.strs()})
		}
		if c.bad {
			break
		}
		m.Defaults = append(m.Defaults, d)
	}
	for range c.count() {
		o := ModuleObsoletes{}
		for _, s := range [...]*string{&o.Module, &o.Stream, &o.Context, &o.Modified, &o.EOLDate, &o.Message, &o.ByModule, &o.ByStream} {
			*s = c.str()
		}
		o.Reset = c.num() != 0
		if c.bad {
			break
		}
		m.Obsoletes = append(m.Obsoletes, o)
	}
	m.Skipped = c.strs()
	c.done()
	return m
}

// StreamsOf returns the indexes into Modules().Streams of the streams that
// package i is an artifact of, nil for a package of no module.
func (ix *Index) StreamsOf(i int) []int {
	sec := ix.secs[secPackageStreams]
	if i < 0 || i >= ix.Len() {
		return nil
	}
	pkg := func(k int) int { return int(binary.LittleEndian.Uint32(sec[8*k:])) }
	n := len(sec) / 8
	k := sort.Search(n, func(k int) bool { return pkg(k) >= i })
	var out []int
	for ; k < n && pkg(k) == i; k++ {
		out = append(out, int(binary.LittleEndian.Uint32(sec[8*k+4:])))
	}
	return out
}

// Modular reports whether package i is an artifact of any stream.
func (ix *Index) Modular(i int) bool { return len(ix.StreamsOf(i)) > 0 }
