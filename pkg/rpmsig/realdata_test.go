package rpmsig_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// readKeys reads key files below the real-world material.
func readKeys(t testing.TB, patterns ...string) ([]*rpmsig.Key, []error) {
	t.Helper()
	var keys []*rpmsig.Key
	var problems []error
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(realdata.Dir(t), p))
		if err != nil || len(files) == 0 {
			t.Fatalf("no key files %s: %v", p, err)
		}
		for _, f := range files {
			if filepath.Ext(f) == ".tsv" {
				continue
			}
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			k, ps := rpmsig.ParseKeys(data)
			keys, problems = append(keys, k...), append(problems, ps...)
		}
	}
	return keys, problems
}

func distroRing(t testing.TB) *rpmsig.Keyring {
	keys, problems := readKeys(t, "keys/*/*")
	if len(problems) != 0 {
		t.Errorf("keys of distributions: %v", errors.Join(problems...))
	}
	return rpmsig.NewKeyring(keys...)
}

// TestDistributionKeys: every key of the list that gpg made is found, the
// post-quantum ones that gpg cannot read besides.
func TestDistributionKeys(t *testing.T) {
	dir := realdata.Dir(t)
	f, err := os.Open(filepath.Join(dir, "keys", "FINGERPRINTS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = '\t', -1, true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	pubs := 0
	for _, row := range rows {
		if len(row) < 5 || row[1] != "pub" {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "keys", row[0])); err != nil {
			continue
		}
		pubs++
		keys, problems := readKeys(t, "keys/"+row[0])
		i := slices.IndexFunc(keys, func(k *rpmsig.Key) bool { return k.Fingerprint == row[2] })
		if i < 0 {
			t.Errorf("%s: no key %s; problems: %v", row[0], row[2], problems)
		} else if got := keys[i].Created.UTC().Format("2006-01-02"); got != row[4] {
			t.Errorf("%s: created %s, want %s", row[0], got, row[4])
		}
	}
	if pubs < 50 {
		t.Errorf("only %d primary keys in the list", pubs)
	}

	keys, _ := readKeys(t, "keys/redhat/RPM-GPG-KEY-redhat10-release")
	if len(keys) != 3 || keys[2].Version != 6 || keys[2].Algo != "ML-DSA-87+Ed448" {
		t.Errorf("the three keys of RHEL 10: %+v", keys)
	}
}

func TestAlmaLinux8Keys(t *testing.T) {
	keys, problems := readKeys(t, "keys/alma/RPM-GPG-KEY-AlmaLinux-8")
	if len(keys) != 2 || len(problems) != 0 {
		t.Fatalf("%d keys, problems %v", len(keys), problems)
	}
	old := keys[0]
	if old.Fingerprint != "5E9B8F5617B5066CE92057C3488FCF7C3ABB34F8" || old.Expires.UTC().Format("2006-01-02") != "2024-01-12" {
		t.Errorf("the old key is %+v", old)
	}
	if want := []string{"488fcf7c3abb34f8", "51d6647ec21ad6ea"}; !slices.Equal(old.KeyIDs, want) {
		t.Errorf("the old key signs as %v, want %v", old.KeyIDs, want)
	}
	if v, r := old.RPMVersion(); v+"-"+r != "3abb34f8-5ffd890e" {
		t.Errorf("the old key's package is gpg-pubkey-%s-%s", v, r)
	}
	ring := rpmsig.NewKeyring(keys...)
	if got := ring.ByKeyID("51d6647ec21ad6ea"); len(got) != 1 || got[0] != old {
		t.Errorf("the signing subkey leads to %v", got)
	}
	// AlmaLinux 9's subkey encrypts only.
	keys, _ = readKeys(t, "keys/alma/RPM-GPG-KEY-AlmaLinux-9")
	if len(keys) != 1 || len(keys[0].KeyIDs) != 1 {
		t.Errorf("AlmaLinux 9: %+v", keys)
	}
}

// TestHostileKeys: keys made to deceive, from rpm's own tests.
func TestHostileKeys(t *testing.T) {
	const dir = "rpms/rpm-upstream-tests/keys/"
	for _, name := range []string{"CVE-2021-3521-badbind.asc", "CVE-2021-3521-nosubsig.asc", "CVE-2021-3521-nosubsig-last.asc", "type-confusion.asc"} {
		keys, problems := readKeys(t, dir+name)
		if len(keys) != 1 || len(keys[0].KeyIDs) != 1 || len(problems) != 1 || !errors.Is(problems[0], rpmsig.ErrKey) {
			t.Errorf("%s: %+v, problems %v; want the primary key alone", name, keys, problems)
		}
	}
	keys, _ := readKeys(t, dir+"keyidcollision?.pub")
	if len(keys) != 2 || keys[0].KeyIDs[0] != keys[1].KeyIDs[0] || keys[0].Fingerprint == keys[1].Fingerprint {
		t.Fatalf("the colliding keys are %+v", keys)
	}
	ring := rpmsig.NewKeyring(keys...)
	if got := ring.ByKeyID(keys[0].KeyIDs[0]); len(got) != 2 {
		t.Errorf("a colliding id leads to %d keys, want 2", len(got))
	}
	if len(ring.Fingerprints()) != 2 {
		t.Errorf("fingerprints: %v", ring.Fingerprints())
	}
}

// TestSubkeySignatures verifies one package under three states of its key.
func TestSubkeySignatures(t *testing.T) {
	const dir = "rpms/rpm-upstream-tests/"
	for _, tt := range []struct {
		file, key string
		want      rpmsig.Status
		reason    string
	}{
		{"hello-2.0-1.x86_64-signed-with-subkey.rpm", "alice.asc", rpmsig.Good, ""},
		{"hello-2.0-1.x86_64-signed-with-subkey.rpm", "alice-expired-subkey.asc", rpmsig.Bad, "expired"},
		{"hello-2.0-1.x86_64-signed-with-subkey.rpm", "alice-revoked-subkey.asc", rpmsig.Bad, "revoked"},
		{"hello-2.0-1.x86_64-signed-with-subkey.rpm", "rpm.org-rsa-2048-test.pub", rpmsig.UnknownKey, "1f71177215217ee0"},
		{"hello-2.0-1.x86_64-signed-with-new-subkey.rpm", "rpm.org-rsa-2048-add-subkey.asc", rpmsig.Good, ""},
		{"hello-2.0-1.x86_64-signed-with-new-subkey.rpm", "rpm.org-rsa-2048-test.pub", rpmsig.UnknownKey, "6323c42711450b6c"},
		{"hello-2.0-1.x86_64-v3-signed.rpm", "rpm.org-rsa-2048-test.pgp", rpmsig.Good, ""},
		{"hello-2.0-1.x86_64-signed-mldsa87.rpm", "rpm.org-rsa-2048-test.pub", rpmsig.Good, ""},
		{"hello-2.0-1.x86_64-signed-mldsa87.rpm", "alice.asc", rpmsig.UnknownKey, ""},
		{"hello-2.0-1.x86_64.rpm", "alice.asc", rpmsig.Missing, ""},
	} {
		keys, _ := readKeys(t, dir+"keys/"+tt.key)
		sig, hdr := openHeaders(t, filepath.Join(realdata.Dir(t), dir, tt.file))
		r := rpmsig.VerifyHeaderWith(hdr, sig, rpmsig.NewKeyring(keys...))
		if r.Status != tt.want || !strings.Contains(r.Reason, tt.reason) {
			t.Errorf("%s with %s: %s (%s), want %s (%s)", tt.file, tt.key, r.Status, r.Reason, tt.want, tt.reason)
		}
	}
	// The old state of a key must not bring back what the new one took away.
	var states []*rpmsig.Key
	for _, n := range []string{"alice-revoked-subkey.asc", "alice.asc"} {
		k, _ := readKeys(t, dir+"keys/"+n)
		states = append(states, k...)
	}
	sig, hdr := openHeaders(t, filepath.Join(realdata.Dir(t), dir, "hello-2.0-1.x86_64-signed-with-subkey.rpm"))
	for _, ring := range []*rpmsig.Keyring{rpmsig.NewKeyring(states[0], states[1]), rpmsig.NewKeyring(states[1], states[0])} {
		if r := rpmsig.VerifyHeaderWith(hdr, sig, ring); r.Status != rpmsig.Bad || !r.Revoked {
			t.Errorf("a revocation was forgotten: %+v", r)
		}
	}
}

func openHeaders(t testing.TB, path string) (sig, hdr *rpmhdr.Header) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rpmfile.Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return p.Signature(), p.Header()
}

