package assess_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
)

// crypto is a host with libcrypto of the distribution, a program in /opt that
// uses it, and AlmaLinux's package in the place of the first.
func crypto(w *world) *inventory.Applications {
	w.install("centos", pkg("openssl-libs-1.1.1-1.el8.x86_64",
		provides("libcrypto.so.1.1()(64bit)", "libcrypto.so.1.1(OPENSSL_1_1_0)(64bit)", "libcrypto.so.1.1(OPENSSL_1_1_1)(64bit)"), files("/usr/lib64/libcrypto.so.1.1")))
	w.carry("baseos", pkg("openssl-libs-1.1.1-2.el8.x86_64",
		provides("libcrypto.so.1.1()(64bit)", "libcrypto.so.1.1(OPENSSL_1_1_0)(64bit)", "libcrypto.so.1.1(OPENSSL_1_1_1)(64bit)")))
	const owner = "openssl-libs-1.1.1-1.el8.x86_64"
	apps := &inventory.Applications{
		Files: []inventory.Application{{
			Path: "/opt/acme/bin/app", Program: true, Class: 64, Since: 1700000000, Why: []string{"unit acme.service"},
			Needs: []inventory.LibraryNeed{
				{Soname: "libcrypto.so.1.1", Versions: []string{"OPENSSL_1_1_0"}, Path: "/usr/lib64/libcrypto.so.1.1", Package: owner},
				{Soname: "libbeside.so", Path: "/opt/acme/lib/libbeside.so"},
			},
			Imports: []inventory.SymbolImport{{Library: 0, Symbols: []int{0, 1}}},
		}},
		Libraries: []inventory.UsedLibrary{{
			Soname: "libcrypto.so.1.1", Class: 64, Path: "/usr/lib64/libcrypto.so.1.1", Package: owner,
			Symbols: []inventory.UsedSymbol{{Name: "EVP_table", Version: "OPENSSL_1_1_0", Type: "object", Copied: 16}, {Name: "RSA_new", Version: "OPENSSL_1_1_0", Type: "func"}},
		}},
		Runtimes: []inventory.Runtime{}, Folders: []string{"/opt"}, Looked: 12, Dynamic: 1, Static: 2,
	}
	w.inv.Applications = apps
	return apps
}

// contents are what --deep reads of AlmaLinux's package.
func contents(symbols ...elfdyn.Symbol) *assess.LibraryFacts {
	return &assess.LibraryFacts{Packages: []assess.PackageLibraries{{
		NEVRA: "openssl-libs-1.1.1-2.el8.x86_64", Signature: "good 2ae81e8aced7258b",
		Libraries: []assess.LibraryContent{{
			Soname: "libcrypto.so.1.1", Class: 64, Path: "/usr/lib64/libcrypto.so.1.1.1", Versions: []string{"OPENSSL_1_1_0", "OPENSSL_1_1_1"}, Symbols: symbols,
		}},
	}}}
}

var (
	rsaNew   = elfdyn.Symbol{Name: "RSA_new", Version: "OPENSSL_1_1_0", Default: true, Type: elfdyn.Func, Size: 40}
	evpTable = elfdyn.Symbol{Name: "EVP_table", Version: "OPENSSL_1_1_0", Default: true, Type: elfdyn.Object, Size: 16}
	other    = elfdyn.Symbol{Name: "ZZ_new_one", Version: "OPENSSL_1_1_1", Default: true, Type: elfdyn.Func, Size: 1}
)

func with(s elfdyn.Symbol, change func(*elfdyn.Symbol)) elfdyn.Symbol {
	change(&s)
	return s
}

