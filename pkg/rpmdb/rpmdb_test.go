package rpmdb_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

const queryFormat = `%{name}\t%{epochnum}\t%{version}\t%{release}\t%{arch}\t%{vendor}\t%{installtime}\t%{size}\t%{sourcerpm}\t%{modularitylabel}\t%{rsaheader:pgpsig}\t%{sigpgp:pgpsig}\t%{sigmd5}\t%{sha1header}\n`

func rpmList(t testing.TB, dbpath string, defines ...string) []string {
	args := []string{"--dbpath", dbpath, "-qa", "--nosignature", "--nodigest", "--qf", queryFormat}
	for _, d := range defines {
		args = append(args, "--define", d)
	}
	list := strings.Split(strings.TrimSuffix(run(t, "", "rpm", args...), "\n"), "\n")
	slices.Sort(list)
	return list
}

func ourList(t testing.TB, path string, b rpmdb.Backend) []string {
	t.Helper()
	rows, err := readAll(path, b)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range rows {
		if err := r.Header.VerifyDigests(); err != nil {
			t.Errorf("%s: %v", r.Header.NEVRA(), err)
		}
		list = append(list, describe(r.Header))
	}
	slices.Sort(list)
	return list
}

func TestSQLiteAgreesWithRPM(t *testing.T) {
	dir := makeSQLite(t, manyFiles...)
	path := filepath.Join(dir, "rpmdb.sqlite")
	if d := cmp.Diff(rpmList(t, dir), ourList(t, path, rpmdb.SQLite)); d != "" {
		t.Error(d)
	}
	// rpm -e leaves free pages behind.
	run(t, "", "rpm", "--dbpath", dir, "-e", "--justdb", "--nodeps", "--force-debian", "demo009", "demo003", "demo000")
	got := ourList(t, path, rpmdb.SQLite)
	if d := cmp.Diff(rpmList(t, dir), got); d != "" || len(got) != len(manyFiles)-3 {
		t.Errorf("after erasing: %d rows %s", len(got), d)
	}
}

