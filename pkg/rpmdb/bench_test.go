package rpmdb_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// bigSQLite has 1,500 rows and 73 MB of headers, as a well-filled EL9 server
// has. RPMDB_BENCH names another database to measure instead.
func bigSQLite(b *testing.B) string {
	if path := os.Getenv("RPMDB_BENCH"); path != "" {
		return path
	}
	path := filepath.Join(makeSQLite(b, 0, 2, 20, 60, 150, 200, 300, 450, 700, 1130), "rpmdb.sqlite")
	var sql strings.Builder
	sql.WriteString("pragma journal_mode=delete; begin;\n")
	for i := 1; i < 150; i++ {
		fmt.Fprintf(&sql, "insert into Packages select %d + hnum, blob from Packages where hnum < 100; insert into Name select key, %d + hnum, idx from Name where hnum < 100;\n", i*100, i*100)
	}
	sql.WriteString("commit;\n")
	run(b, sql.String(), "sqlite3", path)
	return path
}

func benchmark(b *testing.B, path string, backend rpmdb.Backend, transient bool, visit func(*rpmhdr.Header)) {
	b.ReportAllocs()
	rows, size := 0, 0
	for b.Loop() {
		db, err := rpmdb.OpenFile(path, backend)
		if err != nil {
			b.Fatal(err)
		}
		rows, size = 0, 0
		iterate := db.Rows
		if transient {
			iterate = db.Transient
		}
		for row, err := range iterate() {
			if err != nil {
				b.Fatal(err)
			}
			visit(row.Header)
			rows++
			size += len(row.Header.Raw())
		}
		db.Close()
	}
	b.SetBytes(int64(size))
	b.ReportMetric(float64(rows), "rows")
}

func BenchmarkRows(b *testing.B) {
	sqlite := bigSQLite(b)
	bdb := sqlite
	if os.Getenv("RPMDB_BENCH") == "" {
		rows, err := readAll(sqlite, rpmdb.SQLite)
		if err != nil {
			b.Fatal(err)
		}
		bdb = filepath.Join(b.TempDir(), "Packages")
		rewrite(b, bdb, load(b, byNumber(rows), 4096, binary.LittleEndian))
	}
	for _, tt := range []struct {
		name  string
		visit func(*rpmhdr.Header)
	}{
		{"headers", func(h *rpmhdr.Header) {}},
		{"identity", func(h *rpmhdr.Header) { h.NEVRA(); h.String(rpmhdr.TagVendor); h.String(rpmhdr.TagSourceRPM) }},
		{"dependencies", func(h *rpmhdr.Header) {
			h.NEVRA()
			h.Deps(rpmhdr.Requires)
			h.Deps(rpmhdr.Provides)
		}},
		{"files", func(h *rpmhdr.Header) { h.FilePaths() }},
		{"digests", func(h *rpmhdr.Header) { h.VerifyDigests() }},
		{"damage", func(h *rpmhdr.Header) { h.CheckDamage() }},
	} {
		b.Run("sqlite/owned/"+tt.name, func(b *testing.B) { benchmark(b, sqlite, rpmdb.SQLite, false, tt.visit) })
		b.Run("sqlite/transient/"+tt.name, func(b *testing.B) { benchmark(b, sqlite, rpmdb.SQLite, true, tt.visit) })
		if bdb != sqlite {
			b.Run("bdb/transient/"+tt.name, func(b *testing.B) { benchmark(b, bdb, rpmdb.BDB, true, tt.visit) })
		}
	}
}
