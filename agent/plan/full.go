package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// StreamMissing is the finding that a module stream of the host does not exist
// in AlmaLinux: no more than a warning where the packages stay, a blocker where
// all of them move.
const StreamMissing = "pkg.module-stream-missing"

// full adds what goes beyond the swap of the identity: every package that
// AlmaLinux has another build of, what these need, kernels beside the old ones.
func (p *Plan) full(in Input, s *swap) error {
	if in.Assessment == nil || in.Assessment.Moves == nil {
		return fmt.Errorf("cannot plan a full migration: %w: not every enabled repository could be read", ErrNoTarget)
	}
	m := in.Assessment.Moves
	names := map[string]bool{} // arrivals of the swap
	for _, c := range s.coming {
		names[c.pkg.NEVRA.Name+"."+c.pkg.NEVRA.Arch] = true
	}
	came := map[rpmver.NEVRA]bool{}
	for _, c := range m.Coming {
		n := c.Package.NEVRA
		if names[n.Name+"."+n.Arch] {
			came[n] = true
			continue
		}
		if err := checkPick(c.Repo, c.Package); err != nil {
			return err
		}
		p.come(c.Repo, c.Package, string(c.Kind), c.Why)
	}
	gone := map[string]bool{}
	for _, l := range m.Leaving {
		if _, ok := s.leaving[l.Row]; ok {
			continue
		}
		q := &in.Inventory.Packages[l.Row]
		gone[q.NEVRA().String()] = true
		p.leave(q, string(l.Kind), l.Why)
	}
	// What the catalogue drops leaves now; what stays all the same is told.
	p.Staying = slices.DeleteFunc(p.Staying, func(n Note) bool { return gone[n.NEVRA] })
	for _, k := range m.Staying {
		note := Note{in.Inventory.Packages[k.Row].NEVRA().String(), k.Why}
		p.Staying = slices.DeleteFunc(p.Staying, func(n Note) bool { return n.NEVRA == note.NEVRA })
		p.Staying = append(p.Staying, note)
	}
	p.sort()
	if len(p.Leaving)+len(p.Coming) == 0 {
		return fmt.Errorf("cannot plan: %w: every package is AlmaLinux's already, or stays as it is", ErrNothing)
	}
	p.streams(in)
	p.boot(in)
	switch p.RollbackDepth {
	case RollbackBranding:
		p.NotRestorable = append(p.NotRestorable,
			fmt.Sprintf("%s beyond the branding: they stay AlmaLinux's (--rollback-depth branding)", count(len(p.Others().Leaving), "package")))
	case RollbackNone:
		p.NotRestorable = append(p.NotRestorable, "anything, once the migration is done: the saved packages and files are removed then (--rollback-depth none)")
	default:
		p.NotRestorable = append(p.NotRestorable,
			"users and groups that packages added: they stay",
			"data that programs convert when they first run in AlmaLinux's version, e.g. databases below /var/lib")
	}
	return nil
}

// streams notes under which names the enabled module streams go on.
func (p *Plan) streams(in Input) {
	for _, m := range in.Inventory.DNF.Modules {
		if m.State == "enabled" && m.Stream != "" {
			p.Streams = append(p.Streams, Stream{m.Name, m.Stream, in.Catalog.MapStream(m.Stream)})
		}
	}
	slices.SortFunc(p.Streams, func(a, b Stream) int { return strings.Compare(a.Module, b.Module) })
}

// renamed are the streams whose name changes.
func (p *Plan) renamed() (out []Stream) {
	for _, s := range p.Streams {
		if s.From != s.To {
			out = append(out, s)
		}
	}
	return out
}

func (p *Plan) fullSteps() (out []Step) {
	if p.Depth != DepthFull {
		return nil
	}
	if n := len(p.renamed()); n > 0 {
		out = append(out, Step{StepMapStreams, fmt.Sprintf("give %s the name that it has in AlmaLinux", count(n, "module stream"))})
	}
	if o := p.Others(); len(o.Leaving)+len(o.Coming) > 0 {
		out = append(out, Step{StepSyncPackages, fmt.Sprintf("replace %s by %s of AlmaLinux in one rpm transaction", count(len(o.Leaving), "package"), fmt.Sprint(len(o.Coming)))})
	}
	return out
}

// fullSpace takes the needs of each mounted file system from the assessment:
// downloads, what is saved, growth, rpm's write-ahead log.
func (p *Plan) fullSpace(in Input) {
	for _, l := range p.Leaving {
		p.RollbackBytes += int64(min(l.Size, 1<<40))
	}
	if p.RollbackDepth != RollbackFull {
		p.RollbackBytes = 0
		for _, l := range p.Branding().Leaving {
			p.RollbackBytes += int64(min(l.Size, 1<<40))
		}
	}
	for _, n := range in.Assessment.Space {
		s := Space{Path: n.Mount, Free: int64(min(n.Free, 1<<62))}
		var what []string
		for _, part := range n.Parts {
			if part.What == assess.SavedPackages && p.RollbackDepth != RollbackFull {
				part.Bytes = uint64(p.RollbackBytes)
			}
			s.Need += int64(min(part.Bytes, 1<<50))
			if part.Bytes >= 1<<20 {
				what = append(what, fmt.Sprintf("%s %s", part.What, size(int64(min(part.Bytes, 1<<50)))))
			}
		}
		s.For = strings.Join(what, ", ")
		p.Space = append(p.Space, s)
	}
	p.Seconds = 20 + (len(p.Leaving)+len(p.Coming))/6 + int(p.Download()>>22) + int(p.RollbackBytes>>26)
}
