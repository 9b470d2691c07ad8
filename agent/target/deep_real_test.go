package target_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmfile"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/test/realdata"
)

// TestRealDeep reads real module packages of the Kmods SIG as --deep reads the
// kernel's: signature verified, modules, aliases, vermagic and signers out of the
// payload. Real kernel-core packages are not among the material.
func TestRealDeep(t *testing.T) {
	dir := realdata.Dir(t)
	data, err := os.ReadFile(filepath.Join(dir, "keys", "centos", "RPM-GPG-KEY-CentOS-SIG-Kmods"))
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := rpmsig.ParseKeys(data)
	ring := rpmsig.NewKeyring(keys...)
	files, err := filepath.Glob(filepath.Join(dir, "kernel", "kmod-rpms", "*.rpm"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no packages: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			rpm, err := rpmfile.Open(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			pkg := &repodata.Package{NEVRA: rpm.Header().NEVRA(), Pkgid: strings.Repeat("0", 64)}
			facts, err := target.ReadKernelPackage(file, pkg, ring)
			if err != nil {
				t.Fatal(err)
			}
			module := strings.ReplaceAll(strings.TrimPrefix(pkg.NEVRA.Name, "kmod-"), "-", "_")
			if len(facts.Modules) == 0 || !strings.HasPrefix(facts.Modules[module], "extra/") || !strings.HasPrefix(facts.Signature, "good ") {
				t.Errorf("%s: %v, %s", module, facts.Modules, facts.Signature)
			}
			if !strings.HasPrefix(facts.Vermagic, "4.18.0-") || !strings.Contains(facts.Vermagic, "aarch64 SMP") {
				t.Errorf("vermagic %q", facts.Vermagic)
			}
			for _, a := range facts.Aliases {
				if facts.Modules[a.Module] == "" || a.Pattern == "" {
					t.Errorf("alias %+v", a)
				}
			}
			if len(facts.Aliases) == 0 {
				t.Error("no alias")
			}
			t.Logf("%d aliases, signers %q", len(facts.Aliases), facts.Signers)
			// Nobody's key, and another package than the metadata names.
			if _, err := target.ReadKernelPackage(file, pkg, rpmsig.NewKeyring()); err == nil {
				t.Error("read without a key")
			}
			other := *pkg
			other.NEVRA.EVR.Release += "x"
			if _, err := target.ReadKernelPackage(file, &other, ring); err == nil || errors.Is(err, os.ErrNotExist) {
				t.Errorf("another package: %v", err)
			}
		})
	}
}
