package rpmfile_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func realFiles(t testing.TB) []string {
	files, err := filepath.Glob(filepath.Join(realdata.Dir(t), "rpms", "*", "*.rpm"))
	if err != nil || len(files) < 60 {
		t.Fatalf("%d packages, %v", len(files), err)
	}
	return files
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPayloadAgainstRpm2cpio compares the list of files with that of rpm2cpio
// and cpio, and with the one in the header.
func TestPayloadAgainstRpm2cpio(t *testing.T) {
	for _, tool := range []string{"rpm2cpio", "cpio"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s is absent: %v", tool, err)
		}
	}
	compared := 0
	for _, path := range realFiles(t) {
		name := filepath.Base(path)
		data := read(t, path)
		f, err := rpmfile.Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if name != "epel-release-latest-7.noarch.rpm" || !errors.Is(err, rpmfile.ErrCorrupt) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		var got []string
		stripped := false
		for e, err := range f.Payload(0) {
			if err != nil {
				if name != "hello-2.0-1.x86_64-corrupted.rpm" || !errors.Is(err, rpmfile.ErrCorrupt) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			stripped = e.Index >= 0
			got = append(got, e.Name)
		}
		if stripped {
			// rpm2cpio refuses these; the header has all the names.
			if want := slices.Collect(f.Header().Files()); !slices.Equal(sorted(got), sorted(want)) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
			continue
		}
		pipe := exec.Command("sh", "-c", `rpm2cpio "$0" | cpio -t --quiet`, path)
		out, err := pipe.Output()
		if err != nil && len(got) != 0 {
			t.Errorf("%s: rpm2cpio: %v", name, err)
			continue
		}
		if want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); len(out) > 0 && !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		} else if len(out) == 0 && len(got) != 0 {
			t.Errorf("%s: %q, want none", name, got)
		}
		compared++
	}
	if compared < 60 {
		t.Errorf("only %d packages compared", compared)
	}
}

func sorted(s []string) []string { slices.Sort(s); return s }

// TestVerifyAgainstRpm compares the verdict on each package with that of
// "rpm -Kv" and a keyring of the same keys.
func TestVerifyAgainstRpm(t *testing.T) {
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skipf("SKIPPED: rpm is absent, verdicts were not compared with its own: %v", err)
	}
	db := t.TempDir()
	ring := rpmsig.NewKeyring()
	for _, pattern := range []string{"keys/*/RPM-GPG-KEY-*", "rpms/rpm-upstream-tests/keys/rpm.org-rsa-2048-test.pub"} {
		files, err := filepath.Glob(filepath.Join(realdata.Dir(t), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no keys %s: %v", pattern, err)
		}
		for _, k := range files {
			keys, _ := rpmsig.ParseKeys(read(t, k))
			ring.Add(keys...)
			// Some are post-quantum keys or older than rpm allows: those fail.
			exec.Command("rpm", "--dbpath", db, "--import", k).Run()
		}
	}
	signature := regexp.MustCompile(`Header V(\d) (\w+)/(\w+) Signature, key ID ([0-9a-f]+): (OK|NOKEY|BAD)`)
	for _, path := range realFiles(t) {
		name := filepath.Base(path)
		cmd := exec.Command("rpm", "--dbpath", db, "-Kv", path)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, rpmErr := cmd.CombinedOutput()
		text := string(out)
		data := read(t, path)
		var r rpmsig.Result
		f, err := rpmfile.Open(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			r, err = f.Verify(ring)
		}
		damaged := strings.Contains(text, "digest: BAD") || strings.Contains(text, "error:")
		if damaged != (err != nil) {
			t.Errorf("%s: %v, rpm says:\n%s", name, err, text)
		}
		if damaged {
			continue
		}
		m := signature.FindStringSubmatch(text)
		if m == nil {
			if r.Status != rpmsig.Missing || rpmErr != nil {
				t.Errorf("%s: %+v, rpm says:\n%s", name, r, text)
			}
			continue
		}
		want := map[string]rpmsig.Status{"OK": rpmsig.Good, "NOKEY": rpmsig.UnknownKey, "BAD": rpmsig.Bad}[m[5]]
		if r.Status != want || m[1] != string(rune('0'+r.SigVersion)) || m[2] != r.PubAlgo || m[3] != r.HashAlgo || !strings.HasSuffix(r.KeyID, m[4]) {
			t.Errorf("%s: %+v, rpm says:\n%s", name, r, text)
		}
	}
}
