package rpmdb

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// What callers test for. A database that may not be read wraps
// fs.ErrPermission.
var (
	ErrNotFound    = errors.New("no rpm database")
	ErrUnsupported = errors.New("unsupported rpm database")
	ErrCorrupt     = errors.New("corrupt rpm database")
	ErrChanged     = errors.New("rpm database changed while it was read")
)

// Backend is a storage format of rpm, by rpm's own name (%_db_backend).
type Backend string

// The backends. NDB is recognised and refused: no EL release uses it.
const (
	BDB    Backend = "bdb"
	SQLite Backend = "sqlite"
	NDB    Backend = "ndb"
)

// file is the file of a backend that holds the headers.
func (b Backend) file() string {
	switch b {
	case BDB:
		return "Packages"
	case SQLite:
		return "rpmdb.sqlite"
	case NDB:
		return "Packages.db"
	}
	return ""
}

// Row is one header of the database.
type Row struct {
	Num    uint32 // rpm's record number (hnum)
	Header *rpmhdr.Header
}

// DB is an installed-package database. It holds a directory open, so that
// Rows reads the same place however the path changes; Close releases it.
type DB struct {
	loc  Location
	root *os.Root
	name string // of the database file, below root

	mu    sync.Mutex
	ready snapshot // taken by Open, used by the first Rows

	damaged func(num uint32, err error)
}

// PassOver makes Rows and Transient go on behind records that hold no header
// that can be read, as rpm itself does: fn is called for each of them, in the
// order of their numbers, when all others were yielded. Damage of the database
// itself stays an error. It is called before the first iteration.
func (db *DB) PassOver(fn func(num uint32, err error)) { db.damaged = fn }

// Open finds the database of the system under root ("/" or the path of an
// image or chroot) and opens it. Errors wrap ErrNotFound, ErrUnsupported,
// ErrCorrupt or fs.ErrPermission.
func Open(root string) (*DB, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("cannot open root %s: %w", root, err)
	}
	loc, name, err := locate(r, root)
	if err != nil {
		r.Close()
		return nil, err
	}
	return open(r, name, loc)
}

// OpenFile opens a database file itself, wherever it lies: Packages of Berkeley
// DB, or rpmdb.sqlite, whose write-ahead log is looked for beside it. Errors
// are those of Open.
func OpenFile(path string, b Backend) (*DB, error) {
	// SQLite, too, looks for the log beside the file that a link leads to.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNotFound
		}
		return nil, fmt.Errorf("cannot open rpm database %s: %w", path, err)
	}
	r, err := os.OpenRoot(filepath.Dir(real))
	if err != nil {
		return nil, fmt.Errorf("cannot open rpm database %s: %w", path, err)
	}
	loc := Location{Path: path, Backend: b, DBPath: filepath.Dir(path)}
	return open(r, filepath.Base(real), loc)
}

func open(r *os.Root, name string, loc Location) (*DB, error) {
	db := &DB{loc: loc, root: r, name: name}
	for attempt := 1; ; attempt++ {
		s, busy, err := db.snapshot()
		if err == nil {
			db.ready = s
			return db, nil
		}
		if !busy || attempt == attempts {
			r.Close()
			return nil, db.fail(err)
		}
		time.Sleep(pause)
	}
}

// Location tells where the database lies and how it was found.
func (db *DB) Location() Location { return db.loc }

// Close releases the directory. Rows that were read stay valid.
func (db *DB) Close() error {
	if s := db.takeReady(); s != nil {
		s.close()
	}
	return db.root.Close()
}

func (db *DB) takeReady() snapshot {
	db.mu.Lock()
	defer db.mu.Unlock()
	s := db.ready
	db.ready = nil
	return s
}

// A snapshot is one state of the database.
type snapshot interface {
	// rows calls fn with every record, blob lying in memory that alloc gave.
	rows(alloc allocator, fn func(num uint32, blob []byte) error) error
	// changed reports whether a writer has been at work since the snapshot was
	// taken, so that what was read may be a mixture; busy, whether one was
	// shortly before.
	changed() (changed, busy bool, err error)
	close()
}

// An allocator returns an empty slice that can take n bytes.
type allocator func(n int) []byte

func fresh(n int) []byte { return make([]byte, 0, n) }

// reused returns an allocator that gives the same memory out again and again.
func reused() allocator {
	var buf []byte
	return func(n int) []byte {
		if cap(buf) < n {
			buf = make([]byte, 0, max(n, 2*cap(buf), 64<<10))
		}
		return buf[:0]
	}
}

