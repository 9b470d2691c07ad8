// Package step does the work of a migration: each file is one kind of step for
// pkg/txn, with what it saves, does, undoes and how it proves that it did it.
package step

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repack"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// The errors that callers tell apart.
var (
	ErrUntrusted = errors.New("not acceptable as AlmaLinux's")    // a package without a good signature of a trusted key
	ErrTampered  = errors.New("changed since it was verified")    // a downloaded or saved file
	ErrHost      = errors.New("the host lacks what this needs")   // rpm's Python module, space
	ErrRPM       = errors.New("rpm refuses")                      // the (test) transaction
	ErrMismatch  = errors.New("the rpm database is not as meant") // after a transaction
)

// Env is what the steps need of the world outside their change.
type Env struct {
	Ring     *rpmsig.Keyring       // keys that AlmaLinux's packages must be signed with; only preparing needs it
	KeyFiles [][]byte              // where key material may be found, beside the coming packages
	Progress func(string)          // what is being done, in words; may be nil
	Package  func(PackageProgress) // may be nil, too
}

// PackageProgress is a package that a transaction of rpm begins to install or
// remove.
type PackageProgress struct {
	Action  string // installing, removing
	Package string
	N, Of   int // rpm may remove more than Of: builds of the same version
}

func (e *Env) sayPackage(action, name string, k counter) {
	if e.Package != nil {
		e.Package(PackageProgress{Action: action, Package: name, N: k.n, Of: k.of})
	}
}

func (e *Env) say(format string, args ...any) {
	if e.Progress != nil {
		e.Progress(fmt.Sprintf(format, args...))
	}
}

// root is the host. The engine changes the running system only: rpm's
// scriptlets would not stay inside anything else.
const root = "/"

// Registry holds the handlers of all kinds of steps.
func (e *Env) Registry() txn.Registry {
	return txn.Registry{
		plan.StepSaveFiles:    saveFiles{e},
		plan.StepImportKeys:   importKeys{e},
		plan.StepSwapPackages: swapPackages{e},
		plan.StepDisableRepos: disableRepos{e},
		plan.StepEnableRepos:  enableRepos{e},
		plan.StepCarry:        carry{e},
		plan.StepMapStreams:   mapStreams{e},
		plan.StepSyncPackages: syncPackages{e},
		plan.StepRHSM:         rhsm{e},
		plan.StepBootKernel:   bootInitramfs{Env: e},
		plan.StepBootDefault:  bootDefault{e},
		plan.StepBootEntry:    bootEntry{e},
		plan.StepSeal:         seal{e},
	}
}

// Plan returns the migration's plan that a change was made of.
func Plan(c *txn.Change) (*plan.Plan, error) {
	var p plan.Plan
	if err := json.Unmarshal(c.Plan.Extra, &p); err != nil || p.Kind != plan.Kind {
		return nil, fmt.Errorf("cannot read the plan of change %s: %w", c.Plan.ID, errors.Join(plan.ErrDocument, err))
	}
	return &p, nil
}

// Steps turns a plan into the engine's steps.
func Steps(p *plan.Plan) []txn.Step {
	out := make([]txn.Step, len(p.Steps))
	for i, s := range p.Steps {
		out[i] = txn.Step{Kind: s.Name, Name: s.Name, Title: s.Title}
	}
	return out
}

func rpmDir(c *txn.Change, which string) string { return filepath.Join(c.Dir, "rpms", which) }

// Saved is a package file of a change.
type Saved struct {
	NEVRA  string `json:"nevra"`
	File   string `json:"file"`   // name in its folder
	SHA256 string `json:"sha256"` // of the file
	Header string `json:"header"` // sha256 of the header's immutable region
	From   string `json:"from,omitempty"`

	// Of a leaving package that was rebuilt:
	Exact        bool          `json:"exact,omitempty"`        // the very file that its distribution made: rpm's own checks pass
	Options      []string      `json:"options,omitempty"`      // that rpm needs to install it by hand
	Placeholders []repack.File `json:"placeholders,omitempty"` // files whose content it has not: they are saved by themselves
}

// Leaving returns the package files that a change saved of what left, with
// their folder.
func Leaving(c *txn.Change) (dir string, list []Saved, err error) {
	var u swapUndo
	if undo := undoOf(c, plan.StepSwapPackages); undo != nil {
		if err := json.Unmarshal(undo, &u); err != nil {
			return "", nil, fmt.Errorf("cannot read the journal: %w", err)
		}
	}
	return rpmDir(c, "leaving"), u.Leaving, nil
}

func fileSHA256(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// checkSaved reads package files back and compares them with what was noted.
func checkSaved(dir string, list []Saved) error {
	for _, s := range list {
		sum, err := fileSHA256(filepath.Join(dir, s.File))
		if err != nil {
			return fmt.Errorf("cannot read the package file of %s: %w", s.NEVRA, err)
		}
		if sum != s.SHA256 {
			return fmt.Errorf("cannot use the package file of %s: %w: %s", s.NEVRA, ErrTampered, filepath.Join(dir, s.File))
		}
	}
	return nil
}

// CheckSaved reads all that a change saved for its way back, and compares it
// with what was noted.
func CheckSaved(c *txn.Change) error {
	sets, err := Sets(c)
	if err != nil {
		return err
	}
	for _, set := range sets {
		if err := set.Verify(); err != nil {
			return err
		}
	}
	for _, name := range []string{plan.StepSwapPackages, plan.StepSyncPackages} {
		undo := undoOf(c, name)
		if undo == nil {
			continue
		}
		var u swapUndo // the lists of both steps are alike
		if err := json.Unmarshal(undo, &u); err != nil {
			return fmt.Errorf("cannot read the journal: %w", err)
		}
		saved := slices.DeleteFunc(u.Leaving, func(s Saved) bool { return s.File == "" }) // not saved: so it was asked for
		if err := checkSaved(rpmDir(c, "leaving"), saved); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("internal error: cannot encode %s: %w", name, err)
	}
	if err := atomicfile.Write(name, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", name, err)
	}
	return nil
}

// nothing is what steps embed that have nothing of their own to save: their
// files are put back by save-files.
type nothing struct{}

func (nothing) Prepare(context.Context, *txn.Change, json.RawMessage) (json.RawMessage, error) {
	return json.RawMessage(`{}`), nil
}

func (nothing) Undo(context.Context, *txn.Change, json.RawMessage, json.RawMessage) error { return nil }
