package rpmdb_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// damaged is a database file that can be altered and put right again.
type damaged struct {
	path    string
	backend rpmdb.Backend
	data    []byte
	truth   map[uint32][]byte
	fixed   map[uint32][]byte // the immutable region of each header
}

func newDamaged(t *testing.T, data []byte, b rpmdb.Backend) *damaged {
	d := &damaged{path: write(t, data), backend: b, data: data, truth: make(map[uint32][]byte), fixed: make(map[uint32][]byte)}
	rows, err := readAll(d.path, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		raw, err := r.Header.Immutable()
		if err != nil {
			t.Fatal(err)
		}
		d.truth[r.Num], d.fixed[r.Num] = r.Header.Raw(), raw
	}
	return d
}

// check reads the file as it now is: the truth, or an error. A row may differ
// in what no digest covers (what was added at installation), not elsewhere.
func (d *damaged) check(t *testing.T, what string) (failed bool) {
	t.Helper()
	start := time.Now()
	rows, err := readAll(d.path, d.backend)
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("%s: took %v", what, took)
	}
	if err != nil {
		if !errors.Is(err, rpmdb.ErrCorrupt) && !errors.Is(err, rpmdb.ErrUnsupported) {
			t.Errorf("%s: an error of no kind: %v", what, err)
		}
		return true
	}
	if len(rows) != len(d.truth) {
		t.Errorf("%s: %d rows without an error, want %d", what, len(rows), len(d.truth))
		return false
	}
	for _, r := range rows {
		want, ok := d.truth[r.Num]
		if !ok {
			t.Errorf("%s: record %d never was", what, r.Num)
			continue
		}
		if bytes.Equal(want, r.Header.Raw()) || r.Header.VerifyDigests() != nil {
			continue
		}
		if raw, err := r.Header.Immutable(); err != nil || !bytes.Equal(raw, d.fixed[r.Num]) {
			t.Errorf("%s: record %d is altered, and its digest agrees", what, r.Num)
		}
	}
	return false
}

// flips alters single bytes: many in the head of each page, where the structure
// is, and some anywhere.
func (d *damaged) flips(t *testing.T, pageSize int) {
	f, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := time.Now().Add(-time.Hour)
	rnd := rand.New(rand.NewPCG(1, 2))
	tried, failed := 0, 0
	flip := func(at int, to byte) {
		if at >= len(d.data) || d.data[at] == to {
			return
		}
		f.WriteAt([]byte{to}, int64(at))
		os.Chtimes(d.path, old, old)
		tried++
		if d.check(t, fmt.Sprintf("byte %d of page %d, %#x to %#x", at%pageSize, at/pageSize, d.data[at], to)) {
			failed++
		}
		f.WriteAt(d.data[at:at+1], int64(at))
	}
	stride := max(1, len(d.data)/pageSize/60)
	for page := 0; page*pageSize < len(d.data); page++ {
		at := page * pageSize
		if page < 8 || page%stride == 0 {
			for i := range 40 {
				flip(at+i, d.data[min(at+i, len(d.data)-1)]^byte(1<<rnd.IntN(8)))
			}
		}
		for range 4 {
			i := at + rnd.IntN(pageSize)
			flip(i, byte(rnd.IntN(256)))
		}
		// A page of zeros, as a lost write leaves it.
		end := min(at+pageSize, len(d.data))
		f.WriteAt(make([]byte, end-at), int64(at))
		os.Chtimes(d.path, old, old)
		d.check(t, fmt.Sprintf("page %d zeroed", page))
		// A page in the place of another.
		if page > 1 {
			f.WriteAt(d.data[at-pageSize:at-pageSize+end-at], int64(at))
			os.Chtimes(d.path, old, old)
			d.check(t, fmt.Sprintf("page %d replaced by the one before", page))
		}
		f.WriteAt(d.data[at:end], int64(at))
	}
	if failed == 0 || d.check(t, "put right again") {
		t.Errorf("%d of %d changes gave an error", failed, tried)
	}
	t.Logf("%d bytes altered, %d times an error", tried, failed)
}

