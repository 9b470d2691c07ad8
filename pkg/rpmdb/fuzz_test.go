package rpmdb_test

import (
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// The seeds in testdata are small databases of this project's own making:
//
//	go test ./pkg/rpmdb -run TestSeeds -update-seeds
var updateSeeds = flag.Bool("update-seeds", false, "make the seeds in testdata anew with rpm, sqlite3 and db5.3_load")

const seeds = "testdata/"

func TestSeeds(t *testing.T) {
	if *updateSeeds {
		makeSeeds(t)
	}
	for _, tt := range []struct {
		file    string
		backend rpmdb.Backend
		rows    int
	}{
		{"plain.sqlite", rpmdb.SQLite, 3},
		{"logged.sqlite", rpmdb.SQLite, 3}, // 2 in the file, 1 more and 1 replaced in the log
		{"le512.Packages", rpmdb.BDB, 3},
		{"be1024.Packages", rpmdb.BDB, 3},
	} {
		rows, err := readAll(seeds+tt.file, tt.backend)
		if err != nil || len(rows) != tt.rows {
			t.Errorf("%s: %d rows, %v", tt.file, len(rows), err)
		}
		for _, r := range rows {
			if err := r.Header.VerifyDigests(); err != nil {
				t.Errorf("%s: %v", tt.file, err)
			}
		}
	}
}

func makeSeeds(t *testing.T) {
	full := filepath.Join(makeSQLite(t, 0, 1, 4), "rpmdb.sqlite")
	rows := blobs(t, full, rpmdb.SQLite)
	os.RemoveAll(seeds)
	os.MkdirAll(seeds, 0o755)
	insert := func(num uint32) string {
		return fmt.Sprintf("insert into Packages values (%d, x'%x'); insert into Name values ('demo', %d, 0);\n", num, rows[num], num)
	}
	schema := `pragma page_size=512;
		create table Packages (hnum integer primary key autoincrement, blob blob not null);
		create table Name (key text not null, hnum integer not null, idx integer not null);
		create index Name_key_idx on Name(key asc);` + "\n"
	run(t, schema+insert(1)+insert(2)+insert(3), "sqlite3", seeds+"plain.sqlite")
	run(t, schema+insert(1)+insert(2), "sqlite3", seeds+"logged.sqlite")
	withLog(t, seeds+"logged.sqlite", insert(3)+"update Packages set blob = blob where hnum = 2;")
	os.Remove(seeds + "logged.sqlite-shm")
	os.WriteFile(seeds+"le512.Packages", load(t, rows, 512, binary.LittleEndian), 0o644)
	os.WriteFile(seeds+"be1024.Packages", load(t, rows, 1024, binary.BigEndian), 0o644)
}

func seed(f *testing.F, name string) []byte {
	data, err := os.ReadFile(seeds + name)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// probe reads a database of arbitrary bytes: any outcome is right but a panic,
// a hang, a row twice, or an error that says nothing of its kind.
func probe(t *testing.T, path string, b rpmdb.Backend) {
	start := time.Now()
	rows, err := readAll(path, b)
	if took := time.Since(start); took > 10*time.Second {
		t.Fatalf("took %v", took)
	}
	if err != nil {
		if !errors.Is(err, rpmdb.ErrCorrupt) && !errors.Is(err, rpmdb.ErrUnsupported) {
			t.Fatal(err)
		}
		return
	}
	if len(byNumber(rows)) != len(rows) {
		t.Fatalf("%d rows, %d numbers", len(rows), len(byNumber(rows)))
	}
	for _, r := range rows {
		r.Header.NEVRA()
		r.Header.VerifyDigests()
	}
}

func FuzzBDB(f *testing.F) {
	f.Add(seed(f, "le512.Packages"))
	f.Add(seed(f, "be1024.Packages"))
	path := filepath.Join(f.TempDir(), "Packages")
	f.Fuzz(func(t *testing.T, data []byte) {
		rewrite(t, path, data)
		probe(t, path, rpmdb.BDB)
	})
}

func FuzzSQLite(f *testing.F) {
	f.Add(seed(f, "plain.sqlite"))
	f.Add(seed(f, "logged.sqlite"))
	path := filepath.Join(f.TempDir(), "rpmdb.sqlite")
	f.Fuzz(func(t *testing.T, data []byte) {
		rewrite(t, path, data)
		probe(t, path, rpmdb.SQLite)
	})
}

func FuzzWAL(f *testing.F) {
	f.Add(seed(f, "logged.sqlite-wal"))
	path := filepath.Join(f.TempDir(), "rpmdb.sqlite")
	db := seed(f, "logged.sqlite")
	f.Fuzz(func(t *testing.T, log []byte) {
		rewrite(t, path, db)
		rewrite(t, path+"-wal", repairSums(log))
		probe(t, path, rpmdb.SQLite)
	})
}

// repairSums makes the checksums of a log right, so that a fuzzer gets past
// them. Without it every altered frame is the end of the log.
func repairSums(log []byte) []byte {
	if len(log) < 32 {
		return log
	}
	log = append([]byte(nil), log...)
	order := binary.ByteOrder(binary.LittleEndian)
	if log[3]&1 != 0 {
		order = binary.BigEndian
	}
	var a, b uint32
	sum := func(p []byte) {
		for ; len(p) >= 8; p = p[8:] {
			a += order.Uint32(p) + b
			b += order.Uint32(p[4:]) + a
		}
	}
	put := func(at int) {
		binary.BigEndian.PutUint32(log[at:], a)
		binary.BigEndian.PutUint32(log[at+4:], b)
	}
	sum(log[:24])
	put(24)
	for off := 32; off+24+512 <= len(log); off += 24 + 512 {
		copy(log[off+8:off+16], log[16:24])
		sum(log[off : off+8])
		sum(log[off+24 : off+24+512])
		put(off + 16)
	}
	return log
}

func FuzzMacros(f *testing.F) {
	f.Add("%_var /var\n%_dbpath %{_var}/lib/rpm\n")
	f.Add("%_dbpath %(echo x)\n%a(b) \\\n c\n%x %{?_dbpath}\n%_db_backend %x\n")
	root := f.TempDir()
	os.MkdirAll(filepath.Join(root, "etc/rpm"), 0o755)
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(filepath.Join(root, "etc/rpm/macros"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if loc, err := rpmdb.Locate(root); err == nil && !strings.HasPrefix(loc.DBPath, "/") {
			t.Fatalf("%+v", loc)
		}
	})
}