func TestSQLitePageSizes(t *testing.T) {
	path := filepath.Join(makeSQLite(t, manyFiles...), "rpmdb.sqlite")
	want := oracle(t, path)
	for _, size := range []int{512, 1024, 8192, 65536} {
		for _, reserve := range []int{0, 32} {
			t.Run(fmt.Sprintf("%d-%d", size, reserve), func(t *testing.T) {
				run(t, fmt.Sprintf(".filectrl reserve_bytes %d\npragma journal_mode=delete; pragma page_size=%d; vacuum;\n", reserve, size), "sqlite3", path)
				if d := differ(want, blobs(t, path, rpmdb.SQLite)); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

// withLog runs statements on a database and leaves them in its write-ahead log.
func withLog(t testing.TB, path, statements string) {
	t.Helper()
	run(t, ".dbconfig no_ckpt_on_close on\npragma journal_mode=wal; pragma wal_autocheckpoint=0;\n"+statements, "sqlite3", path)
	info, err := os.Stat(path + "-wal")
	if err != nil || info.Size() == 0 {
		t.Fatalf("no write-ahead log was left: %v", err)
	}
}

func TestWAL(t *testing.T) {
	path := filepath.Join(makeSQLite(t, manyFiles...), "rpmdb.sqlite")
	withLog(t, path, "delete from Packages where hnum in (2, 10); delete from Name where hnum in (2, 10);")
	got := blobs(t, path, rpmdb.SQLite)
	if len(got) != len(manyFiles)-2 || got[2] != nil || got[10] != nil {
		t.Errorf("rows deleted in the log are still there: %d rows", len(got))
	}
	// More transactions, one of them taken back, behind the first.
	withLog(t, path, `
		insert into Packages select 100 + hnum, blob from Packages where hnum < 6; insert into Name select key, 100 + hnum, idx from Name where hnum < 6;
		begin; delete from Packages; rollback;`)
	want := oracle(t, path)
	if d := differ(want, blobs(t, path, rpmdb.SQLite)); d != "" || want[101] == nil {
		t.Error(d)
	}
	// A checkpoint and a new log over the old one: old frames are left behind.
	withLog(t, path, "pragma wal_checkpoint(restart); delete from Packages where hnum = 101; delete from Name where hnum = 101;")
	want = oracle(t, path)
	if d := differ(want, blobs(t, path, rpmdb.SQLite)); d != "" || want[101] != nil {
		t.Error(d)
	}
}

func TestWALThatHoldsEverything(t *testing.T) {
	path := filepath.Join(makeSQLite(t, manyFiles...), "rpmdb.sqlite")
	withLog(t, path, "pragma page_size=4096; update Packages set blob = blob; create table filler(x); insert into filler values (zeroblob(300000));")
	want := oracle(t, path)
	if d := differ(want, blobs(t, path, rpmdb.SQLite)); d != "" {
		t.Error(d)
	}
}

// TestLostLog cuts the write-ahead log at every frame. What is left is either
// the state after an earlier commit, as SQLite itself sees it, or an error.
func TestLostLog(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 3, 4, 5), "rpmdb.sqlite")
	states := []map[uint32][]byte{oracle(t, path)}
	for _, num := range []int{1, 2} {
		withLog(t, path, fmt.Sprintf("delete from Packages where hnum = %[1]d; delete from Name where hnum = %[1]d;", num))
		states = append(states, oracle(t, path))
	}
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(path + "-shm")
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path + "-shm")
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, db)
	saw := make(map[int]bool)
	for cut := 0; cut <= len(log); cut += 700 {
		rewrite(t, path+"-wal", log[:cut])
		rows, err := readAll(path, rpmdb.SQLite)
		if err != nil {
			if !errors.Is(err, rpmdb.ErrCorrupt) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			continue
		}
		i := slices.IndexFunc(states, func(s map[uint32][]byte) bool { return differ(s, byNumber(rows)) == "" })
		if i < 0 {
			t.Fatalf("cut at %d: %d rows, a state that never was", cut, len(rows))
		}
		saw[i] = true
	}
	if !saw[0] || !saw[1] {
		t.Errorf("states seen: %v", saw)
	}
	// With the log's index beside it the loss is known.
	rewrite(t, path+"-shm", index)
	rewrite(t, path+"-wal", log[:len(log)-100])
	if _, err := readAll(path, rpmdb.SQLite); !errors.Is(err, rpmdb.ErrCorrupt) {
		t.Errorf("the index counts a frame that is gone: %v", err)
	}
	// A damaged frame with committed ones behind it is known without.
	os.Remove(path + "-shm")
	log[32+24+100] ^= 1
	rewrite(t, path+"-wal", log)
	if _, err := readAll(path, rpmdb.SQLite); !errors.Is(err, rpmdb.ErrCorrupt) {
		t.Errorf("a damaged frame: %v", err)
	}
}

func TestHotJournal(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 1), "rpmdb.sqlite")
	rewrite(t, path+"-journal", []byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and more"))
	if _, err := readAll(path, rpmdb.SQLite); !errors.Is(err, rpmdb.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	rewrite(t, path+"-journal", make([]byte, 512))
	if _, err := readAll(path, rpmdb.SQLite); err != nil {
		t.Errorf("a wiped journal: %v", err)
	}
}

func TestBDB(t *testing.T) {
	dir := makeSQLite(t, manyFiles...)
	want := blobs(t, filepath.Join(dir, "rpmdb.sqlite"), rpmdb.SQLite)
	for _, size := range []int{512, 1024, 4096, 16384, 65536} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			t.Run(fmt.Sprintf("%d-%v", size, order), func(t *testing.T) {
				if d := differ(want, blobs(t, write(t, load(t, want, size, order)), rpmdb.BDB)); d != "" {
					t.Error(d)
				}
			})
		}
	}
	// rpm reads the same file.
	path := filepath.Join(t.TempDir(), "Packages")
	rewrite(t, path, load(t, want, 4096, binary.LittleEndian))
	if d := cmp.Diff(rpmList(t, filepath.Dir(path), "_db_backend bdb_ro"), ourList(t, path, rpmdb.BDB)); d != "" {
		t.Error(d)
	}
}