// unpackDB writes a database out of its archive. An old time keeps the reader
// from waiting for a writer.
func unpackDB(t testing.TB, archive, member string) string {
	t.Helper()
	packed := filepath.Join(realdata.Dir(t), "rpmdb", archive)
	var z io.Reader
	if out, err := exec.Command("xz", "-dc", packed).Output(); err == nil {
		z = bytes.NewReader(out) // ten times faster than the library
	} else {
		f, err := os.Open(packed)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if z, err = xz.NewReader(bufio.NewReader(f)); err != nil {
			t.Fatal(err)
		}
	}
	r := z
	if member != "" {
		tr := tar.NewReader(z)
		for {
			h, err := tr.Next()
			if err != nil {
				t.Fatalf("no %s in %s: %v", member, archive, err)
			}
			if filepath.Base(h.Name) == member {
				break
			}
		}
		r = tr
	}
	name := member
	if name == "" {
		name = "db"
	}
	path := filepath.Join(t.TempDir(), name)
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, r); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

var databases = []struct {
	archive, member string
	backend         rpmdb.Backend
	keyID           string
	good            int
	weak            bool
	version         int
}{
	{"go-rpmdb-centos7-plain.Packages.xz", "", rpmdb.BDB, "24c6a8a7f4a80eb5", 144, false, 3},
	{"go-rpmdb-centos8-modularitylabel.Packages.xz", "", rpmdb.BDB, "05b555b38483c65d", 517, false, 3},
	{"go-rpmdb-ubi8-s390x.Packages.xz", "", rpmdb.BDB, "199e2f91fd431d51", 181, false, 3},
	{"go-rpmdb-rockylinux-9.rpmdb.sqlite.xz", "", rpmdb.SQLite, "702d426d350d275d", 142, false, 4},
	{"almalinux-al9-micro-aarch64-20231124-rpmdb-etc.tar.xz", "rpmdb.sqlite", rpmdb.SQLite, "d36cb86cb86b3716", 22, false, 4},
	{"almalinux-al9-micro-aarch64-9.0.3-rpmdb-etc.tar.xz", "Packages", rpmdb.BDB, "d36cb86cb86b3716", 22, false, 4},
	{"osquery-rpm-bdb.tar.xz", "Packages", rpmdb.BDB, "0946fca2c105b9de", 3, true, 3},
}

