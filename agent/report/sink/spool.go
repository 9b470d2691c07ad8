// Package sink sends reports to HTTP endpoints and keeps what could not be sent.
//
// Every report goes to the disk first and leaves it when the endpoint has said
// that it has it: whatever happens in between, it is sent again by a later run,
// with the same bytes and the same Idempotency-Key, so that an endpoint that
// did take it the first time can tell. The spool is sent in order and bounded
// in size and age; what is given up is counted.
//
// A spool is for one process at a time; its user holds a lock.
package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
)

// Endpoint is a server that takes reports.
type Endpoint struct {
	Name       string // a file name
	URL        string
	TokenFile  string // holds a bearer token; only its owner may read it
	CACert     string // PEM file; empty: the system's
	ClientCert string // PEM file
	ClientKey  string // PEM file; only its owner may read it
	Proxy      string // URL; empty: the environment's
	Gzip       bool   // compress the body
}

// Options are the limits of a sink.
type Options struct {
	Dir          string        // the endpoint's spool folder; made where absent
	MaxBytes     int64         // of all waiting reports
	MaxAge       time.Duration // of a waiting report
	Deadline     time.Duration // of one Drain; 0: none
	Timeout      time.Duration // of one attempt, from connecting to the answer's last byte
	Retries      int           // further attempts at one report within a Drain
	RetryWaitMin time.Duration // default 1 s
	RetryWaitMax time.Duration // default 30 s; an endpoint that asks for more is left to the next run
	UserAgent    string
	Now          func() time.Time // default time.Now
}

// Sink is one endpoint with its spool.
type Sink struct {
	ep    Endpoint
	opt   Options
	state state
	loose *item // could not be spooled, e.g. on a full disk
}

// state is what a spool remembers beside the reports.
type state struct {
	Seq         uint64     `json:"seq"` // of the youngest report
	Dropped     int        `json:"dropped"`
	Refused     []string   `json:"refused,omitempty"` // names of waiting reports that the endpoint refused
	LastSuccess *time.Time `json:"last_success,omitempty"`
	Error       string     `json:"error,omitempty"`
}

const stateFile = "state.json"

// item is a waiting report. Its file is named SEQ-TIME-RUNID.json.gz: the
// sequence keeps the order when the clock is set back.
type item struct {
	name  string
	seq   uint64
	at    time.Time
	runID string
	size  int64
	body  []byte // only where there is no file
}

var itemName = regexp.MustCompile(`^([0-9]{16})-([0-9]{8}T[0-9]{6}Z)-([0-9a-f-]{1,64})\.json\.gz$`)

const stampLayout = "20060102T150405Z"

// Open opens the spool of an endpoint. It reads no secret and sends nothing.
func Open(ep Endpoint, opt Options) (*Sink, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.RetryWaitMin == 0 {
		opt.RetryWaitMin = time.Second
	}
	if opt.RetryWaitMax == 0 {
		opt.RetryWaitMax = 30 * time.Second
	}
	s := &Sink{ep: ep, opt: opt}
	if err := os.MkdirAll(opt.Dir, 0o700); err != nil {
		return s, fmt.Errorf("cannot make the spool of endpoint %s: %w", ep.Name, err)
	}
	// a damaged state is worth less than the reports beside it
	if data, err := os.ReadFile(filepath.Join(opt.Dir, stateFile)); err == nil {
		if json.Unmarshal(data, &s.state) != nil {
			s.state = state{}
		}
	}
	return s, nil
}

// items lists what waits, oldest first. Files that are not the spool's are
// left alone.
func (s *Sink) items() ([]item, error) {
	entries, err := os.ReadDir(s.opt.Dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the spool: %w", err)
	}
	var out []item
	for _, e := range entries {
		m := itemName.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		at, err := time.Parse(stampLayout, m[2])
		if err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue
		}
		seq, _ := strconv.ParseUint(m[1], 10, 64) // 16 digits
		out = append(out, item{name: e.Name(), seq: seq, at: at, runID: m[3], size: info.Size()})
	}
	slices.SortFunc(out, func(a, b item) int {
		if a.seq != b.seq {
			if a.seq < b.seq {
				return -1
			}
			return 1
		}
		return bytes.Compare([]byte(a.name), []byte(b.name))
	})
	return out, nil
}

// Put adds a report to the spool and makes room for it. With an error the
// report is still sent by the next Drain of this Sink, but not kept.
func (s *Sink) Put(runID string, body []byte) error {
	now := s.opt.Now().UTC()
	packed, err := pack(body)
	if err != nil {
		return err
	}
	it := item{at: now, runID: runID, size: int64(len(packed)), body: packed}
	if it.size > s.opt.MaxBytes {
		s.loose = &it
		return fmt.Errorf("cannot keep the report of %d bytes for endpoint %s: the spool is for %d", it.size, s.ep.Name, s.opt.MaxBytes)
	}
	waiting, err := s.items()
	if err != nil {
		s.loose = &it
		return err
	}
	if n := len(waiting); n > 0 {
		s.state.Seq = max(s.state.Seq, waiting[n-1].seq)
	}
	s.state.Seq++
	it.seq = s.state.Seq
	it.name = fmt.Sprintf("%016d-%s-%s.json.gz", it.seq, now.Format(stampLayout), runID)
	if !itemName.MatchString(it.name) {
		return fmt.Errorf("cannot spool a report: %q is not a run id", runID)
	}
	// room first: a disk that is full of old reports must not refuse the new one
	s.trim(waiting, it.size)
	if err := atomicfile.Write(filepath.Join(s.opt.Dir, it.name), packed, 0o600); err != nil {
		s.loose = &it
		return fmt.Errorf("cannot spool a report: %w", err)
	}
	return s.save()
}

// trim gives up the oldest reports until room bytes are free and none is too old.
func (s *Sink) trim(waiting []item, room int64) []item {
	total := room
	for _, it := range waiting {
		total += it.size
	}
	now := s.opt.Now()
	for len(waiting) > 0 && (total > s.opt.MaxBytes || now.Sub(waiting[0].at) > s.opt.MaxAge) {
		if err := os.Remove(filepath.Join(s.opt.Dir, waiting[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			break
		}
		total -= waiting[0].size
		waiting = waiting[1:]
		s.state.Dropped++
	}
	return waiting
}

func (s *Sink) save() error {
	data, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(s.opt.Dir, stateFile), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot save the state of the spool: %w", err)
	}
	return nil
}

// State tells how it stands, from the disk alone.
func (s *Sink) State() report.Delivery {
	d := report.Delivery{Endpoint: s.ep.Name, URL: shown(s.ep.URL), Dropped: s.state.Dropped, LastSuccess: s.state.LastSuccess, Error: s.state.Error}
	waiting, err := s.items()
	if err != nil {
		d.Error = err.Error()
	}
	for i, it := range waiting {
		if i == 0 {
			d.Oldest = &it.at
		}
		d.Waiting++
		d.Bytes += it.size
		if slices.Contains(s.state.Refused, it.name) {
			d.Refused++
		}
	}
	return d
}

// pack compresses; the same report gives the same bytes.
func pack(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
