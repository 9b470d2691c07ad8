package assess

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/boot"
)

// What a move needs beside the packages themselves, in bytes. Each figure is
// for one host; the sum is shown with the finding.
const (
	kib = 1 << 10
	mib = 1 << 20

	// rpm keeps a whole transaction in the write-ahead log of its SQLite
	// database: 32 MB were measured for 248 packages whose headers have 1.4 MB
	// in all, and a transaction that meets a full disk there dies half way.
	// Beside the fixed part for each package every header is written about
	// twice: once into the log, once into the database.
	walPerPackage = 128 * kib
	// Berkeley DB (EL 7, EL 8) has no such log; pages of its indexes split.
	bdbPerPackage = 16 * kib

	stateReserve = 80 * mib // journal and saved files of /etc and /boot, and room that is held for the way back
	logReserve   = 16 * mib // /var/log, dnf's history
	etcReserve   = 8 * mib  // new configuration files beside the old ones

	// Files that running programs hold open are freed only when they end.
	heldPercent = 10

	kernelDefault   = 160 * mib // a kernel in /boot where none is there to measure
	tightBytes      = 100 * mib // what should be left on a file system of the system
	tightPercent    = 3
	tightSmallBytes = 4 * mib // on /boot and the ESP
)

// stateDir is where a change keeps what it fetched and what it saved.
const stateDir = "/var/lib/almamigrate"

// SavedPackages is the part of a need that is saved for the way back.
const SavedPackages = "saved packages for the way back"

// SpaceNeed is what the move needs on one mounted file system.
type SpaceNeed struct {
	Mount      string      `json:"mount"`
	Free       uint64      `json:"free"`      // bytes, those reserved for root included
	Available  uint64      `json:"available"` // bytes for everybody
	Need       uint64      `json:"need"`      // bytes, the sum of Parts
	Parts      []SpacePart `json:"parts"`     // largest first
	Inodes     uint64      `json:"inodes"`    // free; 0 where the file system makes them as needed
	InodesNeed uint64      `json:"inodes_need"`
}

// SpacePart is one thing that needs space.
type SpacePart struct {
	What  string `json:"what"`
	Bytes uint64 `json:"bytes"`
}

// space adds up needs by mount.
type space struct {
	mounts  []inventory.Mount
	needs   map[string]*SpaceNeed
	borders []border

	count []int          // of shares: files in each folder of a package
	sum   map[string]int // of shares: files on each mount
}

// border is a folder, with a slash at the end, below which another mount is.
type border struct{ dir, point string }

// mountOf finds the mount of a path. The inventory has followed the links of
// the places that matter; below them, and elsewhere, mount points decide.
func (s *space) mountOf(path string) *inventory.Mount {
	var best *inventory.Mount
	longest := 0
	for i := range s.mounts {
		m := &s.mounts[i]
		for _, p := range m.Holds {
			if boot.Under(path, p) && len(p) >= longest {
				best, longest = m, len(p)
			}
		}
	}
	for i := range s.mounts {
		if m := &s.mounts[i]; boot.Under(path, m.Point) && (best == nil || len(m.Point) > longest) {
			best, longest = m, len(m.Point)
		}
	}
	return best
}

func (s *space) need(path string) *SpaceNeed {
	m := s.mountOf(path)
	if m == nil || !m.Known {
		return nil
	}
	n := s.needs[m.Point]
	if n == nil {
		n = &SpaceNeed{Mount: m.Point, Free: m.Free, Available: m.Available, Inodes: m.InodesFree, Parts: []SpacePart{}}
		if m.Inodes == 0 {
			n.Inodes = 0
		}
		s.needs[m.Point] = n
	}
	return n
}

// add notes bytes for a path and how many files they make.
func (s *space) add(path, what string, bytes, files int64) {
	n := s.need(path)
	if n == nil {
		return
	}
	if bytes > 0 {
		n.Need += uint64(bytes)
		if i := slices.IndexFunc(n.Parts, func(p SpacePart) bool { return p.What == what }); i >= 0 {
			n.Parts[i].Bytes += uint64(bytes)
		} else {
			n.Parts = append(n.Parts, SpacePart{what, uint64(bytes)})
		}
	}
	if files > 0 {
		n.InodesNeed += uint64(files)
	}
}

// merged are the folders that are links below /usr on EL 7 and later; packages
// may name either.
var merged = []string{"/bin/", "/sbin/", "/lib/", "/lib64/"}

// split finds the folders below which another mount begins, the deepest first.
// Most of a host's folders are below none of them.
func (s *space) split() {
	points := map[string]bool{}
	for _, m := range s.mounts {
		points[m.Point] = true
		for _, p := range m.Holds {
			points[p] = true
		}
	}
	for _, p := range sortedKeys(points) {
		m, up := s.mountOf(p), s.mountOf(path.Dir(p))
		if m == nil || p == "/" || up != nil && up.Point == m.Point {
			continue
		}
		s.borders = append(s.borders, border{strings.TrimSuffix(p, "/") + "/", m.Point})
		if p == "/usr" {
			for _, l := range merged {
				s.borders = append(s.borders, border{l, m.Point})
			}
		}
	}
	slices.SortStableFunc(s.borders, func(x, y border) int { return cmp.Compare(len(y.dir), len(x.dir)) })
}

