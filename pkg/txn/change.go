package txn

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"time"
)

// ErrNotFound means that there is no such change.
var ErrNotFound = errors.New("no such change")

// Step is one entry of a plan: which kind of work, and its parameters.
type Step struct {
	Kind   string          `json:"kind"`  // names the Handler
	Name   string          `json:"name"`  // unique in the plan, e.g. "swap-branding"
	Title  string          `json:"title"` // for people
	Params json.RawMessage `json:"params,omitempty"`
}

// Plan is plan.json: what a change will do, in order.
type Plan struct {
	ID      string          `json:"id"`
	Created time.Time       `json:"created"`
	Tool    string          `json:"tool"` // version that wrote it
	Title   string          `json:"title"`
	Steps   []Step          `json:"steps"`
	Extra   json.RawMessage `json:"extra,omitempty"` // the caller's, e.g. the approved plan
}

// State of a change, computed from its journal.
type State string

// The states of a change.
const (
	StatePlanned    State = "planned"     // nothing was done to the host
	StatePending    State = "pending"     // interrupted after the first step began, or still running
	StateRolling    State = "rolling"     // interrupted on the way back, or on it now
	StateDone       State = "done"        // all steps done, can be taken back
	StateRolledBack State = "rolled-back" // the host is as before
	StateIncomplete State = "incomplete"  // a step could not be undone
	StateCommitted  State = "committed"   // done for good
)

// Settled tells whether nothing is left to be resumed or rolled back by force.
func (s State) Settled() bool {
	return s != StatePending && s != StateRolling && s != StateIncomplete
}

// Change is a plan with its journal.
type Change struct {
	Dir     string
	Plan    Plan
	Records []Record
	sound   int // length of the journal's sound part
}

const planName = "plan.json"

var validID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,100}$`)

// Create makes the folder of a new change below base and writes its plan.
func Create(base string, plan Plan) (*Change, error) {
	if !validID.MatchString(plan.ID) {
		return nil, fmt.Errorf("cannot create the change %q: not a valid id", plan.ID)
	}
	names := map[string]bool{}
	for _, s := range plan.Steps {
		if s.Name == "" || names[s.Name] {
			return nil, fmt.Errorf("cannot create the change %s: step name %q is empty or used twice", plan.ID, s.Name)
		}
		names[s.Name] = true
	}
	dir := filepath.Join(base, plan.ID)
	if err := os.MkdirAll(base, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the folder of the changes: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the change %s: %w", plan.ID, err)
	}
	for _, sub := range []string{"files", "rpms"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("cannot create the change %s: %w", plan.ID, err)
		}
	}
	data, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("internal error: cannot encode the plan: %w", err)
	}
	if err := writeDurably(filepath.Join(dir, planName), append(data, '\n')); err != nil {
		return nil, fmt.Errorf("cannot write the plan of change %s: %w", plan.ID, err)
	}
	return Open(dir)
}

// writeDurably writes a file that a crash leaves either absent or whole.
func writeDurably(name string, data []byte) error {
	tmp := name + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	if err := syncDir(filepath.Dir(name)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Dir(name)))
}

// Open reads a change.
func Open(dir string) (*Change, error) {
	data, err := os.ReadFile(filepath.Join(dir, planName))
	if errors.Is(err, os.ErrNotExist) {
		// The plan comes before the journal: without it something was done, and cannot be told any more.
		switch _, jerr := os.Lstat(filepath.Join(dir, journalName)); {
		case jerr == nil:
			return nil, fmt.Errorf("cannot open the change in %s: %w: there is a journal and no plan", dir, ErrJournal)
		case !errors.Is(jerr, os.ErrNotExist): // nor is it known that nothing was done
			return nil, fmt.Errorf("cannot open the change in %s: %w", dir, jerr)
		}
		return nil, fmt.Errorf("cannot open the change in %s: %w", dir, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the change in %s: %w", dir, err)
	}
	c := &Change{Dir: dir}
	if err := json.Unmarshal(data, &c.Plan); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", filepath.Join(dir, planName), err)
	}
	return c, c.reload()
}

func (c *Change) reload() error {
	var err error
	if c.Records, c.sound, err = readJournal(c.Dir); err != nil {
		return err
	}
	for _, r := range c.Records {
		if r.Step < Whole || r.Step >= len(c.Plan.Steps) {
			return fmt.Errorf("cannot use the journal of change %s: %w: record %d is of step %d, the plan has %d", c.Plan.ID, ErrJournal, r.Seq, r.Step, len(c.Plan.Steps))
		}
	}
	return nil
}

// List returns the changes below base, oldest first. A folder without a plan
// is what a crash at the very beginning leaves; it did nothing and is skipped.
// Changes that cannot be read are reported in err beside the others.
func List(base string) (changes []*Change, err error) {
	entries, rerr := os.ReadDir(base)
	if errors.Is(rerr, os.ErrNotExist) {
		return nil, nil
	}
	if rerr != nil {
		return nil, fmt.Errorf("cannot list the changes: %w", rerr)
	}
	for _, e := range entries {
		if !e.IsDir() || !validID.MatchString(e.Name()) {
			continue
		}
		c, oerr := Open(filepath.Join(base, e.Name()))
		switch {
		case errors.Is(oerr, ErrNotFound):
		case oerr != nil:
			err = errors.Join(err, oerr)
		default:
			changes = append(changes, c)
		}
	}
	sort.SliceStable(changes, func(i, j int) bool { return changes[i].Plan.Created.Before(changes[j].Plan.Created) })
	return changes, err
}

// State says where the change stands.
func (c *Change) State() State {
	s := StatePlanned
	for _, r := range c.Records {
		switch r.Status {
		case Started:
			s = StatePending
		case Finished:
			s = StateDone
		case RollingBak:
			s = StateRolling
		case RolledBack:
			s = StateRolledBack
		case Incomplete:
			s = StateIncomplete
		case Committed:
			s = StateCommitted
		}
	}
	return s
}

// StepStatus is the last word of the journal on a step, empty for none.
func (c *Change) StepStatus(step int) Status {
	for i := len(c.Records) - 1; i >= 0; i-- {
		if r := c.Records[i]; r.Step == step {
			return r.Status
		}
	}
	return ""
}

// UndoData returns what Prepare captured for a step.
func (c *Change) UndoData(step int) json.RawMessage {
	for i := len(c.Records) - 1; i >= 0; i-- {
		if r := c.Records[i]; r.Step == step && r.Status == Prepared {
			return r.Data
		}
	}
	return nil
}

// Errors returns the failures that the journal holds, in order, but for those
// that were overcome since: a step that was done, or undone, at a later try.
func (c *Change) Errors() []string {
	var out []string
	for _, r := range c.Records {
		if r.Step < 0 {
			continue
		}
		last := c.StepStatus(r.Step)
		if r.Status == Failed && last != Done || r.Status == UndoFailed && last != Undone {
			var text string
			if json.Unmarshal(r.Data, &text) != nil {
				text = string(r.Data)
			}
			out = append(out, fmt.Sprintf("%s (%s): %s", c.Plan.Steps[r.Step].Name, r.Status, text))
		}
	}
	return out
}

// Progress says how many steps are done, of how many, and which is next or
// under way (its index, or the number of steps when none is left).
func (c *Change) Progress() (done, total, at int) {
	total = len(c.Plan.Steps)
	at = total
	for i := range c.Plan.Steps {
		if c.StepStatus(i) == Done {
			done++
		} else if at == total {
			at = i
		}
	}
	return done, total, at
}