func init() {
	const ready, warn, blocked = assess.Ready, assess.ReadyWithWarnings, assess.Blocked
	add := func(name string, v assess.Verdict, change func(*world), want ...string) {
		if want == nil {
			want = []string{}
		}
		fixtures = append(fixtures, struct {
			name    string
			change  func(*world)
			want    []string
			verdict assess.Verdict
		}{"abi: " + name, change, want, v})
	}
	add("all by the metadata", ready, func(w *world) { crypto(w) })
	add("all proven", ready, func(w *world) { crypto(w); w.libraries = contents(evpTable, rsaNew, other) })
	add("library gone", blocked, func(w *world) {
		crypto(w)
		w.drop("baseos", "openssl-libs")
		w.carry("baseos", pkg("openssl-libs-3.0.1-2.el8.x86_64", provides("libcrypto.so.3()(64bit)")))
	}, "blocker abi.library-missing")
	add("version gone", blocked, func(w *world) {
		crypto(w)
		w.drop("baseos", "openssl-libs")
		w.carry("baseos", pkg("openssl-libs-1.1.1-2.el8.x86_64", provides("libcrypto.so.1.1()(64bit)", "libcrypto.so.1.1(OPENSSL_1_1_1)(64bit)")))
	}, "blocker abi.version-missing")
	add("told by the package's own dependency", blocked, func(w *world) {
		a := crypto(w)
		w.install("epel", pkg("acme-1-1.el8.x86_64", requires("libcrypto.so.1.1()(64bit)"), files("/opt/acme/bin/app")))
		a.Files[0].Package = "acme-1-1.el8.x86_64"
		w.drop("baseos", "openssl-libs")
		w.carry("baseos", pkg("openssl-libs-3.0.1-2.el8.x86_64", provides("libcrypto.so.3()(64bit)")))
	}, "blocker dep.broken", "info pkg.third-party")
	add("symbol gone", blocked, func(w *world) { crypto(w); w.libraries = contents(evpTable, other) }, "blocker abi.symbol-missing")
	add("symbol of another version", blocked, func(w *world) {
		crypto(w)
		w.libraries = contents(evpTable, with(rsaNew, func(s *elfdyn.Symbol) { s.Version = "OPENSSL_1_1_1" }))
	}, "blocker abi.symbol-missing")
	add("data grew", blocked, func(w *world) {
		crypto(w)
		w.libraries = contents(with(evpTable, func(s *elfdyn.Symbol) { s.Size = 24 }), rsaNew)
	}, "blocker abi.symbol-changed")
	add("data that was of another size before", ready, func(w *world) {
		crypto(w).Libraries[0].Symbols[0].Today = 24
		w.libraries = contents(with(evpTable, func(s *elfdyn.Symbol) { s.Size = 24 }), rsaNew)
	})
	add("data that was of another size before, and changes", blocked, func(w *world) {
		crypto(w).Libraries[0].Symbols[0].Today = 24
		w.libraries = contents(with(evpTable, func(s *elfdyn.Symbol) { s.Size = 32 }), rsaNew)
	}, "blocker abi.symbol-changed")
	add("a version that the program does not ask for", ready, func(w *world) {
		crypto(w).Libraries[0].Symbols[1].AnyVersion = true
		w.libraries = contents(evpTable, with(rsaNew, func(s *elfdyn.Symbol) { s.Version = "OPENSSL_1_1_1" }))
	})
	add("function without a type", ready, func(w *world) {
		crypto(w)
		w.libraries = contents(evpTable, with(rsaNew, func(s *elfdyn.Symbol) { s.Type = elfdyn.NoType }))
	})
	add("function became data", blocked, func(w *world) {
		crypto(w)
		w.libraries = contents(evpTable, with(rsaNew, func(s *elfdyn.Symbol) { s.Type = elfdyn.Object }))
	}, "blocker abi.symbol-changed")
	add("function is chosen at run time", ready, func(w *world) {
		crypto(w)
		w.libraries = contents(evpTable, with(rsaNew, func(s *elfdyn.Symbol) { s.Type = elfdyn.Indirect; s.Size = 7 }))
	})
	add("library not there today", warn, func(w *world) {
		crypto(w).Files[0].Needs[1].Path = ""
	}, "warning abi.broken-before")
	add("library of a program with its own linker", ready, func(w *world) {
		f := &crypto(w).Files[0]
		f.OwnLinker, f.Needs[1].Path = "/opt/acme/lib/ld.so", ""
	})
	add("plug-in for what is not installed", ready, func(w *world) {
		a := crypto(w)
		a.Files[0].Program = false
		a.Files[0].Needs[1].Path = ""
	}, "info abi.broken-before")
	add("a newer processor", warn, func(w *world) {
		crypto(w).Files[0].ISALevel = 3
		w.inv.Environment = &inventory.Environment{CPU: inventory.CPU{Level: 2}}
	}, "warning abi.broken-before")
	add("a processor that is good enough", ready, func(w *world) {
		crypto(w).Files[0].ISALevel = 3
		w.inv.Environment = &inventory.Environment{CPU: inventory.CPU{Level: 3}}
	})
	add("version not there today", warn, func(w *world) {
		n := &crypto(w).Files[0].Needs[0]
		n.Versions, n.Lacks = []string{"OPENSSL_1_1_0", "OPENSSL_9"}, []string{"OPENSSL_9"}
	}, "warning abi.broken-before")
	add("private library", ready, func(w *world) {
		a := crypto(w)
		a.Files[0].Needs[0] = inventory.LibraryNeed{Soname: "libprivate.so", Path: "/usr/lib64/openssl/libprivate.so", Package: "openssl-libs-1.1.1-1.el8.x86_64"}
	}, "info abi.unproven")
	add("python that goes", blocked, func(w *world) {
		crypto(w).Runtimes = []inventory.Runtime{{Kind: "python", Version: "3.8", Dep: "python(abi) = 3.8", Modules: 3, Package: "python38-libs-3.8.1-1.el8.x86_64", Examples: []string{"/usr/local/lib64/python3.8/site-packages/x.so"}}}
		w.install("centos", pkg("python38-libs-3.8.1-1.el8.x86_64", provides("python(abi) = 3.8")))
		w.carry("appstream", pkg("python38-libs-3.9.1-1.el8.x86_64", provides("python(abi) = 3.9")))
	}, "blocker abi.runtime-gone")
	add("perl that stays", ready, func(w *world) {
		crypto(w).Runtimes = []inventory.Runtime{{Kind: "perl", Version: "", Modules: 1, Package: "perl-libs-5.26.3-1.el8.x86_64"}}
		w.install("centos", pkg("perl-libs-5.26.3-1.el8.x86_64"))
		w.carry("appstream", pkg("perl-libs-5.26.3-2.el8.x86_64"))
	})
	add("python that is not there", warn, func(w *world) {
		crypto(w).Runtimes = []inventory.Runtime{{Kind: "python", Version: "3.4", Dep: "python(abi) = 3.4", Modules: 1}}
	}, "warning abi.runtime-gone")
	add("mirror away", warn, func(w *world) {
		crypto(w)
		w.libraries = &assess.LibraryFacts{Failed: []inventory.Skipped{{What: "openssl-libs-1.1.1-2.el8.x86_64", Reason: errors.New("connection refused").Error()}}}
	}, "warning abi.deep-failed")
	add("forged", blocked, func(w *world) {
		crypto(w)
		w.libraries = &assess.LibraryFacts{Forged: true, Failed: []inventory.Skipped{{What: "openssl-libs-1.1.1-2.el8.x86_64", Reason: "signature bad"}}}
	}, "blocker abi.deep-failed")
	add("network file system", ready, func(w *world) {
		crypto(w).Skipped = []inventory.Skipped{{What: "/srv/nfs", Reason: "a network or user space file system (nfs4), not entered"}}
	}, "info abi.incomplete")
	add("cut short", warn, func(w *world) { crypto(w).CutShort = "more than 20000 files" }, "warning abi.incomplete")
}

