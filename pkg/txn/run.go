package txn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

// Handler does and undoes one kind of step. params come from the plan, undo is
// what Prepare returned. All of Prepare, Do and Undo may run again after a
// crash, from the beginning.
type Handler interface {
	// Prepare reads the host and saves below c.Dir what Undo will need. It
	// changes nothing outside it. Any reason why Do could not work should
	// surface here.
	Prepare(ctx context.Context, c *Change, params json.RawMessage) (undo json.RawMessage, err error)
	// Do acts. It is also called when an earlier call was cut short. Its
	// context is not cancelled by a request to stop.
	Do(ctx context.Context, c *Change, params, undo json.RawMessage) error
	// Undo restores. It must accept that Do never ran, ran in part, or ran.
	Undo(ctx context.Context, c *Change, params, undo json.RawMessage) error
	// Verify tells whether the post-condition of Do holds.
	Verify(ctx context.Context, c *Change, params, undo json.RawMessage) (bool, error)
}

// Registry finds handlers by the kind of a step.
type Registry map[string]Handler

// The errors of a run.
var (
	ErrStopped    = errors.New("stopped at a safe point")                                  // asked to stop; pending
	ErrFailed     = errors.New("a step failed")                                            // nothing was undone yet
	ErrIncomplete = errors.New("not everything could be taken back")                       // see Change.Errors
	ErrState      = errors.New("the change is not in a state for this")                    // e.g. resume of a finished one
	ErrUnverified = errors.New("the step reported success, but the host does not show it") // post-condition false
)

// Event tells an observer where a run is.
type Event struct {
	Step   int // index, or Whole
	Status Status
	Name   string
	Title  string
	Err    error
}

// Runner drives one change.
type Runner struct {
	Change   *Change
	Registry Registry
	Observe  func(Event)      // may be nil
	Now      func() time.Time // nil: time.Now
	// Sync brings to the disk what a step has written, before the journal says that it is done, or undone: else a power
	// cut could leave the word and take the deed. May be nil, where all handlers see to that themselves.
	Sync func() error

	j *journal
}

func (r *Runner) sync() error {
	if r.Sync == nil {
		return nil
	}
	return r.Sync()
}

func (r *Runner) open() error {
	if r.Now == nil {
		r.Now = time.Now
	}
	for _, s := range r.Change.Plan.Steps {
		if r.Registry[s.Kind] == nil {
			return fmt.Errorf("cannot run the change %s: no handler for steps of kind %q (written by version %s)", r.Change.Plan.ID, s.Kind, r.Change.Plan.Tool)
		}
	}
	if err := r.Change.reload(); err != nil {
		return err
	}
	j, err := openJournal(r.Change.Dir, r.Change.Records, r.Change.sound, r.Now)
	if err != nil {
		return err
	}
	r.j = j
	return nil
}

// record writes, then tells. A fault point stands on both sides of the write.
func (r *Runner) record(step int, status Status, data any) error {
	var raw json.RawMessage
	switch d := data.(type) {
	case nil:
	case json.RawMessage:
		raw = d
	case error:
		raw, _ = json.Marshal(d.Error())
	}
	point := "txn." + string(status)
	if step >= 0 {
		point += "." + r.Change.Plan.Steps[step].Name
	}
	if err := fault.Point(point + ".before"); err != nil {
		return err
	}
	rec, err := r.j.append(step, status, raw)
	if err != nil {
		return err
	}
	r.Change.Records = append(r.Change.Records, rec)
	if r.Observe != nil {
		e := Event{Step: step, Status: status}
		if step >= 0 {
			e.Name, e.Title = r.Change.Plan.Steps[step].Name, r.Change.Plan.Steps[step].Title
		}
		if err, ok := data.(error); ok {
			e.Err = err
		}
		r.Observe(e)
	}
	return fault.Point(point + ".after")
}

// Prepare prepares every step. When it fails the host is untouched.
func (r *Runner) Prepare(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { _ = r.j.close() }()
	if s := r.Change.State(); s != StatePlanned {
		return fmt.Errorf("cannot prepare the change %s: %w: it is %s", r.Change.Plan.ID, ErrState, s)
	}
	for i, s := range r.Change.Plan.Steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cannot prepare %s: %w", s.Name, err)
		}
		undo, err := r.Registry[s.Kind].Prepare(ctx, r.Change, s.Params)
		if err != nil {
			return fmt.Errorf("cannot prepare %s: %w", s.Name, err)
		}
		if err := r.record(i, Prepared, undo); err != nil {
			return err
		}
	}
	return nil
}

