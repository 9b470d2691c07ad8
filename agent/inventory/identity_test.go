package inventory_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// pkg makes a package from "name-version-release.arch owner[:status]".
func pkg(t *testing.T, s string) inventory.Package {
	t.Helper()
	nevra, owner, _ := strings.Cut(s, " ")
	n, err := rpmver.ParseNEVRA(nevra)
	if err != nil {
		t.Fatal(err)
	}
	p := inventory.Package{Name: n.Name, EVR: n.EVR, Arch: n.Arch}
	if owner != "" {
		name, status, ok := strings.Cut(owner, ":")
		if !ok {
			status = "good"
		}
		p.Signature = inventory.Signature{Status: status, Owner: name}
	}
	return p
}

func TestIdentity(t *testing.T) {
	osr := func(id, name, version, more string) string {
		return fmt.Sprintf("ID=%q\nNAME=%q\nVERSION_ID=%q\n%s\n", id, name, version, more)
	}
	for _, tt := range []struct {
		name, osRelease string
		pkgs            []string
		want            string // distro version major arch state
		reason          string // part of it
	}{
		{"CentOS 7", osr("centos", "CentOS Linux", "7", `ID_LIKE="rhel fedora"`), []string{"centos-release-7-9.2009.1.el7.centos.x86_64 centos"}, "centos 7.9.2009 7 x86_64 source", "1 of 1 packages is signed by it"},
		{"CentOS 8.2", osr("centos", "CentOS Linux", "8", "PLATFORM_ID=platform:el8"), []string{"centos-release-8.2-2.2004.0.1.el8.aarch64 centos"}, "centos 8.2 8 aarch64 source", ""},
		{"CentOS 8.5", osr("centos", "CentOS Linux", "8", "PLATFORM_ID=platform:el8"), []string{"centos-linux-release-8.5-1.2111.el8.noarch centos", "bash-4.4-1.el8.ppc64le centos", "glibc-2-1.el8.i686 centos", "glibc-2-1.el8.ppc64le centos"}, "centos 8.5 8 ppc64le source", ""},
		{"Stream 8, first form", osr("centos", "CentOS Stream", "8", "PLATFORM_ID=platform:el8"), []string{"centos-release-8.3-1.el8.x86_64 centos"}, "centos-stream 8 8 x86_64 source", ""},
		{"Stream 9", osr("centos", "CentOS Stream", "9", "PLATFORM_ID=platform:el9"), []string{"centos-stream-release-9.0-26.el9.noarch centos", "bash-5-1.el9.s390x centos"}, "centos-stream 9 9 s390x source", ""},
		{"RHEL 9", osr("rhel", "Red Hat Enterprise Linux", "9.4", "PLATFORM_ID=platform:el9"), []string{"redhat-release-9.4-0.5.el9.x86_64 rhel"}, "rhel 9.4 9 x86_64 source", ""},
		{"RHEL 7", osr("rhel", "Red Hat Enterprise Linux Server", "7.9", "ID_LIKE=fedora"), []string{"redhat-release-server-7.9-6.el7_9.x86_64 rhel"}, "rhel 7.9 7 x86_64 source", ""},
		{"RHEL 10", osr("rhel", "Red Hat Enterprise Linux", "10.0", "PLATFORM_ID=platform:el10"), []string{"redhat-release-10.0-30.el10.x86_64 rhel:unsupported"}, "rhel 10.0 10 x86_64 source", "1 by key id alone"},
		{"Rocky 9", osr("rocky", "Rocky Linux", "9.3", "PLATFORM_ID=platform:el9"), []string{"rocky-release-9.3-1.1.el9.noarch rocky"}, "rocky 9.3 9  source", ""},
		{"Oracle 8, with its redhat-release", osr("ol", "Oracle Linux Server", "8.9", "PLATFORM_ID=platform:el8"), []string{"redhat-release-8.9-1.0.1.el8.x86_64 oracle", "oraclelinux-release-8.9-1.0.3.el8.x86_64 oracle"}, "oracle 8.9 8 x86_64 source", ""},
		{"Oracle 9 without os-release", "", []string{"redhat-release-9.3-1.el9.x86_64 oracle", "oraclelinux-release-9.3-1.el9.x86_64 oracle"}, "oracle 9.3 9 x86_64 source", ""},
		{"Scientific 7", osr("scientific", "Scientific Linux", "7.9", `ID_LIKE="rhel centos fedora"`), []string{"sl-release-7.9-2.sl7.x86_64 scientific"}, "scientific 7.9 7 x86_64 source", ""},
		{"MIRACLE LINUX 9", osr("miraclelinux", "MIRACLE LINUX", "9.2", "PLATFORM_ID=platform:el9"), []string{"miraclelinux-release-9.2-1.el9.x86_64"}, "miraclelinux 9.2 9 x86_64 source", "no package is signed"},
		{"Virtuozzo 8", osr("virtuozzo", "Virtuozzo Linux", "8.8", "PLATFORM_ID=platform:el8"), []string{"vzlinux-release-8.8-1.vl8.x86_64"}, "virtuozzo 8.8 8 x86_64 source", ""},
		{"EuroLinux 8", osr("eurolinux", "EuroLinux", "8.8", "PLATFORM_ID=platform:el8"), []string{"el-release-8.8-1.el8.x86_64 eurolinux"}, "eurolinux 8.8 8 x86_64 source", ""},
		{"AlmaLinux 8", osr("almalinux", "AlmaLinux", "8.9", "PLATFORM_ID=platform:el8"), []string{"almalinux-release-8.9-1.el8.x86_64 almalinux"}, "almalinux 8.9 8 x86_64 almalinux", ""},
		{"somebody's", osr("myos", "My OS", "9", `ID_LIKE="rhel"`), []string{"myos-release-9-1.x86_64", "bash-5-1.el9.x86_64 rhel"}, "other-el 9 9 x86_64 unknown", "not in the catalogue"},

		{"two release packages", osr("centos", "CentOS Linux", "8", ""), []string{"centos-linux-release-8.5-1.el8.noarch centos", "almalinux-release-8.9-1.el8.x86_64 almalinux"}, "centos 8.5 8 x86_64 half-migrated", "installed together"},
		{"os-release of another", osr("almalinux", "AlmaLinux", "8.9", "PLATFORM_ID=platform:el8"), []string{"centos-linux-release-8.5-1.el8.noarch centos"}, "centos 8.5 8  half-migrated", "os-release says AlmaLinux, the release package says CentOS Linux"},
		{"identity swapped, packages not", osr("almalinux", "AlmaLinux", "9.3", "PLATFORM_ID=platform:el9"), []string{"almalinux-release-9.3-1.el9.x86_64 almalinux", "bash-5-1.el9.x86_64 rocky", "zsh-5-1.el9.x86_64 rocky"}, "almalinux 9.3 9 x86_64 half-migrated", "2 of 3 packages are signed by another distribution"},
		{"packages swapped, identity not", osr("rocky", "Rocky Linux", "9.3", "PLATFORM_ID=platform:el9"), []string{"rocky-release-9.3-1.el9.x86_64 rocky", "bash-5-1.el9.x86_64 almalinux", "zsh-5-1.el9.x86_64 almalinux"}, "rocky 9.3 9 x86_64 half-migrated", "2 of 3 packages are signed by AlmaLinux"},
		{"interrupted between erase and install", "", []string{"bash-5-1.el9.x86_64 rocky", "zsh-5-1.el9.x86_64 rocky"}, "rocky 9 9 x86_64 half-migrated", "neither an os-release nor a release package"},
		{"release package gone", osr("rocky", "Rocky Linux", "9.3", "PLATFORM_ID=platform:el9"), []string{"bash-5-1.el9.x86_64 rocky"}, "rocky 9.3 9 x86_64 half-migrated", "no release package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if tt.osRelease != "" {
				put(t, root, "usr/lib/os-release", tt.osRelease)
			}
			h, err := host.New(root)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			cat, err := catalog.Load(root)
			if err != nil {
				t.Fatal(err)
			}
			var pkgs []inventory.Package
			for _, s := range tt.pkgs {
				pkgs = append(pkgs, pkg(t, s))
			}
			got := inventory.Identify(h, cat, pkgs)
			text := fmt.Sprintf("%s %s %d %s %s", got.Distro, got.Version, got.Major, got.Arch, got.State)
			if text != tt.want || !strings.Contains(got.StateReason, tt.reason) {
				t.Errorf("got  %s (%s)\nwant %s (...%s...)", text, got.StateReason, tt.want, tt.reason)
			}
		})
	}
}

