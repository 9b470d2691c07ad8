package inventory_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// unxz unpacks a database into a root, or a whole root from a tar file.
func unxz(t testing.TB, src, root, place string) {
	t.Helper()
	f, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := xz.NewReader(bufio.NewReader(f))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(src, ".tar.xz") {
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		put(t, root, place, string(data))
		return
	}
	for tr := tar.NewReader(r); ; {
		hd, err := tr.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(root, filepath.Clean("/"+hd.Name))
		switch hd.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			put(t, root, hd.Name, string(data))
		case tar.TypeSymlink:
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(hd.Linkname, name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func put(t testing.TB, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func take(t testing.TB, root string, opt inventory.Options) (*inventory.Inventory, error) {
	t.Helper()
	h, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cat, err := catalog.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	return inventory.Take(context.Background(), h, cat, opt)
}

func mustTake(t testing.TB, root string) *inventory.Inventory {
	t.Helper()
	inv, err := take(t, root, inventory.Options{Tool: inventory.Tool{Name: "test", Version: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

// roundTrip proves that the JSON form is complete and reproducible.
func roundTrip(t *testing.T, inv *inventory.Inventory) {
	t.Helper()
	var first, second bytes.Buffer
	if err := inv.WriteJSON(&first); err != nil {
		t.Fatal(err)
	}
	got, err := inventory.Read(bytes.NewReader(first.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(inv, got); d != "" {
		t.Errorf("the inventory is another one after its way through JSON:\n%.3000s", d)
	}
	if err := got.WriteJSON(&second); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("written again, the JSON differs")
	}
}

// tree describes every file below a folder.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		out[name] = fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const centos8 = "NAME=\"CentOS Linux\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"8\"\nPLATFORM_ID=\"platform:el8\"\nPRETTY_NAME=\"CentOS Linux 8\"\n"

func TestRealDatabases(t *testing.T) {
	dir := realdata.Dir(t)
	for _, tt := range []struct {
		file, place, tsv, osRelease, keys string

		distro  inventory.Distro
		version string
		major   int
		arch    string
		state   inventory.State
		release string
		owners  string // owner:status of signatures
	}{
		{
			file: "almalinux-al9-micro-aarch64-20231124-rpmdb-etc.tar.xz", tsv: "almalinux-al9-micro-aarch64-20231124",
			distro: inventory.AlmaLinux, version: "9.3", major: 9, arch: "aarch64", state: inventory.StateAlmaLinux,
			release: "almalinux-release-9.3-1.el9.aarch64", owners: "almalinux:good=22",
		},
		{
			file: "almalinux-al9-micro-aarch64-9.0.3-rpmdb-etc.tar.xz", tsv: "almalinux-al9-micro-aarch64-9.0.3",
			distro: inventory.AlmaLinux, version: "9.0", major: 9, arch: "aarch64", state: inventory.StateAlmaLinux,
			release: "almalinux-release-9.0-3.el9.aarch64", owners: "almalinux:good=22",
		},
		{
			file: "go-rpmdb-centos7-plain.Packages.xz", place: "var/lib/rpm/Packages", tsv: "go-rpmdb-centos7-plain",
			osRelease: "NAME=\"CentOS Linux\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n", keys: "centos/RPM-GPG-KEY-CentOS-7",
			distro: inventory.CentOS, version: "7.5.1804", major: 7, arch: "x86_64", state: inventory.StateSource, owners: "centos:good=144",
		},
		{
			file: "go-rpmdb-centos8-modularitylabel.Packages.xz", place: "var/lib/rpm/Packages", tsv: "go-rpmdb-centos8-modularitylabel",
			osRelease: centos8, // the key stands in the database only, behind most packages
			distro:    inventory.CentOS, version: "8.2", major: 8, arch: "x86_64", state: inventory.StateSource, owners: "centos:good=517",
		},
		{ // no key at hand
			file: "go-rpmdb-rockylinux-9.rpmdb.sqlite.xz", place: "var/lib/rpm/rpmdb.sqlite", tsv: "go-rpmdb-rockylinux-9",
			distro: inventory.Rocky, version: "9.3", major: 9, arch: "aarch64", state: inventory.StateSource, owners: "rocky:unknown-key=142",
		},
		{
			file: "go-rpmdb-ubi8-s390x.Packages.xz", place: "var/lib/rpm/Packages", tsv: "go-rpmdb-ubi8-s390x",
			osRelease: "NAME=\"Red Hat Enterprise Linux\"\nID=\"rhel\"\nVERSION_ID=\"8.6\"\nPLATFORM_ID=\"platform:el8\"\n",
			distro:    inventory.RHEL, version: "8.6", major: 8, arch: "s390x", state: inventory.StateSource, owners: "rhel:good=181",
		},
	} {
		t.Run(tt.tsv, func(t *testing.T) {
			root := t.TempDir()
			unxz(t, filepath.Join(dir, "rpmdb", tt.file), root, tt.place)
			if tt.osRelease != "" {
				put(t, root, "etc/os-release", tt.osRelease)
			}
			if tt.keys != "" {
				data, err := os.ReadFile(filepath.Join(dir, "keys", tt.keys))
				if err != nil {
					t.Fatal(err)
				}
				put(t, root, "etc/pki/rpm-gpg/KEY", string(data))
			}
			before := tree(t, root)
			inv := mustTake(t, root)
			if d := cmp.Diff(before, tree(t, root)); d != "" {
				t.Errorf("taking an inventory changed the host:\n%s", d)
			}
			compareWithRPM(t, inv, filepath.Join(dir, "rpmdb/expected", tt.tsv+".tsv"))
			h := inv.Host
			got := fmt.Sprintf("%s %s el%d %s %s", h.Distro, h.Version, h.Major, h.Arch, h.State)
			if want := fmt.Sprintf("%s %s el%d %s %s", tt.distro, tt.version, tt.major, tt.arch, tt.state); got != want {
				t.Errorf("identity %s, want %s (%s)", got, want, h.StateReason)
			}
			if tt.release != "" && h.ReleasePackage != tt.release {
				t.Errorf("release package %s, want %s", h.ReleasePackage, tt.release)
			}
			if got := signers(inv); got != tt.owners {
				t.Errorf("signed by %s, want %s", got, tt.owners)
			}
			t.Log(h.StateReason, inv.Skipped)
			roundTrip(t, inv)
		})
	}
}

func signers(inv *inventory.Inventory) string {
	n := map[string]int{}
	for _, p := range inv.Packages {
		n[p.Signature.Owner+":"+p.Signature.Status]++
	}
	var out []string
	for k, v := range n {
		out = append(out, fmt.Sprintf("%s=%d", k, v))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// compareWithRPM compares with rpm's own dump, gpg-pubkey rows aside. Columns:
// name epoch version release arch vendor installtime size sourcerpm modularitylabel.
func compareWithRPM(t *testing.T, inv *inventory.Inventory, tsv string) {
	t.Helper()
	data, err := os.ReadFile(tsv)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	rows := 0
	for line := range strings.Lines(string(data)) {
		rows++
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")[:10]
		if f[0] != "gpg-pubkey" {
			want = append(want, strings.Join(f, "\t"))
		}
	}
	or := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	for _, p := range inv.Packages {
		epoch := "(none)"
		if p.EVR.Epoch > 0 {
			epoch = fmt.Sprint(p.EVR.Epoch)
		}
		got = append(got, strings.Join([]string{p.Name, epoch, p.EVR.Version, p.EVR.Release, or(p.Arch), or(p.Vendor),
			fmt.Sprint(p.InstallTime), fmt.Sprint(p.Size), or(p.SourceRPM), or(p.ModuleLabel)}, "\t"))
	}
	for i := range want { // an explicit epoch 0 counts as none
		f := strings.Split(want[i], "\t")
		if f[1] == "0" {
			f[1] = "(none)"
		}
		want[i] = strings.Join(f, "\t")
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("differs from rpm's own list:\n%.3000s", d)
	}
	if inv.Database.Rows != rows {
		t.Errorf("%d rows, rpm has %d", inv.Database.Rows, rows)
	}
}

// A header that was changed in the database is never taken for what its
// signature or digest says, whether its key is at hand or not.
func TestDamagedHeader(t *testing.T) {
	dir := realdata.Dir(t)
	for _, keyed := range []bool{false, true} {
		root := t.TempDir()
		unxz(t, filepath.Join(dir, "rpmdb/go-rpmdb-rockylinux-9.rpmdb.sqlite.xz"), root, "var/lib/rpm/rpmdb.sqlite")
		if keyed {
			data, err := os.ReadFile(filepath.Join(dir, "keys/rocky/RPM-GPG-KEY-Rocky-9"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, root, "etc/pki/rpm-gpg/KEY", string(data))
		}
		name := filepath.Join(root, "var/lib/rpm/rpmdb.sqlite")
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		const summary = "The GNU Bourne Again shell"
		if !bytes.Contains(data, []byte(summary)) {
			t.Fatalf("%q is not in the database", summary)
		}
		data = bytes.ReplaceAll(data, []byte(summary), []byte("The GNU Bourne Again shel1"))
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		inv := mustTake(t, root)
		status := map[string]int{}
		for _, p := range inv.Packages {
			status[p.Signature.Status]++
			if p.Signature.Status == "bad" && (p.Name != "bash" || p.Signature.Owner != "" || p.Signature.Reason == "") {
				t.Errorf("key at hand %v: %s: %+v", keyed, p.Name, p.Signature)
			}
		}
		rest := "unknown-key"
		if keyed {
			rest = "good"
		}
		if d := cmp.Diff(map[string]int{"bad": 1, rest: 141}, status); d != "" {
			t.Errorf("key at hand %v:\n%s", keyed, d)
		}
	}
}