// Run does all steps that are not done yet: after Prepare, or after an
// interruption. When a step fails it returns an error that wraps ErrFailed,
// and the caller rolls back. When ctx is cancelled it returns ErrStopped
// between two steps.
func (r *Runner) Run(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { _ = r.j.close() }()
	c := r.Change
	switch s := c.State(); s {
	case StatePlanned:
		for i, st := range c.Plan.Steps {
			if c.StepStatus(i) != Prepared {
				return fmt.Errorf("cannot run the change %s: %w: step %s is not prepared", c.Plan.ID, ErrState, st.Name)
			}
		}
		if err := r.record(Whole, Started, nil); err != nil {
			return err
		}
	case StatePending:
	default:
		return fmt.Errorf("cannot run the change %s: %w: it is %s", c.Plan.ID, ErrState, s)
	}
	for i, s := range c.Plan.Steps {
		if c.StepStatus(i) == Done {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w before %s (step %d of %d)", ErrStopped, s.Name, i+1, len(c.Plan.Steps))
		}
		if err := r.do(context.WithoutCancel(ctx), i); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFailed, s.Name, err)
		}
	}
	return r.record(Whole, Finished, nil)
}

func (r *Runner) do(ctx context.Context, i int) error {
	c, s := r.Change, r.Change.Plan.Steps[i]
	h, undo := r.Registry[s.Kind], r.Change.UndoData(i)
	// A step that was cut short after it had acted needs nothing more.
	if c.StepStatus(i) == Doing {
		if ok, err := h.Verify(ctx, c, s.Params, undo); err == nil && ok && r.sync() == nil {
			return r.record(i, Done, nil)
		}
	}
	if err := r.record(i, Doing, nil); err != nil {
		return err
	}
	err := h.Do(ctx, c, s.Params, undo)
	if err == nil {
		err = fault.Point("txn.did." + s.Name)
	}
	if err == nil {
		var ok bool
		if ok, err = h.Verify(ctx, c, s.Params, undo); err == nil && !ok {
			err = ErrUnverified
		}
	}
	if err == nil {
		err = r.sync()
	}
	if err != nil {
		// The record is for people; undoing does not depend on it.
		return errors.Join(err, r.record(i, Failed, err))
	}
	return r.record(i, Done, nil)
}

// Rollback undoes, last step first, every step that may have acted. A failed
// undo is recorded and the others go on. It may be called again after an
// interruption or after it was incomplete.
func (r *Runner) Rollback(ctx context.Context) error {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { _ = r.j.close() }()
	c := r.Change
	ctx = context.WithoutCancel(ctx)
	switch s := c.State(); s {
	case StatePending, StateDone, StateRolling, StateIncomplete:
	default:
		return fmt.Errorf("cannot roll the change %s back: %w: it is %s", c.Plan.ID, ErrState, s)
	}
	// From here on a journal that cannot be written does not stop the way
	// back: Undo is repeatable, and a half-restored host is worse than a
	// missing record. The failure is still reported at the end.
	var journalErr error
	note := func(step int, st Status, data any) {
		if err := r.record(step, st, data); err != nil && journalErr == nil {
			journalErr = err
		}
	}
	note(Whole, RollingBak, nil)
	failed := 0
	for i := len(c.Plan.Steps) - 1; i >= 0; i-- {
		switch c.StepStatus(i) {
		case Doing, Done, Failed, Undoing, UndoFailed:
		default:
			continue // never began, or undone already
		}
		s := c.Plan.Steps[i]
		note(i, Undoing, nil)
		err := r.Registry[s.Kind].Undo(ctx, c, s.Params, c.UndoData(i))
		if err == nil {
			err = fault.Point("txn.undid." + s.Name)
		}
		if err == nil {
			err = r.sync()
		}
		if err != nil {
			failed++
			note(i, UndoFailed, err)
			continue
		}
		note(i, Undone, nil)
	}
	if failed > 0 {
		note(Whole, Incomplete, nil)
		return errors.Join(fmt.Errorf("%w: %s of %d steps", ErrIncomplete, strconv.Itoa(failed), len(c.Plan.Steps)), journalErr)
	}
	note(Whole, RolledBack, nil)
	return journalErr
}

// Commit gives up the way back.
func (r *Runner) Commit() error {
	if err := r.open(); err != nil {
		return err
	}
	defer func() { _ = r.j.close() }()
	if s := r.Change.State(); s != StateDone {
		return fmt.Errorf("cannot commit the change %s: %w: it is %s", r.Change.Plan.ID, ErrState, s)
	}
	return r.record(Whole, Committed, nil)
}