// TestInstalledPackages verifies the signature of every installed package of
// real systems; the numbers and key ids are those of rpm's own listing.
func TestInstalledPackages(t *testing.T) {
	ring := distroRing(t)
	strange := rpmsig.NewKeyring()
	for _, tt := range databases {
		t.Run(tt.archive, func(t *testing.T) {
			db, err := rpmdb.OpenFile(unpackDB(t, tt.archive, tt.member), tt.backend)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			good, flipped := 0, 0
			for row, err := range db.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				h := row.Header
				n := h.NEVRA()
				r := rpmsig.VerifyHeader(h, ring)
				if n.Name == "gpg-pubkey" {
					if r.Status != rpmsig.Missing {
						t.Errorf("%s: %+v", n, r)
					}
					keys, problems := rpmsig.ParseKeys([]byte(h.String(rpmhdr.TagDescription)))
					if len(keys) != 1 {
						t.Errorf("%s: %d keys, %v", n, len(keys), problems)
					} else if v, rel := keys[0].RPMVersion(); v != n.EVR.Version || rel != n.EVR.Release {
						t.Errorf("%s holds the key of %s-%s", n, v, rel)
					}
					continue
				}
				if r.Status != rpmsig.Good || r.KeyID != tt.keyID || r.Weak != tt.weak || r.SigVersion > tt.version {
					t.Errorf("%s: %+v", n, r)
					continue
				}
				good++
				if u := rpmsig.VerifyHeader(h, strange); u.Status != rpmsig.UnknownKey || u.KeyID != tt.keyID {
					t.Errorf("%s without the key: %+v", n, u)
				}
				if good%20 == 1 {
					flipped++
					checkFlips(t, h, ring)
				}
			}
			if good != tt.good || flipped == 0 {
				t.Errorf("%d good signatures, want %d", good, tt.good)
			}
		})
	}
}

// checkFlips changes one bit here and there in what the signature covers.
func checkFlips(t *testing.T, h *rpmhdr.Header, ring *rpmsig.Keyring) {
	t.Helper()
	name := h.String(rpmhdr.TagSummary)
	at := strings.Index(string(h.Raw()), name)
	if name == "" || at < 0 {
		t.Errorf("%s has no summary", h.NEVRA())
		return
	}
	for _, off := range []int{at, at + len(name) - 1} {
		blob := slices.Clone(h.Raw())
		blob[off] ^= 1
		changed, err := rpmhdr.Parse(blob)
		if err != nil {
			continue // noticed even earlier
		}
		if r := rpmsig.VerifyHeader(changed, ring); r.Status != rpmsig.Bad {
			t.Errorf("%s with byte %d changed: %+v", h.NEVRA(), off, r)
		}
	}
}

func TestRealRepomd(t *testing.T) {
	dir := filepath.Join(realdata.Dir(t), "repodata", "centos8-kmods-sig-aarch64")
	var md, asc string
	filepath.WalkDir(dir, func(p string, _ os.DirEntry, _ error) error {
		switch filepath.Base(p) {
		case "repomd.xml":
			md = p
		case "repomd.xml.asc":
			asc = p
		}
		return nil
	})
	sig, err := os.ReadFile(asc)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(md)
	if err != nil {
		t.Fatal(err)
	}
	ring := distroRing(t)
	r, err := rpmsig.VerifyDetached(strings.NewReader(string(data)), sig, ring)
	if err != nil || r.Status != rpmsig.Good || !strings.Contains(r.UserID, "Kmods") {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = rpmsig.VerifyDetached(strings.NewReader(string(data)+" "), sig, ring)
	if err != nil || r.Status != rpmsig.Bad {
		t.Errorf("changed: %+v, %v", r, err)
	}
}

func BenchmarkVerifyHeader(b *testing.B) {
	ring := distroRing(b)
	db, err := rpmdb.OpenFile(unpackDB(b, databases[1].archive, ""), rpmdb.BDB)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var list []*rpmhdr.Header
	for row, err := range db.Rows() {
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, row.Header)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		rpmsig.VerifyHeader(list[i%len(list)], ring)
	}
}