// TestBDBManyBuckets has more rows than one page holds, so that buckets split
// and chains grow.
func TestBDBManyBuckets(t *testing.T) {
	one := blobs(t, filepath.Join(makeSQLite(t, 0), "rpmdb.sqlite"), rpmdb.SQLite)[1]
	want := make(map[uint32][]byte)
	for num := range uint32(700) {
		want[num+1] = one
	}
	for _, size := range []int{512, 8192} {
		if d := differ(want, blobs(t, write(t, load(t, want, size, binary.LittleEndian)), rpmdb.BDB)); d != "" {
			t.Errorf("page size %d: %s", size, d)
		}
	}
}

// TestReadingChangesNothing compares a directory before and after.
func TestReadingChangesNothing(t *testing.T) {
	dir := makeSQLite(t, 1, 2, 3)
	path := filepath.Join(dir, "rpmdb.sqlite")
	withLog(t, path, "delete from Packages where hnum = 1; delete from Name where hnum = 1;")
	os.Remove(path + "-shm")
	look := func() string {
		var b strings.Builder
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&b, e.Name(), info.Mode(), info.ModTime().UnixNano(), len(data), string(data))
		}
		info, _ := os.Stat(dir)
		fmt.Fprintln(&b, info.ModTime().UnixNano())
		return b.String()
	}
	before := look()
	if got := blobs(t, path, rpmdb.SQLite); len(got) != 2 {
		t.Errorf("%d rows", len(got))
	}
	if look() != before {
		t.Error("reading left traces")
	}
}

// TestWriterAtWork changes the database between two rows.
func TestWriterAtWork(t *testing.T) {
	for _, tt := range []struct {
		name, statements string
		rows             int // 0: ErrChanged
	}{
		{"the log grows", "delete from Packages where hnum = 3; delete from Name where hnum = 3;", 12},
		{"a row is added", "insert into Packages select 200, blob from Packages where hnum = 1; insert into Name values ('x', 200, 0); pragma wal_checkpoint(truncate);", 13},
		{"a row already seen goes", "delete from Packages where hnum = 1; delete from Name where hnum = 1; pragma wal_checkpoint(truncate);", 0},
		{"a row already seen changes", "update Packages set blob = (select blob from Packages where hnum = 2) where hnum = 1; pragma wal_checkpoint(truncate);", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(makeSQLite(t, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10), "rpmdb.sqlite")
			// A log must be there already: else its first frame goes unnoticed,
			// which is as good a snapshot.
			withLog(t, path, "create table filler(x);")
			db, err := rpmdb.OpenFile(path, rpmdb.SQLite)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			n := 0
			var last error
			for _, err := range db.Rows() {
				if err != nil {
					last = err
					break
				}
				if n++; n == 5 {
					withLog2(t, path, tt.statements)
				}
			}
			if tt.rows == 0 {
				if !errors.Is(last, rpmdb.ErrChanged) {
					t.Errorf("got %v", last)
				}
			} else if last != nil || n != tt.rows {
				t.Errorf("%d rows, %v", n, last)
			}
		})
	}
}

func withLog2(t testing.TB, path, statements string) {
	t.Helper()
	run(t, ".dbconfig no_ckpt_on_close on\n"+statements, "sqlite3", path)
}

