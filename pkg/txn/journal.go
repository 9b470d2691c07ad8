package txn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/almamigrate/almamigrate/pkg/fault"
)

// ErrJournal means that a journal is damaged other than by a torn last line.
var ErrJournal = errors.New("damaged journal")

// Status is what a record says of its step, or with step Whole, of the change.
type Status string

// The statuses. They are stored and never renamed.
const (
	Prepared   Status = "prepared"    // undo data captured; nothing done yet
	Doing      Status = "doing"       // about to act, or acting
	Done       Status = "done"        // acted, and the result was verified
	Failed     Status = "failed"      // acted and failed; data holds the error
	Undoing    Status = "undoing"     // about to be undone, or being undone
	Undone     Status = "undone"      // undone
	UndoFailed Status = "undo-failed" // could not be undone; data holds the error

	// Of the whole change:
	Started    Status = "started"     // all steps are prepared, the first may act
	Finished   Status = "finished"    // all steps done
	RollingBak Status = "rollback"    // the way back has begun
	RolledBack Status = "rolled-back" // everything undone
	Incomplete Status = "incomplete"  // some steps could not be undone
	Committed  Status = "committed"   // accepted for good: no way back any more
)

// Whole is the step number of records about the change itself.
const Whole = -1

// Record is one line of the journal.
type Record struct {
	Seq    int             `json:"seq"`  // from 1, without gaps
	Step   int             `json:"step"` // index into the plan, or Whole
	Status Status          `json:"status"`
	Time   time.Time       `json:"time"` // UTC
	Data   json.RawMessage `json:"data,omitempty"`
	CRC    string          `json:"crc"` // CRC-32C (Castagnoli) of the record with an empty crc, 8 hex digits
}

const (
	journalName = "journal.jsonl"
	reserveName = "reserve"
	// reserveSize is room for the records of a way back on a full disk.
	reserveSize = 256 << 10
	// maxJournal bounds what is read: a journal of a whole migration with the
	// undo data of all its steps is far below it.
	maxJournal = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r Record) encode() ([]byte, error) {
	r.CRC = ""
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	r.CRC = fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli))
	if b, err = json.Marshal(r); err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

func decode(line []byte) (Record, error) {
	var r Record
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, err
	}
	again, err := r.encode()
	if err != nil {
		return r, err
	}
	if !bytes.Equal(bytes.TrimSuffix(again, []byte("\n")), line) {
		return r, errors.New("checksum does not fit")
	}
	return r, nil
}

// parseJournal returns the records and the length of the sound part. Only the
// last line may be torn: that is a record whose write a crash cut short, so
// nothing that it announces has begun.
func parseJournal(data []byte) (records []Record, sound int, err error) {
	for off := 0; off < len(data); {
		end := bytes.IndexByte(data[off:], '\n')
		if end < 0 {
			return records, off, nil
		}
		r, derr := decode(data[off : off+end])
		if derr == nil && r.Seq != len(records)+1 {
			derr = fmt.Errorf("record %d follows record %d", r.Seq, len(records))
		}
		if derr != nil {
			if off+end+1 == len(data) {
				return records, off, nil
			}
			return nil, 0, fmt.Errorf("%w: line %d: %w", ErrJournal, len(records)+1, derr)
		}
		records = append(records, r)
		off += end + 1
		sound = off
	}
	return records, sound, nil
}

// journal is the open file.
type journal struct {
	f    *os.File
	dir  string
	size int64 // length of the sound part
	seq  int
	now  func() time.Time
}

func readJournal(dir string) ([]Record, int, error) {
	name := filepath.Join(dir, journalName)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("cannot open the journal: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the journal %s: %w", name, err)
	}
	if len(data) > maxJournal {
		return nil, 0, fmt.Errorf("cannot read the journal %s: %w: larger than %d bytes", name, ErrJournal, maxJournal)
	}
	records, sound, err := parseJournal(data)
	if err != nil {
		return nil, 0, fmt.Errorf("cannot read the journal %s: %w", name, err)
	}
	return records, sound, nil
}

// openJournal opens the file for appending and cuts a torn last line off.
func openJournal(dir string, records []Record, sound int, now func() time.Time) (*journal, error) {
	name := filepath.Join(dir, journalName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the journal: %w", err)
	}
	j := &journal{f: f, dir: dir, size: int64(sound), seq: len(records), now: now}
	if err := j.cut(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot open the journal %s: %w", name, err)
	}
	if len(records) == 0 {
		if err := j.reserve(); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	return j, syncDir(dir)
}

// reserve puts space aside, written and not only promised, so that the way
// back can still be recorded when the disk is full.
func (j *journal) reserve() error {
	name := filepath.Join(j.dir, reserveName)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.Write(bytes.Repeat([]byte{'.'}, reserveSize))
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("cannot reserve space for the journal in %s: %w", name, err)
	}
	return nil
}

func (j *journal) cut() error {
	if err := j.f.Truncate(j.size); err != nil {
		return err
	}
	_, err := j.f.Seek(j.size, io.SeekStart)
	return err
}

// append writes one record and returns when it is on the disk.
func (j *journal) append(step int, status Status, data json.RawMessage) (Record, error) {
	r := Record{Seq: j.seq + 1, Step: step, Status: status, Time: j.now().UTC().Truncate(time.Millisecond), Data: data}
	line, err := r.encode()
	if err != nil {
		return r, fmt.Errorf("internal error: cannot encode a journal record: %w", err)
	}
	err = j.write(line)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		// The reserve is what it is for. Without it the second try fails alike.
		_ = os.Remove(filepath.Join(j.dir, reserveName))
		err = j.write(line)
	}
	if err != nil {
		return r, fmt.Errorf("cannot write the journal %s: %w", filepath.Join(j.dir, journalName), err)
	}
	j.size += int64(len(line))
	j.seq = r.Seq
	return r, nil
}

func (j *journal) write(line []byte) error {
	err := fault.Point("txn.journal.write")
	if err == nil {
		_, err = j.f.Write(line)
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// A short write must not be glued to the next record.
		return errors.Join(err, j.cut())
	}
	return nil
}

func (j *journal) close() error { return j.f.Close() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
