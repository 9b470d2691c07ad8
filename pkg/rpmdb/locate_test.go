package rpmdb_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmdb"
)

// tree makes a root: a path ending in / is a directory, a value starting with
// "-> " is a symbolic link, anything else a file.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLocate(t *testing.T) {
	const (
		sqlite = "/var/lib/rpm/rpmdb.sqlite"
		bdb    = "/var/lib/rpm/Packages"
	)
	for name, tt := range map[string]struct {
		files   map[string]string
		path    string
		backend rpmdb.Backend
		note    string
	}{
		"EL7": {map[string]string{bdb: ""}, bdb, rpmdb.BDB, ""},
		"EL9": {map[string]string{sqlite: "", "/usr/lib/rpm/macros": "%_dbpath\t\t%{_var}/lib/rpm\n"}, sqlite, rpmdb.SQLite, ""},
		"EL10": {map[string]string{
			"/usr/lib/sysimage/rpm/rpmdb.sqlite": "", "/var/lib/rpm": "-> ../../usr/lib/sysimage/rpm",
			"/usr/lib/rpm/macros": "%_usr /usr\n%_dbpath %{_usr}/lib/sysimage/rpm\n",
		}, "/usr/lib/sysimage/rpm/rpmdb.sqlite", rpmdb.SQLite, ""},
		"the directory is a link with an absolute target": {map[string]string{
			"/var/lib/rpm": "-> /data/rpm", "/data/rpm/Packages": "", "/usr/lib/rpm/macros": "%_dbpath /var/lib/rpm",
		}, bdb, rpmdb.BDB, ""},
		"set by the administrator, the last file winning": {map[string]string{
			"/usr/lib/rpm/macros": "%_dbpath %{_var}/lib/rpm\n", "/etc/rpm/macros.a": "%_dbpath /first\n",
			"/etc/rpm/macros.b": "%base /srv\n%_dbpath %base/%{?nothing}db\n", "/etc/rpm/macros.c.rpmsave": "%_dbpath /old\n",
			"/srv/db/rpmdb.sqlite": "", "/first/rpmdb.sqlite": "", "/old/rpmdb.sqlite": "", sqlite: "",
		}, "/srv/db/rpmdb.sqlite", rpmdb.SQLite, ""},
		"a shell expansion is not run": {map[string]string{
			"/usr/lib/rpm/macros": "%_dbpath\t\t%(bash -c 'echo ~/.rpmdb')\n", bdb: "",
		}, bdb, rpmdb.BDB, ""},
		"a macro that calls itself": {map[string]string{
			"/etc/rpm/macros": "%_dbpath %{a}%{a}\n%a %{_dbpath}%{_dbpath}\n", bdb: "",
		}, bdb, rpmdb.BDB, ""},
		"text inside the body of another macro": {map[string]string{
			"/usr/lib/rpm/macros": "%_dbpath /srv\n%trick %{expand:\n%_dbpath /elsewhere\n}\n%more a \\\n%_dbpath /elsewhere\n%func() \\\n%_dbpath /elsewhere\n",
			"/srv/Packages":       "", "/elsewhere/Packages": "",
		}, "/srv/Packages", rpmdb.BDB, ""},
		"nothing where the macros point": {map[string]string{
			"/etc/rpm/macros": "%_dbpath /srv/db\n", sqlite: "",
		}, sqlite, rpmdb.SQLite, "%_dbpath is /srv/db"},
		"both, undecided": {map[string]string{sqlite: "", bdb: ""}, sqlite, rpmdb.SQLite, "rpm would prefer it"},
		"both, decided": {map[string]string{
			sqlite: "", bdb: "", "/usr/lib/rpm/macros": "%_db_backend bdb\n",
		}, bdb, rpmdb.BDB, "%_db_backend says so"},
		"decided, but not there": {map[string]string{
			sqlite: "", "/usr/lib/rpm/macros": "%_db_backend bdb\n",
		}, sqlite, rpmdb.SQLite, ""},
		"macro files that are none": {map[string]string{
			bdb: "", "/usr/lib/rpm/macros/x": "", "/etc/rpm": "file", "/usr/lib/rpm/macros.d": "-> /loop", "/loop": "-> /usr/lib/rpm/macros.d",
		}, bdb, rpmdb.BDB, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tt.files)
			loc, err := rpmdb.Locate(root)
			if err != nil {
				t.Fatal(err)
			}
			if loc.Path != filepath.Join(root, tt.path) || loc.Backend != tt.backend || loc.DBPath != filepath.Dir(tt.path) {
				t.Errorf("got %+v", loc)
			}
			if (tt.note == "") != (loc.Note == "") || !strings.Contains(loc.Note, tt.note) {
				t.Errorf("note %q, want %q", loc.Note, tt.note)
			}
		})
	}
}

func TestLocateErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  error
	}{
		"nothing":                {nil, rpmdb.ErrNotFound},
		"a broken link":          {map[string]string{"/var/lib/rpm": "-> /nowhere"}, rpmdb.ErrNotFound},
		"a file for a directory": {map[string]string{"/var/lib/rpm": "x"}, rpmdb.ErrNotFound},
		"ndb":                    {map[string]string{"/usr/lib/sysimage/rpm/Packages.db": ""}, rpmdb.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tt.files)
			if _, err := rpmdb.Locate(root); !errors.Is(err, tt.want) {
				t.Errorf("Locate: %v", err)
			}
			if _, err := rpmdb.Open(root); !errors.Is(err, tt.want) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	if _, err := rpmdb.Locate(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a root that does not exist")
	}
	if _, err := rpmdb.Locate(tree(t, map[string]string{"/var/lib/rpm": "-> rpm"})); err == nil || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("a link to itself: %v", err)
	}
}

// TestOpenStaysInRoot has links that lead out of the root, were they followed
// from outside. The system's own database, if any, must not be read.
// Each place that was looked at is named once, also where rpm's macros name one
// of the well-known ones.
func TestLocateNamesPlaces(t *testing.T) {
	for dbpath, want := range map[string]string{
		"%{_var}/lib/rpm":       "in /var/lib/rpm, /usr/lib/sysimage/rpm",
		"/usr/lib/sysimage/rpm": "in /usr/lib/sysimage/rpm, /var/lib/rpm",
		"/srv/db":               "in /srv/db, /usr/lib/sysimage/rpm, /var/lib/rpm",
	} {
		_, err := rpmdb.Locate(tree(t, map[string]string{"/usr/lib/rpm/macros": "%_dbpath\t" + dbpath + "\n"}))
		if !errors.Is(err, rpmdb.ErrNotFound) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("_dbpath %s: %v, want it to end %q", dbpath, err, want)
		}
	}
}

func TestOpenStaysInRoot(t *testing.T) {
	outside := makeSQLite(t, 1, 2)
	for name, link := range map[string]string{"absolute": outside, "upwards": "../../../../../../../../../.." + outside} {
		root := tree(t, map[string]string{"/var/lib/rpm": "-> " + link})
		if _, err := rpmdb.Open(root); !errors.Is(err, rpmdb.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		// The same path inside is what the link means there.
		inside := filepath.Join(root, outside)
		if err := os.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(inside, os.DirFS(outside)); err != nil {
			t.Fatal(err)
		}
		db, err := rpmdb.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, err := range db.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 2 || db.Location().DBPath != "/var/lib/rpm" {
			t.Errorf("%s: %d rows, %+v", name, n, db.Location())
		}
		db.Close()
	}
}