func TestBDBWriterAtWork(t *testing.T) {
	dir := makeSQLite(t, manyFiles...)
	rows := blobs(t, filepath.Join(dir, "rpmdb.sqlite"), rpmdb.SQLite)
	path := write(t, load(t, rows, 4096, binary.LittleEndian))
	rows[77] = rows[1]
	more := load(t, rows, 4096, binary.LittleEndian)
	db, err := rpmdb.OpenFile(path, rpmdb.BDB)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got := make(map[uint32][]byte)
	for row, err := range db.Rows() {
		if err != nil {
			t.Fatal(err)
		}
		if got[row.Num] != nil {
			t.Fatalf("record %d twice", row.Num)
		}
		got[row.Num] = row.Header.Raw()
		if len(got) == 3 {
			if err := os.WriteFile(path, more, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := differ(rows, got); d != "" {
		t.Error(d)
	}
}

func TestRowsMayStopAndBeRepeated(t *testing.T) {
	path := filepath.Join(makeSQLite(t, 1, 2, 3), "rpmdb.sqlite")
	db, err := rpmdb.OpenFile(path, rpmdb.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 3 {
		for _, err := range db.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	n := 0
	for range db.Rows() {
		n++
	}
	if n != 3 {
		t.Errorf("%d rows", n)
	}
}

func TestOpenFileErrors(t *testing.T) {
	if _, err := rpmdb.OpenFile(filepath.Join(t.TempDir(), "none"), rpmdb.BDB); !errors.Is(err, rpmdb.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
	for _, b := range []rpmdb.Backend{rpmdb.BDB, rpmdb.SQLite} {
		if _, err := rpmdb.OpenFile(write(t, nil), b); !errors.Is(err, rpmdb.ErrCorrupt) {
			t.Errorf("empty: %v", err)
		}
		if _, err := rpmdb.OpenFile(t.TempDir(), b); err == nil {
			t.Error("a directory was opened")
		}
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(pipe, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := rpmdb.OpenFile(pipe, b); err == nil {
			t.Error("a pipe was opened")
		}
	}
	if _, err := rpmdb.OpenFile(write(t, nil), rpmdb.NDB); !errors.Is(err, rpmdb.ErrUnsupported) || !strings.Contains(err.Error(), "--rebuilddb") {
		t.Errorf("ndb: %v", err)
	}
}

func TestPermission(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "var/lib/rpm"), 0o755)
	path := filepath.Join(dir, "var/lib/rpm/Packages")
	if err := os.WriteFile(path, []byte("x"), 0o000); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// The thread's own file system identity; the thread ends with the test.
		os.Chmod(filepath.Dir(dir), 0o755)
		runtime.LockOSThread()
		unix.Setfsuid(65534)
	}
	_, err := rpmdb.Open(dir)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() == 0 {
		unix.Setfsuid(0)
		runtime.UnlockOSThread()
	}
}

func TestRecentDamageIsTriedAgain(t *testing.T) {
	dir := makeSQLite(t, 1, 2)
	path := filepath.Join(dir, "rpmdb.sqlite")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Half of it now, the rest a moment later: a writer at work.
	if err := os.WriteFile(path, whole[:len(whole)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(30 * time.Millisecond)
		os.WriteFile(path, whole, 0o644)
	}()
	rows, err := readAll(path, rpmdb.SQLite)
	if err != nil || len(rows) != 2 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestTransientGivesTheSame(t *testing.T) {
	path := filepath.Join(makeSQLite(t, manyFiles...), "rpmdb.sqlite")
	want := oracle(t, path)
	for _, file := range []struct {
		path    string
		backend rpmdb.Backend
	}{{path, rpmdb.SQLite}, {write(t, load(t, want, 1024, binary.LittleEndian)), rpmdb.BDB}} {
		db, err := rpmdb.OpenFile(file.path, file.backend)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[uint32][]byte)
		for row, err := range db.Transient() {
			if err != nil {
				t.Fatal(err)
			}
			got[row.Num] = slices.Clone(row.Header.Raw())
		}
		db.Close()
		if d := differ(want, got); d != "" {
			t.Errorf("%s: %s", file.backend, d)
		}
	}
}
