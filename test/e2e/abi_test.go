package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/agent/report"
)

// makeLibraries builds two packages of the same libraries, one for the source
// distribution, installed, and one for AlmaLinux, in /root/alma: with a symbol
// less, a version less, data that grew, another soname, and one that only
// gained a symbol. Programs in /opt/acme are linked with the first; those of
// /opt/fine need nothing that changed.
const makeLibraries = `
set -e
cd /root; mkdir -p src spec rpms alma /opt/acme/bin /opt/acme/lib /opt/fine/bin
cat > src/one.c <<'C'
int kept(void) { return 1; }
#if ALMA
int added(void) { return 2; }
#endif
#if !ALMA || FINE
int removed(void) { return 3; }
#endif
#if ALMA && !FINE
char table[32] = "x";
#else
char table[16] = "x";
#endif
#if !ALMA || FINE
int versioned(void) { return 4; }
#endif
C
echo 'ONE_1 { global: kept; removed; table; local: *; }; ONE_2 { global: added; } ONE_1;' > src/one.map
printf 'VER_1 { global: kept; };\nVER_2 { global: versioned; } VER_1;\n' > src/ver.map
printf 'VER_1 { global: kept; };\n' > src/ver-alma.map
build() { # build DIR ALMA
  mkdir -p $1
  gcc -shared -fPIC -DALMA=$2 -Wl,-soname,libsym.so.1 -o $1/libsym.so.1 src/one.c -Wl,--version-script=src/one.map -DTABLE
  gcc -shared -fPIC -DALMA=$2 -DFINE=1 -Wl,-soname,libfine.so.1 -o $1/libfine.so.1 src/one.c
  gcc -shared -fPIC -DALMA=$2 -Wl,-soname,libdata.so.1 -o $1/libdata.so.1 src/one.c
  if [ $2 = 1 ]; then
    gcc -shared -fPIC -DALMA=1 -Wl,-soname,libver.so.1 -Wl,--version-script=src/ver-alma.map -o $1/libver.so.1 src/one.c
    gcc -shared -fPIC -Wl,-soname,libgone.so.2 -o $1/libgone.so.2 src/one.c
  else
    gcc -shared -fPIC -Wl,-soname,libver.so.1 -Wl,--version-script=src/ver.map -o $1/libver.so.1 src/one.c
    gcc -shared -fPIC -Wl,-soname,libgone.so.1 -o $1/libgone.so.1 src/one.c
  fi
}
build old 0; build new 1
for l in sym fine data ver gone; do ln -sf lib$l.so.1 old/lib$l.so; done
main() { printf "$1" > src/main.c; shift; gcc -fno-pie -no-pie -o "$@"; }
main 'int kept(void), removed(void); int main(void) { return kept() - removed(); }' /opt/acme/bin/sym src/main.c -Lold -lsym
main 'extern char table[16]; int main(void) { return table[1]; }' /opt/acme/bin/data src/main.c -Lold -ldata
main 'int versioned(void); int main(void) { return versioned(); }' /opt/acme/bin/ver src/main.c -Lold -lver
main 'int kept(void); int main(void) { return kept(); }' /opt/acme/bin/gone src/main.c -Lold -lgone
main 'int kept(void), removed(void); extern char table[16]; int main(void) { return kept() + removed() + table[1]; }' /opt/fine/bin/fine src/main.c -Lold -lfine
rm old/*.so
cat > spec/l.spec <<'S'
%global debug_package %{nil}
%global _build_id_links none
Name: libabi
Version: 1
Release: %{rel}.el8
Summary: x
License: x
AutoReq: no
%description
x
%install
mkdir -p %{buildroot}/usr/lib64; cp -a /root/%{from}/* %{buildroot}/usr/lib64/
%files
/usr/lib64/*
S
cp -r /mnt/world/gnupg /root/gnupg; export GNUPGHOME=/root/gnupg
make() { # make FROM RELEASE DIR KEY
  rpmbuild -bb --quiet --define "from $1" --define "rel $2" --define '_topdir /root/spec' --define "_rpmdir /root/$3" --define '_buildshell /bin/bash' --define '_target_cpu x86_64' --target x86_64 spec/l.spec >/root/build.log 2>&1 || { cat /root/build.log; exit 1; }
  rpmsign --define "_gpg_name $4" --define '__gpg /usr/bin/gpg' --addsign $3/x86_64/*.rpm >/dev/null
}
make old 1 rpms centos@lab.invalid; make new 2 alma alma-8@lab.invalid; mv alma/x86_64/*.rpm alma/; rmdir alma/x86_64
gpgconf --kill gpg-agent
createrepo_c -q alma
rpm -U --nodeps --force rpms/x86_64/libabi-1-1.el8.x86_64.rpm
echo /usr/lib64 > /etc/ld.so.conf.d/el.conf; ldconfig
rm -rf old new
`

