package step

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func TestToMirror(t *testing.T) {
	in := `# almalinux.repo
[baseos]
name=AlmaLinux $releasever - BaseOS
mirrorlist=https://mirrors.almalinux.org/mirrorlist/$releasever/baseos
# baseurl=https://repo.almalinux.org/almalinux/$releasever/BaseOS/$basearch/os/
enabled=1
sslcacert=/old

[baseos-source]
mirrorlist=https://mirrors.almalinux.org/mirrorlist/$releasever/baseos-source
# baseurl=https://repo.almalinux.org/vault/$releasever/BaseOS/Source/
enabled=0
[plain]
baseurl=http://elsewhere/almalinux/$releasever/extras/$basearch/os/
`
	want := `# almalinux.repo
[baseos]
name=AlmaLinux $releasever - BaseOS
#mirrorlist=https://mirrors.almalinux.org/mirrorlist/$releasever/baseos
# baseurl=https://repo.almalinux.org/almalinux/$releasever/BaseOS/$basearch/os/
baseurl=http://mirror.example.com/alma/$releasever/BaseOS/$basearch/os/
sslcacert=/etc/ca.pem
enabled=1

[baseos-source]
mirrorlist=https://mirrors.almalinux.org/mirrorlist/$releasever/baseos-source
# baseurl=https://repo.almalinux.org/vault/$releasever/BaseOS/Source/
enabled=0
[plain]
baseurl=http://mirror.example.com/alma/$releasever/extras/$basearch/os/
sslcacert=/etc/ca.pem
`
	m := plan.NewMirror("http://mirror.example.com/alma/", []string{"sslcacert=/etc/ca.pem"})
	got := toMirror(in, m)
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(want, toMirror(got, m)); d != "" {
		t.Errorf("not the same the second time: %s", d)
	}
}

// AlmaLinux's own files: every repository of the tree that is on by default is
// read from the mirror, and no other server is asked for it.
func TestToMirrorReal(t *testing.T) {
	m := plan.NewMirror("https://mirror.example.com/almalinux", nil)
	for _, p := range []string{"almalinux-release-latest-8.x86_64", "almalinux-repos-latest-9.x86_64"} {
		files, err := filepath.Glob(filepath.Join(realdata.Dir(t), "host/etc-trees", p, "etc/yum.repos.d/almalinux*.repo"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", p, files, err)
		}
		enabled := 0
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range strings.Split("\n"+toMirror(string(data), m), "\n[")[1:] {
				if !strings.Contains(s, "\nenabled=1") {
					continue
				}
				enabled++
				if !strings.Contains(s, "\nbaseurl=https://mirror.example.com/almalinux/$releasever/") || strings.Contains(s, "\nmirrorlist=") {
					t.Errorf("%s: %s", f, s)
				}
			}
		}
		if enabled != 3 {
			t.Errorf("%s: %d repositories are enabled", p, enabled)
		}
	}
}

func TestNewMirror(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                 "none",
		"file:///mnt/iso":                  "none",
		"/mnt/iso":                         "none",
		"https://m.example.com/almalinux/": "https://m.example.com/almalinux",
		"https://u:p@m.example.com/a":      "https://m.example.com/a",
	} {
		if got := plan.NewMirror(raw, nil).String(); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}