// A few foreign packages remain on every migrated host.
func TestStrayPackages(t *testing.T) {
	root := t.TempDir()
	put(t, root, "etc/os-release", "ID=almalinux\nNAME=AlmaLinux\nVERSION_ID=9.3\nPLATFORM_ID=platform:el9\n")
	h, err := host.New(root)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cat, err := catalog.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	for foreign, want := range map[int]inventory.State{0: inventory.StateAlmaLinux, 10: inventory.StateAlmaLinux, 11: inventory.StateHalf} {
		pkgs := []inventory.Package{pkg(t, "almalinux-release-9.3-1.el9.x86_64 almalinux")}
		for i := 1; i < 100; i++ {
			owner := "almalinux"
			if i <= foreign {
				owner = "rhel"
			}
			pkgs = append(pkgs, pkg(t, fmt.Sprintf("p%d-1-1.el9.x86_64 %s", i, owner)), pkg(t, fmt.Sprintf("q%d-1-1.el9.x86_64 epel", i)))
		}
		if got := inventory.Identify(h, cat, pkgs); got.State != want {
			t.Errorf("%d foreign: %s (%s), want %s", foreign, got.State, got.StateReason, want)
		}
	}
}

func TestParseOSRelease(t *testing.T) {
	got := inventory.ParseOSRelease([]byte("# a comment\n\nA=bare\nB=\"with space\"\nC='single $x'\nD=\"esc \\\" \\$ \\\\ \\n\"\nE=\nF=\"a\"'b'c\n  G=indented\nH = no\nI=one two\nA=last\nno assignment\nJ=\"open\nK=\xff\n"))
	want := map[string]string{
		"A": "last", "B": "with space", "C": "single $x", "D": `esc " $ \ \n`, "E": "", "F": "abc", "G": "indented", "I": "one", "J": "open", "K": "\uFFFD",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=\"centos\"\nNAME='x\\'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for k, v := range inventory.ParseOSRelease(data) {
			if k == "" || strings.ContainsAny(k, "= \t\n") || strings.Contains(v, "\n") {
				t.Errorf("%q = %q", k, v)
			}
		}
	})
}

func TestSupported(t *testing.T) {
	for major, ok := range map[int]bool{0: false, 6: false, 7: true, 8: true, 9: true, 10: true, 11: false} {
		h := inventory.Host{Distro: inventory.CentOS, Major: major}
		if err := h.Supported(); (err == nil) != ok {
			t.Errorf("EL %d: %v", major, err)
		}
	}
}
