package fleet

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// kind is hosts that are alike as far as the reports tell: the same
// distribution and major version, architecture and findings.
type kind struct {
	key   string
	hosts []*Host
}

// likeness is what hosts of one kind have in common; the warnings come last.
func likeness(h *Host) []string {
	return append([]string{h.Distro, fmt.Sprint(h.Major), h.Arch, h.State}, h.Warnings...)
}

func kinds(hosts []*Host, key func(*Host) []string) []*kind {
	byKey := map[string]*kind{}
	for _, h := range hosts {
		k := strings.Join(key(h), "\x00")
		if byKey[k] == nil {
			byKey[k] = &kind{key: k}
		}
		byKey[k].hosts = append(byKey[k].hosts, h)
	}
	out := make([]*kind, 0, len(byKey))
	for _, k := range byKey {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b *kind) int { return cmp.Or(len(b.hosts)-len(a.hosts), strings.Compare(a.key, b.key)) })
	return out
}

// plan puts the hosts that are ready into waves, and the others into groups.
//
// The canaries are one host of each kind, of the kinds with most hosts first
// if there are too many kinds. The waves after them are each about twice the
// one before. They are filled kind by kind, those with the fewest warnings
// first, so that what goes wrong in a wave has few possible reasons. Hosts of
// a kind without a canary come last.
func (f *Fleet) plan(hosts []*Host, opt Options) {
	var ready []*Host
	held := map[Status][]*Host{}
	for _, h := range hosts {
		if h.Status == Ready {
			ready = append(ready, h)
		} else {
			held[h.Status] = append(held[h.Status], h)
		}
	}
	for _, s := range []Status{Blocked, NoVerdict, Stale, AlmaLinux} {
		for _, k := range kinds(held[s], func(h *Host) []string {
			if s == Blocked {
				return h.Blockers
			}
			return nil
		}) {
			g := Group{Status: s, Findings: []string{}, Hosts: names(k.hosts)}
			if s == Blocked {
				g.Findings = k.hosts[0].Blockers
			}
			f.Groups = append(f.Groups, g)
		}
	}
	if len(ready) == 0 {
		return
	}
	alike := kinds(ready, likeness)
	canaries := opt.Canaries
	if canaries == 0 {
		canaries = max(10, len(ready)/50)
	}
	canaries = min(canaries, len(alike))
	var first, rest []*Host
	proven, unproven := []*kind{}, []*kind{}
	for i, k := range alike {
		if i < canaries {
			first = append(first, k.hosts[0])
			k.hosts = k.hosts[1:]
			proven = append(proven, k)
		} else {
			unproven = append(unproven, k)
		}
	}
	easy := func(a, b *kind) int {
		return cmp.Or(strings.Count(a.key, "\x00")-strings.Count(b.key, "\x00"), len(b.hosts)-len(a.hosts), strings.Compare(a.key, b.key))
	}
	slices.SortFunc(proven, easy)
	slices.SortFunc(unproven, easy)
	for _, k := range append(proven, unproven...) {
		rest = append(rest, k.hosts...)
	}
	f.wave("canary", first)
	for i, n := range sizes(len(rest), opt.Waves) {
		f.wave(fmt.Sprintf("wave%d", i+1), rest[:n])
		rest = rest[n:]
	}
}

func (f *Fleet) wave(name string, hosts []*Host) {
	seen := map[string]bool{}
	for _, h := range hosts {
		h.Wave = name
		seen[strings.Join(likeness(h), "\x00")] = true
	}
	f.Waves = append(f.Waves, Wave{Name: name, Kinds: len(seen), Hosts: names(hosts)})
}

// sizes divides n hosts into waves, each about twice the one before.
func sizes(n, waves int) []int {
	if n == 0 {
		return nil
	}
	if waves <= 0 {
		waves = min(max(bits.Len(uint(n/5))-1, 1), 8)
	}
	waves = min(waves, n, 30)
	total := 1<<waves - 1
	var out []int
	given := 0
	for i := range waves {
		upTo := max((1<<(i+1)-1)*n/total, i+1)
		if i == waves-1 {
			upTo = n
		}
		upTo = min(upTo, n-(waves-1-i)) // every wave has a host
		out = append(out, upTo-given)
		given = upTo
	}
	return out
}

func names(hosts []*Host) []string {
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		out = append(out, h.Name)
	}
	return out
}