// pointOf is the mount point of a folder, which ends with a slash.
func (s *space) pointOf(dir string) string {
	for i := range s.borders {
		if strings.HasPrefix(dir, s.borders[i].dir) {
			return s.borders[i].point
		}
	}
	return "/"
}

// shares splits a package by the mounts that its files are on. Sizes of single
// files are not known; their number stands for them.
func (s *space) shares(p *inventory.Package, fn func(point string, share float64)) {
	all := len(p.Files.Base)
	if all == 0 {
		fn(s.pointOf("/usr/"), 1)
		return
	}
	if len(s.borders) == 0 {
		fn("/", 1)
		return
	}
	first, mixed := s.pointOf(p.Files.Dirs[0]), false
	for _, d := range p.Files.Dirs[1:] {
		if s.pointOf(d) != first {
			mixed = true
			break
		}
	}
	if !mixed {
		fn(first, 1)
		return
	}
	s.count = append(s.count[:0], make([]int, len(p.Files.Dirs))...)
	for _, d := range p.Files.DirIndex {
		s.count[d]++
	}
	clear(s.sum)
	for i, d := range p.Files.Dirs {
		s.sum[s.pointOf(d)] += s.count[i]
	}
	for point, n := range s.sum {
		fn(point, float64(n)/float64(all))
	}
}

// space computes what the move needs, mount by mount.
func (a *assessor) space() []SpaceNeed {
	env := a.inv.Environment
	if env == nil || len(env.Mounts) == 0 || a.unread {
		return nil
	}
	s := &space{mounts: env.Mounts, needs: map[string]*SpaceNeed{}, sum: map[string]int{}}
	s.split()
	var download, saved, replaced, newSum, kernels int64
	seen := map[string]bool{}
	for i := range a.judged {
		j := &a.judged[i]
		rebuilt := a.rebuilt(j)
		if !j.moves() && !j.leaves && !rebuilt {
			continue
		}
		replaced++
		old := int64(min(j.p.Size, 1<<40))
		var fetch, size int64
		if t := j.res.Target; t != nil && j.target != nil && !seen[t.NEVRA] {
			seen[t.NEVRA] = true
			fetch, size = t.Size, t.InstalledSize
			if rebuilt { // a target of the same version has no sizes
				c := j.target.full()
				fetch, size = c.SizePackage, c.SizeInstalled
			}
		}
		for _, c := range j.also {
			if n := c.nevra().String(); !seen[n] {
				seen[n] = true
				t := c.target(Newer)
				fetch, size = fetch+t.Size, size+t.InstalledSize
			}
		}
		download += fetch
		newSum += size
		saved += old // rebuilt from the disk, in the worst case without compression
		grow := size - old
		if j.group >= 0 { // stays beside the old one
			grow = size
		}
		if isKernelImage(j.p.Name) && size > 0 {
			kernels++
		}
		s.shares(j.p, func(point string, share float64) {
			switch {
			case isLoader(j.p.Name) && strings.HasPrefix(point, "/boot/efi"):
				// The new vendor's folder stands beside the old one until the end.
				s.add(point, "shim and grub", int64(float64(size)*share), 8)
			case grow > 0:
				s.add(point, "growth of installed packages", int64(float64(grow)*share), 0)
			}
		})
	}
	for _, in := range a.closure.incoming {
		if !seen[in.NEVRA] {
			seen[in.NEVRA] = true
			download += in.Size
			newSum += in.InstalledSize
			s.add("/usr", "packages that come along", in.InstalledSize, 50)
		}
	}
	if replaced == 0 {
		return nil
	}
	files := int64(len(seen))
	s.add(stateDir, "download", download, 2*files)
	s.add(stateDir, SavedPackages, saved, 2*replaced)
	s.add(stateDir, "journal and saved files", stateReserve, 500)
	headers := env.DatabaseSize * 2 * replaced / max(int64(len(a.inv.Packages)), 1)
	db := "/var/lib/rpm"
	if strings.HasPrefix(a.inv.Database.Path, "/usr/lib/sysimage") {
		db = "/usr/lib/sysimage/rpm"
	}
	perPackage := int64(walPerPackage)
	if a.inv.Database.Backend == "bdb" {
		perPackage = bdbPerPackage
	}
	s.add(db, "rpm database", replaced*perPackage+headers, 8)
	s.add("/var/log", "logs", logReserve, 10)
	s.add("/etc", "configuration", etcReserve, 100)
	s.add("/usr", "old files that running programs hold open", newSum*heldPercent/100, replaced)
	if kernels > 0 && env.Container.Kind == "" {
		one := kernelSize(env.BootFiles)
		s.add("/boot", fmt.Sprintf("%s with initramfs", plural(int(kernels), "kernel")), kernels*one, 6*kernels)
		s.add("/var/tmp", "making the initramfs", kernels*one*2, 3000)
	}
	out := make([]SpaceNeed, 0, len(s.needs))
	for _, n := range s.needs {
		slices.SortFunc(n.Parts, func(x, y SpacePart) int {
			return cmp.Or(cmp.Compare(y.Bytes, x.Bytes), strings.Compare(x.What, y.What))
		})
		out = append(out, *n)
	}
	slices.SortFunc(out, func(x, y SpaceNeed) int { return strings.Compare(x.Mount, y.Mount) })
	return out
}

