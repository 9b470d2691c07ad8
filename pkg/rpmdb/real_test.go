package rpmdb_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// real are the databases of real systems, each with rpm's own listing.
var real = []struct {
	archive string // in rpmdb/
	member  string // of a tar archive
	backend rpmdb.Backend
	want    string // in rpmdb/expected/
}{
	{"go-rpmdb-centos7-plain.Packages.xz", "", rpmdb.BDB, "go-rpmdb-centos7-plain.tsv"},
	{"go-rpmdb-centos8-modularitylabel.Packages.xz", "", rpmdb.BDB, "go-rpmdb-centos8-modularitylabel.tsv"},
	{"go-rpmdb-ubi8-s390x.Packages.xz", "", rpmdb.BDB, "go-rpmdb-ubi8-s390x.tsv"}, // big-endian
	{"osquery-rpm-bdb.tar.xz", "Packages", rpmdb.BDB, "osquery-bdb.tsv"},
	{"almalinux-al9-micro-aarch64-9.0.3-rpmdb-etc.tar.xz", "Packages", rpmdb.BDB, "almalinux-al9-micro-aarch64-9.0.3.tsv"}, // 16 KiB pages
	{"go-rpmdb-rockylinux-9.rpmdb.sqlite.xz", "", rpmdb.SQLite, "go-rpmdb-rockylinux-9.tsv"},
	{"osquery-rpm-sqlite.tar.xz", "rpmdb.sqlite", rpmdb.SQLite, "osquery-sqlite.tsv"},
	{"almalinux-al9-micro-aarch64-20231124-rpmdb-etc.tar.xz", "rpmdb.sqlite", rpmdb.SQLite, "almalinux-al9-micro-aarch64-20231124.tsv"},
}

// unpack writes a database out of its archive and returns its path. An old
// time keeps the reader from waiting for a writer.
func unpack(t testing.TB, archive, member string) string {
	t.Helper()
	packed := filepath.Join(realdata.Dir(t), "rpmdb", archive)
	var r io.Reader
	if out, err := exec.Command("xz", "-dc", packed).Output(); err == nil {
		r = bytes.NewReader(out) // ten times faster than the library
	} else {
		f, err := os.Open(packed)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if r, err = xz.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	if member != "" {
		tr := tar.NewReader(r)
		for {
			hd, err := tr.Next()
			if err != nil {
				t.Fatalf("%s: no %s: %v", archive, member, err)
			}
			if filepath.Base(hd.Name) == member {
				break
			}
		}
		r = tr
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, data)
}

// write puts data into a file of its own, as if it had long been there.
func write(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db")
	rewrite(t, path, data)
	return path
}

func rewrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

func readAll(path string, b rpmdb.Backend) ([]rpmdb.Row, error) {
	db, err := rpmdb.OpenFile(path, b)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var rows []rpmdb.Row
	for row, err := range db.Rows() {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func TestRealDatabases(t *testing.T) {
	for _, tt := range real {
		t.Run(tt.want, func(t *testing.T) {
			rows, err := readAll(unpack(t, tt.archive, tt.member), tt.backend)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range rows {
				got = append(got, describe(row.Header))
				if err := row.Header.VerifyDigests(); err != nil {
					t.Errorf("%s: %v", row.Header.NEVRA(), err)
				}
			}
			want, err := os.ReadFile(filepath.Join(realdata.Dir(t), "rpmdb", "expected", tt.want))
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if d := cmp.Diff(strings.Split(strings.TrimSuffix(string(want), "\n"), "\n"), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRealNDB(t *testing.T) {
	if _, err := readAll(unpack(t, "go-rpmdb-sle15-bci.Packages.db.xz", ""), rpmdb.NDB); !errors.Is(err, rpmdb.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// describe renders a header as rpm rendered the expected lists, with
// --qf '%{name}\t%{epochnum}\t...'.
func describe(h *rpmhdr.Header) string {
	id := h.NEVRA()
	none := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	number := func(t rpmhdr.Tag) string {
		n, ok := h.Uint64(t)
		if !ok {
			return "(none)"
		}
		return strconv.FormatUint(n, 10)
	}
	return strings.Join([]string{
		id.Name, strconv.FormatUint(uint64(id.EVR.Epoch), 10), id.EVR.Version, id.EVR.Release, none(id.Arch),
		none(h.String(rpmhdr.TagVendor)), number(rpmhdr.TagInstallTime), number(rpmhdr.TagSize),
		none(h.String(rpmhdr.TagSourceRPM)), none(h.String(rpmhdr.TagModularityLabel)),
		signature(h.Bytes(rpmhdr.TagRSAHeader)), signature(h.Bytes(rpmhdr.TagSigPGP)),
		none(hex.EncodeToString(h.Bytes(rpmhdr.TagSigMD5))), none(h.String(rpmhdr.TagSHA1Header)),
	}, "\t")
}

// signature renders an OpenPGP signature packet as rpm's :pgpsig does.
func signature(b []byte) string {
	if len(b) == 0 {
		return "(none)"
	}
	// Old format packets of one or two length bytes are all there is.
	body := b[2:]
	if b[0]&3 == 1 {
		body = b[3:]
	}
	var algo, hash byte
	var created uint32
	var issuer []byte
	switch body[0] {
	case 3:
		created, issuer, algo, hash = binary.BigEndian.Uint32(body[3:]), body[7:15], body[15], body[16]
	case 4:
		algo, hash = body[2], body[3]
		n := 4
		for range 2 {
			area := body[n+2 : n+2+int(binary.BigEndian.Uint16(body[n:]))]
			n += 2 + len(area)
			for len(area) > 0 {
				sub := area[1 : 1+int(area[0])]
				area = area[1+len(sub):]
				switch sub[0] {
				case 2:
					created = binary.BigEndian.Uint32(sub[1:])
				case 16:
					issuer = sub[1:]
				}
			}
		}
	}
	algos := map[byte]string{1: "RSA", 17: "DSA"}
	hashes := map[byte]string{2: "SHA1", 8: "SHA256", 10: "SHA512"}
	return fmt.Sprintf("%s/%s, %s, Key ID %x", algos[algo], hashes[hash],
		time.Unix(int64(created), 0).UTC().Format("Mon Jan _2 15:04:05 2006"), issuer)
}
