package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/almamigrate/almamigrate/agent/assess"
)

// The MESSAGE_IDs of the journal entries; systemd/almamigrate.catalog explains
// them to `journalctl -x`. They are never reused for anything else.
const (
	MessageReport  = "7c1b6c2f0f0d4c6c9f4e3f7a1a6d5e01" // a run made a report
	MessageBlocker = "7c1b6c2f0f0d4c6c9f4e3f7a1a6d5e02" // one blocker of it
	MessageFailed  = "7c1b6c2f0f0d4c6c9f4e3f7a1a6d5e03" // a run came to no check
	MessageWaiting = "7c1b6c2f0f0d4c6c9f4e3f7a1a6d5e04" // an endpoint did not take reports
)

// maxJournalBlockers is how many blockers get an entry of their own; a host
// without any counterpart must not fill the journal. The run's entry counts all.
const maxJournalBlockers = 100

// Entry is one journal entry.
type Entry struct {
	Message  string
	Priority int // syslog's, 0 to 7
	Fields   map[string]string
}

// Entries returns what a run tells the journal: the run, its blockers, and the
// endpoints that did not take reports.
func (r *Report) Entries() []Entry {
	base := func(id string) map[string]string {
		f := map[string]string{
			"MESSAGE_ID": id, "SYSLOG_IDENTIFIER": "almamigrate",
			"ALMAMIGRATE_RUN_ID": r.RunID, "ALMAMIGRATE_VERSION": r.Tool.Version, "ALMAMIGRATE_VERDICT": string(r.Verdict),
		}
		return f
	}
	var out []Entry
	if r.Failure != nil {
		f := base(MessageFailed)
		f["ALMAMIGRATE_ERROR"], f["ALMAMIGRATE_EXIT_CODE"], f["ALMAMIGRATE_HINT"] = r.Failure.Message, strconv.Itoa(r.Failure.Code), r.Failure.Hint
		out = append(out, Entry{"No verdict on the move to AlmaLinux: " + r.Failure.Message, int(journal.PriErr), f})
	} else {
		out = append(out, r.runEntry(base(MessageReport)))
		for i, b := range r.Blockers() {
			if i == maxJournalBlockers {
				break
			}
			f := base(MessageBlocker)
			f["ALMAMIGRATE_FINDING"], f["ALMAMIGRATE_SEVERITY"] = b.ID, string(b.Severity)
			f["ALMAMIGRATE_DETAIL"], f["ALMAMIGRATE_REMEDY"] = b.Detail, b.Remedy.Text
			f["ALMAMIGRATE_COMMAND"] = b.Remedy.Command
			f["ALMAMIGRATE_RESOURCES"] = resourceNames(b.Resources, 50)
			out = append(out, Entry{fmt.Sprintf("Blocker %s: %s", b.ID, b.Title), int(journal.PriWarning), f})
		}
	}
	for _, d := range r.Delivery {
		if d.Error == "" {
			continue
		}
		f := base(MessageWaiting)
		f["ALMAMIGRATE_ENDPOINT"], f["ALMAMIGRATE_URL"], f["ALMAMIGRATE_ERROR"] = d.Endpoint, d.URL, d.Error
		f["ALMAMIGRATE_WAITING"], f["ALMAMIGRATE_DROPPED"] = strconv.Itoa(d.Waiting), strconv.Itoa(d.Dropped)
		out = append(out, Entry{fmt.Sprintf("Endpoint %s has not taken %s: %s", d.Endpoint, counted(d.Waiting, "report"), d.Error), int(journal.PriWarning), f})
	}
	for i := range out {
		out[i].Message = Safe(out[i].Message)
		for k, v := range out[i].Fields {
			if v == "" {
				delete(out[i].Fields, k)
				continue
			}
			out[i].Fields[k] = Safe(v)
		}
	}
	return out
}

func (r *Report) runEntry(f map[string]string) Entry {
	n := r.Summary.Findings
	came, went := r.Changes.Blockers()
	f["ALMAMIGRATE_TARGET"] = r.Summary.Target
	f["ALMAMIGRATE_BLOCKERS"], f["ALMAMIGRATE_WARNINGS"] = strconv.Itoa(n[assess.Blocker]), strconv.Itoa(n[assess.Warning])
	f["ALMAMIGRATE_PACKAGES"] = strconv.Itoa(r.Summary.Total)
	f["ALMAMIGRATE_NEW_BLOCKERS"], f["ALMAMIGRATE_GONE_BLOCKERS"] = strconv.Itoa(came), strconv.Itoa(went)
	text := r.Headline()
	if came+went > 0 {
		text += fmt.Sprintf("; blockers since the last report: %d new, %d gone", came, went)
	}
	prio := journal.PriInfo
	if r.Verdict == assess.Blocked || r.Verdict == assess.Unknown {
		prio = journal.PriNotice
	}
	return Entry{text, int(prio), f}
}

func resourceNames(list []assess.Resource, most int) string {
	var b strings.Builder
	for i, r := range list {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(list)-most)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.Name)
	}
	return b.String()
}

// SendJournal writes the entries to journald. Where there is none it does
// nothing.
func SendJournal(entries []Entry) error {
	if !journal.Enabled() {
		return nil
	}
	for _, e := range entries {
		if err := journal.Send(e.Message, journal.Priority(e.Priority), e.Fields); err != nil {
			return fmt.Errorf("cannot write to the journal: %w", err)
		}
	}
	return nil
}