// TestABI is a host whose applications break in five ways, and one that is
// fine.
func TestABI(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	if r := h.Do(Cmd{Args: []string{"bash"}, Stdin: makeLibraries}); r.Code != 0 {
		t.Fatalf("cannot build the libraries: %s%s", r.Stdout, r.Stderr)
	}
	if r := h.Run("/opt/fine/bin/fine"); r.Code != 4 {
		t.Fatalf("the program that is fine does not run: %+v", r)
	}
	h.Write("/etc/almamigrate/conf.d/abi.conf", "[repo abi]\nurl = file:///root/alma\n")
	check := func(want int, args ...string) *report.Check {
		t.Helper()
		r := h.Almamigrate(append([]string{"check", "--json"}, args...)...)
		if r.Code != want {
			t.Fatalf("check %q: exit code %d, want %d\n%s", args, r.Code, want, r.Stderr)
		}
		c := &report.Check{}
		if err := json.Unmarshal([]byte(r.Stdout), c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	find := func(c *report.Check, id string, words ...string) {
		t.Helper()
		for _, f := range c.Findings {
			if f.ID != id {
				continue
			}
			for _, w := range words {
				if !strings.Contains(f.Title, w) {
					t.Errorf("%s does not name %s: %s", id, w, f.Title)
				}
			}
			return
		}
		t.Errorf("no finding %s", id)
	}
	if c := check(0); c.ABI != nil {
		t.Error("a plain check looks for applications")
	}
	c := check(10, "--abi")
	find(c, "abi.library-missing", "/opt/acme/bin/gone", "libgone.so.1")
	find(c, "abi.version-missing", "/opt/acme/bin/ver", "VER_2", "libver.so.1")
	c = check(10, "--deep")
	find(c, "abi.library-missing", "/opt/acme/bin/gone", "libgone.so.1")
	find(c, "abi.version-missing", "/opt/acme/bin/ver", "VER_2", "libver.so.1")
	find(c, "abi.symbol-missing", "/opt/acme/bin/sym", "removed@ONE_1", "libsym.so.1")
	find(c, "abi.symbol-changed", "/opt/acme/bin/data", "table", "libdata.so.1")
	for _, u := range c.ABI.Unmet {
		if strings.HasPrefix(u.Path, "/opt/fine/") {
			t.Errorf("the program that is fine: %+v", u)
		}
	}
	// The inventory of that host is judged alike elsewhere.
	inv := h.Must(binary, "inventory", "--abi", "--json")
	r := h.Do(Cmd{Args: []string{binary, "check", "--abi", "--json", "--inventory", "-"}, Stdin: inv})
	away := &report.Check{}
	if err := json.Unmarshal([]byte(r.Stdout), away); err != nil || r.Code != 10 {
		t.Fatalf("exit code %d, %v: %s", r.Code, err, r.Stderr)
	}
	find(away, "abi.library-missing", "/opt/acme/bin/gone", "libgone.so.1")

	// Looking at programs changes nothing, not even the time of their last access.
	h.DoUnchanged(Cmd{Args: []string{binary, "check", "--deep", "-q"}}, "/var/cache/almamigrate")

	h.Must("rm", "-r", "/opt/acme")
	c = check(0, "--deep")
	if !strings.HasPrefix(c.ABI.Sentence, "1 program imports 3 symbols from 1 library; all are there") {
		t.Errorf("sentence %q, unmet %+v", c.ABI.Sentence, c.ABI.Unmet)
	}
	if text := h.Must(binary, "check", "--deep"); !strings.Contains(strings.Join(strings.Fields(text), " "), c.ABI.Sentence) {
		t.Errorf("the text does not say %q:\n%s", c.ABI.Sentence, text)
	}
}
