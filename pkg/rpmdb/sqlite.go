package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
)

// The file header of SQLite, section 1.3 of the file format.
const (
	sqliteMagic      = "SQLite format 3\x00"
	sqliteHeaderLen  = 100
	sqlitePageSize   = 16
	sqliteReserved   = 20
	sqliteChanges    = 24
	sqlitePages      = 28
	sqliteEncoding   = 56
	sqlitePagesValid = 92 // the change counter for which the page count holds
)

// journalMagic starts a rollback journal that still has to be played back.
var journalMagic = []byte{0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7}

// sqliteFile is one state of a SQLite database: the file, overlaid with what
// the committed transactions of the write-ahead log say.
type sqliteFile struct {
	f        *os.File
	w        window
	stamp    stamp
	wal      *walFile // nil without a log
	pageSize int
	usable   int
	pages    uint32
	seen     pageSet
	alloc    allocator
	nodes    [maxDepth + 1][]byte // copies of the pages from the root to the one under way
}

func newSQLite(root *os.Root, name string, f *os.File) (*sqliteFile, error) {
	// The stamp comes first: whatever happens later will show.
	st, err := takeStamp(f, sqliteHeaderLen)
	if err != nil {
		return nil, err
	}
	s := &sqliteFile{f: f, stamp: st, w: window{f: f, size: st.info.Size(), next: windowMin}}
	if s.wal, err = openWAL(root, name); err != nil {
		return nil, err
	}
	if err := s.open(root, name); err != nil {
		s.closeWAL()
		return nil, err
	}
	return s, nil
}

func (s *sqliteFile) close() {
	s.f.Close()
	s.closeWAL()
}

func (s *sqliteFile) closeWAL() {
	if s.wal != nil {
		s.wal.f.Close()
	}
}

func (s *sqliteFile) changed() (changed, busy bool, err error) {
	busy = recent(s.f)
	changed, err = s.stamp.moved(s.f)
	if err == nil && !changed && s.wal != nil {
		changed, err = s.wal.restarted()
	}
	return changed, busy, err
}

// open reads page 1, which may stand in the log.
func (s *sqliteFile) open(root *os.Root, name string) error {
	head := s.stamp.start
	if s.wal != nil && s.wal.frames[1] != 0 {
		p, err := s.wal.w.at(s.wal.frames[1], sqliteHeaderLen)
		if err != nil {
			return err
		}
		head = bytes.Clone(p)
	}
	if len(head) < sqliteHeaderLen || string(head[:len(sqliteMagic)]) != sqliteMagic {
		return corrupt("page 1: no SQLite database (%d bytes)", s.w.size)
	}
	size := int(binary.BigEndian.Uint16(head[sqlitePageSize:]))
	if size == 1 {
		size = 64 << 10
	}
	if size < 512 || bits.OnesCount(uint(size)) != 1 {
		return corrupt("page 1: page size %d", size)
	}
	s.pageSize, s.usable = size, size-int(head[sqliteReserved])
	if s.usable < 480 {
		return corrupt("page 1: %d of %d bytes of a page are usable, at least 480 must be", s.usable, size)
	}
	if e := binary.BigEndian.Uint32(head[sqliteEncoding:]); e > 1 {
		return unsupported("SQLite with text encoding %d; rpm writes UTF-8", e)
	}
	inFile := s.w.size / int64(size)
	s.pages = binary.BigEndian.Uint32(head[sqlitePages:])
	if s.pages == 0 || !bytes.Equal(head[sqliteChanges:sqliteChanges+4], head[sqlitePagesValid:sqlitePagesValid+4]) {
		s.pages = uint32(min(inFile, 1<<32-2)) // written by a SQLite of before 3.7.0
	}
	if s.wal != nil && s.wal.pages != 0 {
		if s.wal.pageSize != size {
			return corrupt("the write-ahead log has pages of %d bytes, the database of %d", s.wal.pageSize, size)
		}
		s.pages = s.wal.pages
	} else if int64(s.pages) > inFile {
		return corrupt("the file has %d bytes, its %d pages need %d: page %d is cut off or missing", s.w.size, s.pages, int64(s.pages)*int64(size), inFile+1)
	}
	// A page can be missing from the file only if the log has it. Whoever
	// claims billions of pages shall not get memory for them.
	if most := inFile + int64(s.wal.count()); int64(s.pages) > most {
		return corrupt("%d pages are claimed, file and write-ahead log hold %d", s.pages, most)
	}
	s.seen = newPageSet(s.pages + 1)
	return checkJournal(root, name)
}