// isKernelImage tells packages that put a kernel into /boot.
func isKernelImage(name string) bool {
	switch name {
	case "kernel-core", "kernel-rt-core", "kernel-64k-core", "kernel-debug-core":
		return true
	}
	return false
}

// isLoader tells packages whose files are on the ESP.
func isLoader(name string) bool {
	return strings.HasPrefix(name, "shim-") || strings.HasPrefix(name, "grub2-efi-")
}

// kernelSize is what one more kernel takes in /boot: the largest of those that
// are there, and what is usual where there is none to measure.
func kernelSize(files []boot.KernelFiles) int64 {
	var most int64
	for _, k := range files {
		// Half a kernel says little: an initramfs that is not made yet.
		if !k.Rescue && k.Image > 0 && k.Initramfs > 0 {
			most = max(most, k.Bytes())
		}
	}
	return cmp.Or(most, kernelDefault)
}

// Bytes writes a number of bytes for people.
func Bytes(n uint64) string {
	switch {
	case n >= 10*1024*mib:
		return fmt.Sprintf("%d GiB", n/1024/mib)
	case n >= 1024*mib:
		return fmt.Sprintf("%.1f GiB", float64(n)/1024/mib)
	case n >= 10*mib:
		return fmt.Sprintf("%d MiB", n/mib)
	case n >= mib:
		return fmt.Sprintf("%.1f MiB", float64(n)/mib)
	}
	return fmt.Sprintf("%d KiB", (n+kib-1)/kib)
}

func (a *assessor) findSpace() {
	a.needs = a.space()
	for i := range a.needs {
		n := &a.needs[i]
		id, small := idSpaceShort, false
		remedy := Remedy{Text: "make room, or grow the file system", Command: "df -h " + shellWord(n.Mount) + "; dnf clean all; journalctl --vacuum-size=200M"}
		switch n.Mount {
		case "/boot":
			id, small = idBootFull, true
			remedy = Remedy{Text: "remove kernels that you no longer need", Command: "dnf remove --oldinstallonly --setopt installonly_limit=2 kernel"}
		case "/boot/efi", "/efi":
			id, small = idBootESPFull, true
			remedy = Remedy{Text: "remove folders of systems that are no longer there", Command: "du -sh " + n.Mount + "/EFI/*"}
		}
		res := []Resource{{"mount", n.Mount, parts(n)}}
		title := fmt.Sprintf("%s needs %s and has %s", n.Mount, Bytes(n.Need), Bytes(n.Available))
		left := uint64(tightBytes)
		if small {
			left = tightSmallBytes
		}
		switch {
		case n.Need > n.Free:
			a.raise(Finding{
				ID: id, Severity: Blocker, Resources: res, Remedy: remedy,
				Title:  fmt.Sprintf("%s needs %s and has %s", n.Mount, Bytes(n.Need), Bytes(n.Free)),
				Detail: "A transaction that meets a full file system stops half way. It is for: " + parts(n) + ".",
			})
		case n.Need > n.Available:
			a.raise(Finding{
				ID: id, Severity: Warning, Resources: res, Remedy: remedy, Title: title,
				Detail: "It would live on what the file system keeps for root. It is for: " + parts(n) + ".",
			})
		case n.Available-n.Need < min(left, n.Available/100*tightPercent+tightSmallBytes):
			a.raise(Finding{
				ID: idSpaceTight, Severity: Warning, Resources: res, Remedy: remedy,
				Title:  fmt.Sprintf("%s would be nearly full: %s of %s are needed", n.Mount, Bytes(n.Need), Bytes(n.Available)),
				Detail: "The needs are estimates: " + parts(n) + ". What else grows in the meantime comes on top.",
			})
		}
		if n.Inodes > 0 && n.InodesNeed > n.Inodes {
			a.raise(Finding{
				ID: idSpaceInodes, Severity: Blocker, Resources: []Resource{{"mount", n.Mount, ""}},
				Title:  fmt.Sprintf("%s needs some %d inodes and has %d", n.Mount, n.InodesNeed, n.Inodes),
				Detail: "Without inodes no file can be made, however much space there is.",
				Remedy: Remedy{Text: "find and remove what makes so many files", Command: "du --inodes -xd2 " + shellWord(n.Mount) + " | sort -n | tail"},
			})
		}
	}
}

func parts(n *SpaceNeed) string {
	var out []string
	for _, p := range n.Parts {
		if p.Bytes >= mib || len(out) == 0 {
			out = append(out, fmt.Sprintf("%s %s", p.What, Bytes(p.Bytes)))
		}
	}
	return strings.Join(out, ", ")
}
