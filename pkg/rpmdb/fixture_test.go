package rpmdb_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/rpmpack"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// need skips the test where a tool is missing.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is not installed (apt-get install rpm sqlite3 db5.3-util)", tool)
		}
	}
}

func run(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.String())
	}
	return string(out)
}

// makeRPM writes a package with the given number of files, whose header is
// about 150 bytes a file.
func makeRPM(t testing.TB, dir, name string, files int) string {
	t.Helper()
	r, err := rpmpack.NewRPM(rpmpack.RPMMetaData{
		Name: name, Version: "1.0", Release: "1.el9", Arch: "noarch", OS: "linux", Summary: "made for a test", Description: "d",
		Vendor: "nobody", Licence: "none", Compressor: "gzip",
		Provides: rpmpack.Relations{{Name: name + "-feature", Version: "2", Sense: rpmpack.SenseEqual}},
		Requires: rpmpack.Relations{{Name: "something", Version: "3", Sense: rpmpack.SenseEqual | rpmpack.SenseGreater}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		r.AddFile(rpmpack.RPMFile{
			Name: fmt.Sprintf("/usr/share/%s/some-directory/file-%04d.dat", name, i), Body: []byte(name),
			Mode: 0o100644, Owner: "root", Group: "root",
		})
	}
	path := filepath.Join(dir, name+"-1.0-1.el9.noarch.rpm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.Write(f); err != nil {
		t.Fatal(err)
	}
	return path
}

// makeSQLite lets rpm install packages into a new database, one for every
// number of files given, and returns its directory.
func makeSQLite(t testing.TB, files ...int) string {
	t.Helper()
	need(t, "rpm", "sqlite3")
	rpms, dbpath := t.TempDir(), t.TempDir()
	args := []string{"--dbpath", dbpath, "--define", "_db_backend sqlite", "-i", "--justdb", "--nodeps", "--nosignature", "--force-debian"}
	for i, n := range files {
		args = append(args, makeRPM(t, rpms, fmt.Sprintf("demo%03d", i), n))
	}
	run(t, "", "rpm", args...)
	if _, err := os.Stat(filepath.Join(dbpath, "rpmdb.sqlite")); err != nil {
		t.Skipf("SKIPPED: this rpm writes no SQLite database: %v", err)
	}
	return dbpath
}

// manyFiles gives headers that lie within a page, and over many.
var manyFiles = []int{0, 1, 2, 5, 9, 17, 30, 60, 120, 400, 3, 0, 0, 1}

// load makes a Berkeley DB file of the rows with Oracle's own db_load.
func load(t testing.TB, rows map[uint32][]byte, pageSize int, order binary.ByteOrder) []byte {
	t.Helper()
	need(t, "db5.3_load")
	lorder := 1234
	if order == binary.BigEndian {
		lorder = 4321
	}
	var in strings.Builder
	fmt.Fprintf(&in, "VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=%d\ndb_lorder=%d\nHEADER=END\n", pageSize, lorder)
	pair := func(num uint32, value []byte) {
		key := make([]byte, 4)
		order.PutUint32(key, num)
		fmt.Fprintf(&in, " %s\n %s\n", hex.EncodeToString(key), hex.EncodeToString(value))
	}
	top := uint32(0)
	for num, blob := range rows {
		pair(num, blob)
		top = max(top, num)
	}
	counter := make([]byte, 4)
	order.PutUint32(counter, top)
	pair(0, counter)
	in.WriteString("DATA=END\n")
	path := filepath.Join(t.TempDir(), "Packages")
	run(t, in.String(), "db5.3_load", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func blobs(t testing.TB, path string, b rpmdb.Backend) map[uint32][]byte {
	t.Helper()
	rows, err := readAll(path, b)
	if err != nil {
		t.Fatal(err)
	}
	return byNumber(rows)
}

func byNumber(rows []rpmdb.Row) map[uint32][]byte {
	m := make(map[uint32][]byte)
	for _, r := range rows {
		m[r.Num] = r.Header.Raw()
	}
	return m
}

// oracle asks SQLite itself, through its command.
func oracle(t testing.TB, path string) map[uint32][]byte {
	t.Helper()
	m := make(map[uint32][]byte)
	for line := range strings.Lines(run(t, "", "sqlite3", "-readonly", "-separator", " ", path, "select hnum, hex(blob) from Packages")) {
		var num uint32
		var text string
		fmt.Sscan(line, &num, &text)
		blob, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		m[num] = blob
	}
	return m
}

// differ says how two databases differ; cmp would take seconds for headers of
// hundreds of kilobytes.
func differ(want, got map[uint32][]byte) string {
	var out []string
	for num, blob := range want {
		if g, ok := got[num]; !ok {
			out = append(out, fmt.Sprintf("record %d is missing", num))
		} else if !bytes.Equal(blob, g) {
			out = append(out, fmt.Sprintf("record %d: %d bytes, want %d", num, len(g), len(blob)))
		}
	}
	for num := range got {
		if _, ok := want[num]; !ok {
			out = append(out, fmt.Sprintf("record %d should not be there", num))
		}
	}
	return strings.Join(out, "; ")
}