// snapshot opens the database files as they are now. busy says that the error
// may be the work of a writer that is half way.
func (db *DB) snapshot() (s snapshot, busy bool, err error) {
	f, err := openRegular(db.root, db.name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return nil, false, err
	}
	switch db.loc.Backend {
	case BDB:
		s, err = newBDB(f)
	case SQLite:
		s, err = newSQLite(db.root, db.name, f)
	case NDB:
		err = errNDB()
	default:
		err = unsupported("format %q", string(db.loc.Backend))
	}
	if err != nil {
		busy = errors.Is(err, ErrCorrupt) && recent(f)
		f.Close()
		return nil, busy, err
	}
	return s, false, nil
}

// recent reports whether a file was written to within the last seconds: what
// looks damaged may then be a transaction of rpm that is being written.
func recent(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return age >= 0 && age < 3*time.Second
}

func (db *DB) fail(err error) error {
	return fmt.Errorf("cannot read rpm database %s: %w", db.loc.Path, err)
}

const (
	attempts = 5
	// pause lets a transaction of rpm get on before the next attempt.
	pause = 40 * time.Millisecond
)

// errStop ends a walk because the consumer wants no more.
var errStop = errors.New("stop")

// Rows yields every header of the database, gpg-pubkey entries included, in no
// particular order. An error ends it and is yielded last, with an empty Row:
// rows yielded before an error are not to be relied on as a whole. Errors wrap
// ErrCorrupt, ErrChanged or what the system returned.
//
// Every row owns its memory. When a writer interferes, the database is read again and the iteration goes
// on, provided that every row yielded already is still there unchanged.
func (db *DB) Rows() iter.Seq2[Row, error] { return db.each(fresh) }

// Transient is Rows without its cost in memory: a row's header is good until
// the next one is asked for, its memory then being used again. Strings and
// numbers taken from it stay; what Bytes and Raw return does not.
func (db *DB) Transient() iter.Seq2[Row, error] { return db.each(nil) }

// each yields rows in memory from alloc, nil meaning memory used again.
func (db *DB) each(alloc allocator) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		alloc := alloc
		if alloc == nil {
			alloc = reused()
		}
		w := &walk{db: db, alloc: alloc, seed: maphash.MakeSeed(), given: make(map[uint32]uint64), yield: yield}
		for attempt := 1; ; attempt++ {
			again, err := w.pass()
			if err == nil || errors.Is(err, errStop) {
				return
			}
			if !again || attempt == attempts {
				yield(Row{}, db.fail(err))
				return
			}
			time.Sleep(pause)
		}
	}
}

// walk is one iteration over the rows, of as many passes as a writer makes
// necessary.
type walk struct {
	db    *DB
	alloc allocator
	seed  maphash.Seed
	given map[uint32]uint64 // what was yielded: number and hash of the record
	yield func(Row, error) bool
}

// pass walks one snapshot and yields what earlier passes did not. again says
// that the snapshot did not hold still.
func (w *walk) pass() (again bool, err error) {
	s := w.db.takeReady()
	if s == nil {
		var busy bool
		if s, busy, err = w.db.snapshot(); err != nil {
			return busy, err
		}
	}
	defer s.close()

	missing := len(w.given)
	seen := make(map[uint32]bool)
	damaged := make(map[uint32]error)
	err = s.rows(w.alloc, func(num uint32, blob []byte) error {
		if seen[num] {
			return corrupt("record %d is there twice", num)
		}
		seen[num] = true
		sum := maphash.Bytes(w.seed, blob)
		if old, ok := w.given[num]; ok {
			if missing--; old != sum {
				return fmt.Errorf("%w: record %d is no longer what it was", ErrChanged, num)
			}
			return nil
		}
		h, err := rpmhdr.Parse(blob)
		if err != nil {
			if w.db.damaged != nil {
				damaged[num] = err
				return nil
			}
			return fmt.Errorf("%w: record %d: %w", ErrCorrupt, num, err)
		}
		w.given[num] = sum
		if !w.yield(Row{Num: num, Header: h}, nil) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return false, err
	}
	if err == nil && missing > 0 {
		err = fmt.Errorf("%w: %d records are gone", ErrChanged, missing)
	}
	changed, busy, statErr := s.changed()
	if statErr != nil {
		return false, statErr
	}
	if changed {
		return true, fmt.Errorf("%w, %d times in a row: is rpm or dnf at work? Try again when it is done", ErrChanged, attempts)
	}
	if err == nil {
		for _, num := range slices.Sorted(maps.Keys(damaged)) {
			if busy { // a writer's half record, most likely
				return true, fmt.Errorf("%w: record %d: %w", ErrCorrupt, num, damaged[num])
			}
			w.db.damaged(num, damaged[num])
		}
	}
	return busy && errors.Is(err, ErrCorrupt), err
}