// checkJournal refuses a database whose last transaction was interrupted in
// rollback mode: what the file holds is half of it.
func checkJournal(root *os.Root, name string) error {
	f, err := openRegular(root, name+"-journal")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the rollback journal: %w", err)
	}
	defer f.Close()
	start := make([]byte, len(journalMagic))
	if n, _ := f.ReadAt(start, 0); n < len(start) || !bytes.Equal(start, journalMagic) {
		return nil // empty or wiped: the transaction ended
	}
	return corrupt("%s-journal holds an unfinished transaction; run \"rpm -qa\" as root on the host, which takes it back", name)
}

// page returns page n, valid until the next call.
func (s *sqliteFile) page(n, from uint32) ([]byte, error) {
	if n == 0 || n > s.pages {
		return nil, corrupt("page %d refers to page %d of %d", from, n, s.pages)
	}
	if !s.seen.add(n) {
		return nil, corrupt("page %d is used twice", n)
	}
	if s.wal != nil {
		if off := s.wal.frames[n]; off != 0 {
			return s.wal.w.at(off, s.pageSize)
		}
	}
	return s.w.at(int64(n-1)*int64(s.pageSize), s.pageSize)
}

// rows reads the table of headers, and the table of names to know that it is
// whole: every header has exactly one name, and rpm writes both in one
// transaction.
func (s *sqliteFile) rows(alloc allocator, fn func(uint32, []byte) error) error {
	s.alloc = reused()
	tables, err := s.schema()
	if err != nil {
		return err
	}
	root, ok := tables["Packages"]
	if !ok {
		return corrupt("there is no table Packages: is this an rpm database?")
	}
	var found []uint32
	s.alloc = alloc
	err = s.table("Packages", root, func(rowid int64, payload []byte) error {
		if rowid <= 0 || rowid > 1<<32-1 {
			return corrupt("table Packages: record number %d", rowid)
		}
		blob, err := blobColumn(payload)
		if err != nil {
			return fmt.Errorf("record %d: %w", rowid, err)
		}
		found = append(found, uint32(rowid))
		return fn(uint32(rowid), blob)
	})
	if err != nil {
		return err
	}
	names, ok := tables["Name"]
	if !ok {
		return corrupt("there is no table Name to count against; \"rpm --rebuilddb\" on the host makes it")
	}
	s.alloc = reused()
	named := make(map[uint32]bool, len(found))
	err = s.table("Name", names, func(rowid int64, payload []byte) error {
		num, err := numberColumn(payload)
		if err != nil {
			return fmt.Errorf("table Name, row %d: %w", rowid, err)
		}
		if named[num] {
			return corrupt("table Name: record %d has two names", num)
		}
		named[num] = true
		return nil
	})
	if err != nil {
		return err
	}
	for _, num := range found {
		if !named[num] {
			return corrupt("record %d has no row in table Name; \"rpm --rebuilddb\" on the host repairs that", num)
		}
		delete(named, num)
	}
	for num := range named {
		return corrupt("record %d is in table Name, but not in table Packages (%d such); \"rpm --rebuilddb\" on the host repairs what can be repaired", num, len(named))
	}
	return nil
}

// schema returns the root page of each table.
func (s *sqliteFile) schema() (map[string]uint32, error) {
	tables := make(map[string]uint32)
	err := s.table("sqlite_schema", 1, func(rowid int64, payload []byte) error {
		cols, err := record(payload, 4)
		if err != nil {
			return fmt.Errorf("table sqlite_schema, row %d: %w", rowid, err)
		}
		if string(cols[0].body) != "table" {
			return nil
		}
		root, ok := cols[3].integer()
		if !ok || root < 0 || root > int64(s.pages) {
			return corrupt("table sqlite_schema, row %d: no root page", rowid)
		}
		name := string(cols[1].body)
		if _, twice := tables[name]; twice {
			return corrupt("table sqlite_schema has %q twice", name)
		}
		tables[name] = uint32(root)
		return nil
	})
	return tables, err
}
