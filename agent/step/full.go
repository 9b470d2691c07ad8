package step

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// generated adds the files below /usr that packages, also those that stay, own
// but do not bring: caches that scriptlets and file triggers make anew.
func generated(p *plan.Plan, db *Database, add func(string)) {
	if p.Depth != plan.DepthFull || p.RollbackDepth != plan.RollbackFull {
		return
	}
	kernels, _ := p.BootPaths()
	for _, f := range kernels {
		add(f)
	}
	for _, hs := range db.Packages {
		for _, h := range hs {
			flags := h.Uint32s(rpmhdr.TagFileFlags)
			i := -1
			for f := range h.Files() {
				if i++; i < len(flags) && flags[i]&rpmGhost != 0 && strings.HasPrefix(f, "/usr/") {
					add(f)
				}
			}
		}
	}
}

// mapStreams gives the enabled module streams the names that AlmaLinux has for
// them. save-files puts the files back.
type mapStreams struct{ *Env }

const modulesDir = "/etc/dnf/modules.d/"

func (m mapStreams) Prepare(ctx context.Context, c *txn.Change, p json.RawMessage) (json.RawMessage, error) {
	return nothing{}.Prepare(ctx, c, p)
}

func (m mapStreams) Undo(ctx context.Context, c *txn.Change, p, undo json.RawMessage) error {
	return nothing{}.Undo(ctx, c, p, undo)
}

func (m mapStreams) Do(_ context.Context, c *txn.Change, _, _ json.RawMessage) error {
	return eachStream(c, func(file string, s plan.Stream) error {
		m.say("module %s: stream %s becomes %s", s.Module, s.From, s.To)
		return setOption(file, s.Module, "stream", s.To)
	})
}

func (m mapStreams) Verify(_ context.Context, c *txn.Change, _, _ json.RawMessage) (bool, error) {
	ok := true
	err := eachStream(c, func(file string, s plan.Stream) error {
		v, err := option(file, s.Module, "stream")
		ok = ok && v == s.To
		return err
	})
	return ok, err
}

func eachStream(c *txn.Change, fn func(file string, s plan.Stream) error) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	for _, s := range p.Streams {
		if s.From == s.To || strings.ContainsAny(s.Module, "/\x00") {
			continue
		}
		if err := fn(modulesDir+s.Module+".module", s); err != nil {
			return err
		}
	}
	return nil
}