func (d *damaged) truncations(t *testing.T, step int) {
	for cut := len(d.data) - 1; cut > 0; cut -= step {
		rewrite(t, d.path, d.data[:cut])
		if !d.check(t, fmt.Sprintf("truncated to %d", cut)) {
			t.Errorf("truncated to %d of %d: no error", cut, len(d.data))
		}
	}
	rewrite(t, d.path, d.data)
}

func TestDamagedSQLite(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 0, 3, 90, 1, 40, 0, 2), "rpmdb.sqlite")
	for _, size := range []int{4096, 512} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			run(t, fmt.Sprintf("pragma journal_mode=delete; pragma page_size=%d; vacuum;", size), "sqlite3", path)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			d := newDamaged(t, data, rpmdb.SQLite)
			d.flips(t, size)
			d.truncations(t, len(data)/150)
		})
	}
}

// TestLostCells takes a row away by lowering a page's cell count, as one bad
// byte can. SQLite itself notices nothing and gives a shorter list.
func TestLostCells(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 3, 3, 3, 3, 3, 3, 3, 3), "rpmdb.sqlite")
	run(t, "pragma journal_mode=delete; vacuum;", "sqlite3", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page, _ := strconv.Atoi(strings.TrimSpace(run(t, "", "sqlite3", path, "select rootpage from sqlite_schema where name = 'Packages'")))
	at := (page - 1) * 4096
	if data[at] == 5 { // an interior page: go on to its last child
		page = int(binary.BigEndian.Uint32(data[at+8:]))
		at = (page - 1) * 4096
	}
	if data[at] != 13 || data[at+4] < 2 {
		t.Fatalf("page %d is no leaf with two rows: % x", page, data[at:at+8])
	}
	data[at+4]--
	rewrite(t, path, data)
	if got := oracle(t, path); len(got) != 7 {
		t.Logf("SQLite gives %d of 8 rows", len(got))
	}
	_, err = readAll(path, rpmdb.SQLite)
	if !errors.Is(err, rpmdb.ErrCorrupt) || !strings.Contains(err.Error(), fmt.Sprintf("page %d:", page)) {
		t.Errorf("got %v, want an error that names page %d", err, page)
	}
}

func TestDamagedBDB(t *testing.T) {
	rows := blobs(t, filepath.Join(makeSQLite(t, 0, 3, 90, 1, 40, 0, 2), "rpmdb.sqlite"), rpmdb.SQLite)
	for _, size := range []int{512, 4096, 16384} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			d := newDamaged(t, load(t, rows, size, binary.LittleEndian), rpmdb.BDB)
			d.flips(t, size)
			d.truncations(t, len(d.data)/150)
		})
	}
}

// TestPassOver: a record without a readable header costs no other one, where
// the caller says so.
func TestPassOver(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 3, 3, 3, 3, 3), "rpmdb.sqlite")
	run(t, "pragma journal_mode=delete; vacuum;", "sqlite3", path)
	good, err := readAll(path, rpmdb.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	bad := []uint32{good[1].Num, good[3].Num}
	run(t, fmt.Sprintf("update Packages set blob = zeroblob(300) where hnum = %d; update Packages set blob = substr(blob, 1, 100) where hnum = %d;", bad[0], bad[1]), "sqlite3", path)
	if _, err := readAll(path, rpmdb.SQLite); !errors.Is(err, rpmdb.ErrCorrupt) {
		t.Errorf("without being told to pass over: %v", err)
	}
	// What was written a moment ago may be a writer's.
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	db, err := rpmdb.OpenFile(path, rpmdb.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for pass := range 2 {
		var damaged, read []uint32
		db.PassOver(func(num uint32, err error) {
			if err == nil {
				t.Error("no reason")
			}
			damaged = append(damaged, num)
		})
		for row, err := range db.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			read = append(read, row.Num)
		}
		if fmt.Sprint(damaged) != fmt.Sprint(bad) || len(read) != len(good)-2 {
			t.Errorf("pass %d: damaged %v, want %v; read %v", pass, damaged, bad, read)
		}
	}
}
