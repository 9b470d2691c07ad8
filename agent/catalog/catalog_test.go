package catalog_test

import (
	"testing"

	"github.com/almamigrate/almamigrate/agent/catalog"
)

func load(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBranding(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		distro string
		major  int
		pkg    string
		want   string
	}{
		{"centos", 8, "centos-linux-release", "swap almalinux-release"},
		{"centos", 8, "centos-release", "swap almalinux-release"},
		{"centos", 8, "centos-release-gluster9", "drop"},
		{"centos", 8, "bash", ""},
		{"centos-stream", 9, "centos-stream-repos", "swap almalinux-repos"},
		{"centos-stream", 9, "centos-gpg-keys", "swap almalinux-gpg-keys"},
		{"centos-stream", 9, "epel-next-release", "drop"},
		{"centos-stream", 9, "openssl-fips-provider", "drop?"},
		{"oracle", 8, "redhat-release", "swap almalinux-release"},
		{"oracle", 8, "oracle-epel-release-el8", "swap epel-release"},
		{"oracle", 8, "oraclelinux-developer-release-el8", "drop"},
		{"oracle", 9, "kernel-uek-core", "drop"},
		{"rhel", 9, "redhat-release", "swap almalinux-release almalinux-repos almalinux-gpg-keys"},
		{"rhel", 9, "redhat-logos-httpd", "swap almalinux-logos-httpd"},
		{"rhel", 9, "cockpit", ""},
		{"rocky", 10, "rocky-release", "swap almalinux-release"},
		{"rocky", 10, "centos-logos", ""},
		{"miraclelinux", 9, "axtsn-setup", "drop"},
		{"virtuozzo", 8, "vzlinux-logos", "swap almalinux-logos"},
		{"almalinux", 8, "centos-logos", "swap almalinux-logos"}, // half migrated
		{"other-el", 8, "rocky-repos", "swap almalinux-release"},
		{"scientific", 7, "yum-conf-elrepo", "drop"},
	} {
		r, ok := c.Branding(tt.distro, tt.major, tt.pkg)
		got := ""
		if ok {
			got = string(r.Action)
			if r.OnlyIfMissing {
				got += "?"
			}
			for _, p := range r.To {
				got += " " + p
			}
			if r.Why == "" {
				t.Errorf("%s %d %s: no reason", tt.distro, tt.major, tt.pkg)
			}
		}
		if got != tt.want {
			t.Errorf("Branding(%s, %d, %s) = %q, want %q", tt.distro, tt.major, tt.pkg, got, tt.want)
		}
	}
}

func TestMapRepo(t *testing.T) {
	c := load(t)
	for _, tt := range []struct {
		distro string
		major  int
		id     string
		want   string
	}{
		{"centos", 8, "BaseOS", "baseos"},
		{"centos", 8, "baseos", "baseos"},
		{"centos", 8, "baseos-source", ""},
		{"centos", 8, "PowerTools", "powertools"},
		{"centos-stream", 8, "extras-common", "extras"},
		{"centos-stream", 9, "crb", "crb"},
		{"rocky", 9, "resilient-storage", "resilientstorage"},
		{"rhel", 8, "rhel-8-for-x86_64-baseos-rpms", "baseos"},
		{"rhel", 9, "rhel-9-for-aarch64-appstream-eus-rpms", "appstream"},
		{"rhel", 10, "rhel-10-for-s390x-baseos-rpms", "baseos"},
		{"rhel", 9, "rhel-9-for-x86_64-baseos-debug-rpms", ""},
		{"rhel", 9, "rhel-9-for-x86_64-baseos-source-rpms", ""},
		{"rhel", 9, "codeready-builder-for-rhel-9-ppc64le-rpms", "crb"},
		{"rhel", 9, "codeready-builder-for-rhel-9-x86_64-debug-rpms", ""},
		{"rhel", 8, "codeready-builder-for-rhel-8-x86_64-eus-rpms", "powertools"},
		{"rhel", 8, "rhel-8-for-x86_64-highavailability-e4s-rpms", "ha"},
		{"rhel", 9, "rhel-9-for-x86_64-highavailability-rpms", "highavailability"},
		{"rhel", 9, "ubi-9-codeready-builder-rpms", "crb"},
		{"oracle", 8, "ol8_baseos_latest", "baseos"},
		{"oracle", 8, "ol8_codeready_builder", "powertools"},
		{"oracle", 9, "ol9_addons", "extras"},
		{"oracle", 9, "ol9_UEKR7", ""},
		{"centos", 8, "epel", ""},
		{"centos", 7, "base", "baseos"},
		{"rhel", 7, "rhel-7-server-optional-rpms", "powertools"},
		{"rhel", 7, "rhel-7-server-rpms", "baseos"},
		{"centos", 8, "devel", ""},
	} {
		got, _ := c.MapRepo(tt.distro, tt.major, tt.id)
		if got != tt.want {
			t.Errorf("MapRepo(%s, %d, %s) = %q, want %q", tt.distro, tt.major, tt.id, got, tt.want)
		}
	}
}
