package capture

import "sort"

// Status is what has become of a path since it was saved.
type Status string

// The statuses.
const (
	// Unchanged: as it was saved; at most its time differs.
	Unchanged Status = "unchanged"
	// AsWeLeftIt: as RecordAfter found it when the change was done.
	AsWeLeftIt Status = "as-we-left-it"
	// ChangedByOthers: the change did not touch it, others have since.
	ChangedByOthers Status = "changed-by-others"
	// ChangedSince: the change touched it, and others have since: both sides are kept.
	ChangedSince Status = "changed-since"
	// Unknown: not as it was saved, and RecordAfter never ran, since the change was interrupted. Treated as ours, with a copy kept.
	Unknown Status = "unknown"
)

// Difference is the three-way comparison of one path.
type Difference struct {
	Path    Name   `json:"path"`
	Status  Status `json:"status"`
	Saved   Entry  `json:"saved"`
	Current Entry  `json:"current"`
	// Aspects in which the current state differs from the saved one: kind, content, target, device, mode, owner, flags,
	// "xattr NAME", mtime.
	Aspects []string `json:"aspects,omitempty"`
}

// Compare tells, for every saved path and for everything that is now below those that are folders, what has become of it.
// after is what the change left, from Saved.After; nil if that is not known. Sorted by path.
func (s *Saved) Compare(root string, after *State) ([]Difference, error) {
	t, err := openTree(root)
	if err != nil {
		return nil, err
	}
	defer t.close()
	return s.compare(t, after)
}

func (s *Saved) compare(t *tree, after *State) ([]Difference, error) {
	current, err := t.scan(s.Paths, s.Shallow, skipped(s.Skip), true)
	if err != nil {
		return nil, err
	}
	saved, now := s.byPath(), current.byPath()
	var left map[Name]Entry
	if after != nil {
		left = after.byPath()
	}
	at := func(m map[Name]Entry, p Name) Entry {
		if e, ok := m[p]; ok {
			return e
		}
		return Entry{Path: p, Kind: Absent}
	}
	var out []Difference
	one := func(p Name) {
		d := Difference{Path: p, Saved: at(saved, p), Current: at(now, p)}
		d.Aspects = differences(d.Saved, d.Current)
		switch {
		case same(d.Saved, d.Current):
			d.Status = Unchanged
		case left == nil:
			d.Status = Unknown
		case same(at(left, p), d.Saved):
			d.Status = ChangedByOthers
		case same(at(left, p), d.Current):
			d.Status = AsWeLeftIt
		default:
			d.Status = ChangedSince
		}
		out = append(out, d)
	}
	for p := range saved {
		one(p)
	}
	for p := range now {
		if _, ok := saved[p]; !ok {
			one(p)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out, nil
}