// TestABIText looks at what people read.
func TestABIText(t *testing.T) {
	w := newWorld(t)
	crypto(w)
	if got, want := w.assess().ABI.Sentence, "1 program imports 2 symbols from 1 library; by the metadata all"; !strings.HasPrefix(got, want) {
		t.Errorf("sentence %q, want %q...", got, want)
	}
	w.libraries = contents(evpTable, rsaNew)
	if got, want := w.assess().ABI.Sentence, "1 program imports 2 symbols from 1 library; all are there"; got != want {
		t.Errorf("sentence %q, want %q", got, want)
	}
	w.libraries = contents(evpTable)
	res := w.assess()
	f := finding(t, res, "abi.symbol-missing")
	for _, want := range []string{"/opt/acme/bin/app", "RSA_new@OPENSSL_1_1_0", "libcrypto.so.1.1"} {
		if !strings.Contains(f.Title, want) {
			t.Errorf("title %q does not name %s", f.Title, want)
		}
	}
	if !slices.ContainsFunc(f.Resources, func(r assess.Resource) bool {
		return r.Kind == "file" && strings.Contains(r.Detail, "unit acme.service") && strings.Contains(r.Detail, "2023-11-14")
	}) {
		t.Errorf("resources do not say who uses it and since when: %v", f.Resources)
	}
	if strings.Contains(res.ABI.Sentence, "all are there") {
		t.Errorf("sentence %q", res.ABI.Sentence)
	}
}

// TestABIRemedy names the package that has the old library.
func TestABIRemedy(t *testing.T) {
	w := newWorld(t)
	crypto(w)
	w.drop("baseos", "openssl-libs")
	w.carry("baseos", pkg("openssl-libs-3.0.1-2.el8.x86_64", provides("libcrypto.so.3()(64bit)")))
	w.carry("appstream", pkg("compat-openssl11-1.1.1-4.el8.x86_64", provides("libcrypto.so.1.1()(64bit)")))
	f := finding(t, w.assess(), "abi.library-missing")
	if f.Remedy.Command != "dnf install compat-openssl11" {
		t.Errorf("remedy %+v", f.Remedy)
	}
}

// TestLibraryPackages names what --deep fetches.
func TestLibraryPackages(t *testing.T) {
	w := newWorld(t)
	crypto(w)
	w.assess()
	in := assess.Input{Inventory: w.inv, Catalog: w.cat, Major: w.major, Repos: w.repos}
	list := assess.LibraryPackages(in)
	if len(list) != 1 || list[0].Repo != "baseos" || list[0].Index.NEVRA(list[0].At).Name != "openssl-libs" {
		t.Errorf("packages %+v", list)
	}
	w.inv.Applications.Libraries[0].Package = "epel-lib-1-1.el8.x86_64"
	if list := assess.LibraryPackages(in); len(list) != 0 {
		t.Errorf("fetches %+v for a library that stays", list)
	}
}
