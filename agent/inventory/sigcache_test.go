package inventory_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/host"
	"github.com/almamigrate/almamigrate/agent/inventory"
)

// cached is a host with a cache, whose outcomes the tests tell apart from real
// ones because they are false: "marked".
type cached struct {
	t         *testing.T
	root, dir string
	now       time.Time
	opt       inventory.Options
}

const marked = "marked"

func newCached(t *testing.T) *cached {
	t.Helper()
	c := &cached{t: t, root: t.TempDir(), dir: filepath.Join(t.TempDir(), "cache")}
	put(t, c.root, "etc/os-release", "ID=centos\nNAME=\"CentOS Stream\"\nVERSION_ID=9\n")
	db, err := os.ReadFile("../../pkg/rpmdb/testdata/plain.sqlite")
	if err != nil {
		t.Fatal(err)
	}
	put(t, c.root, "var/lib/rpm/rpmdb.sqlite", string(db))
	c.now = time.Now().Add(time.Minute)
	c.opt = inventory.Options{CacheDir: c.dir, Tool: inventory.Tool{Name: "almamigrate", Version: "1"}}
	return c
}

func (c *cached) take() *inventory.Inventory {
	c.t.Helper()
	h, err := host.New(c.root)
	if err != nil {
		c.t.Fatal(err)
	}
	defer h.Close()
	h.Now = func() time.Time { return c.now }
	cat, err := catalog.Load("/")
	if err != nil {
		c.t.Fatal(err)
	}
	inv, err := inventory.Take(context.Background(), h, cat, c.opt)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(inv.Packages) == 0 {
		c.t.Fatal("no packages")
	}
	return inv
}

// used tells whether outcomes came from the cache; it must be all or none.
func (c *cached) used() bool {
	c.t.Helper()
	inv, n := c.take(), 0
	for _, p := range inv.Packages {
		if p.Signature.Reason == marked {
			n++
		}
	}
	if n != 0 && n != len(inv.Packages) {
		c.t.Errorf("%d of %d outcomes from the cache", n, len(inv.Packages))
	}
	return n > 0
}

// file is the one file of the cache; "" if there is none.
func (c *cached) file() string {
	c.t.Helper()
	found, err := filepath.Glob(filepath.Join(c.dir, "*"))
	if err != nil || len(found) > 1 {
		c.t.Fatal(found, err)
	}
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// rewrite changes what is in the file, with a checksum that fits.
func (c *cached) rewrite(edit func(doc map[string]any)) {
	c.t.Helper()
	data, err := os.ReadFile(c.file())
	if err != nil {
		c.t.Fatal(err)
	}
	_, body, _ := bytes.Cut(data, []byte("\n"))
	doc := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // inode numbers and times are larger than a float is exact
	if err := d.Decode(&doc); err != nil {
		c.t.Fatal(err)
	}
	edit(doc)
	if body, err = json.Marshal(doc); err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	if err := os.WriteFile(c.file(), append([]byte(hex.EncodeToString(sum[:])+"\n"), body...), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cached) mark() {
	c.rewrite(func(doc map[string]any) {
		for _, o := range doc["outcomes"].([]any) {
			o.(map[string]any)["reason"] = marked
		}
	})
}

// fill has a run write the cache, and marks it.
func (c *cached) fill() {
	c.t.Helper()
	if c.used() {
		c.t.Fatal("marked before it was")
	}
	if c.file() == "" {
		c.t.Fatal("nothing was kept")
	}
	c.mark()
}

func armoredKey(t *testing.T) string {
	t.Helper()
	e, err := openpgp.NewEntity("a", "", "a@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Serialize(w); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.String()
}

func TestOutcomesAreUsedAgain(t *testing.T) {
	c := newCached(t)
	first := c.take()
	before, err := os.ReadFile(c.file())
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(c.file()); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if strings.Contains(string(before), "owner") {
		t.Error("the owners of keys are kept, but the catalogue may change")
	}
	if d := cmp.Diff(first, c.take()); d != "" {
		t.Errorf("with the cache it is another inventory: %s", d)
	}
	c.mark()
	if !c.used() {
		t.Error("the cache was not used")
	}
	// rpm leaves an empty log, and touches it at every query.
	put(t, c.root, "var/lib/rpm/rpmdb.sqlite-wal", "")
	if !c.used() {
		t.Error("the cache was not used with an empty write-ahead log")
	}
	c.now = c.now.Add(23 * time.Hour)
	if !c.used() {
		t.Error("the cache was not used after 23 hours")
	}
}

func TestOutcomesAreNotUsed(t *testing.T) {
	db := "var/lib/rpm/rpmdb.sqlite"
	for _, tt := range []struct {
		name   string
		change func(c *cached)
	}{
		{"after 24 hours", func(c *cached) { c.now = c.now.Add(24 * time.Hour) }},
		{"from the future", func(c *cached) { c.now = c.now.Add(-time.Second) }},
		{"of another version", func(c *cached) { c.opt.Tool.Version = "2" }},
		{"all asked for", func(c *cached) { c.opt.VerifyAll = true }},
		{"the database was touched", func(c *cached) {
			if err := os.Chtimes(filepath.Join(c.root, db), time.Time{}, time.Unix(1_700_000_000, 0)); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"the database's mode changed, hence its ctime", func(c *cached) {
			if err := os.Chmod(filepath.Join(c.root, db), 0o600); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"the database is a copy with the same times", func(c *cached) {
			name := filepath.Join(c.root, db)
			fi, err := os.Stat(name)
			if err != nil {
				c.t.Fatal(err)
			}
			data, err := os.ReadFile(name)
			if err != nil {
				c.t.Fatal(err)
			}
			put(c.t, c.root, db+".new", string(data))
			if err := os.Chtimes(name+".new", fi.ModTime(), fi.ModTime()); err != nil {
				c.t.Fatal(err)
			}
			if err := os.Rename(name+".new", name); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"there is a write-ahead log", func(c *cached) { put(c.t, c.root, db+"-wal", "x") }},
		{"there is a new key", func(c *cached) { put(c.t, c.root, "etc/pki/rpm-gpg/RPM-GPG-KEY-new", armoredKey(c.t)) }},
		{"rows of another size", func(c *cached) {
			c.rewrite(func(doc map[string]any) {
				for _, r := range doc["rows"].([]any) {
					r.([]any)[1] = 1
				}
			})
		}},
		{"another format", func(c *cached) { c.rewrite(func(doc map[string]any) { doc["format"] = 2 }) }},
		{"of another root", func(c *cached) { c.rewrite(func(doc map[string]any) { doc["root"] = "/x" }) }},
		{"an index out of range", func(c *cached) { c.rewrite(func(doc map[string]any) { doc["outcomes"] = []any{} }) }},
		{"an outcome that there is not", func(c *cached) {
			c.rewrite(func(doc map[string]any) {
				for _, o := range doc["outcomes"].([]any) {
					o.(map[string]any)["status"] = "great"
				}
			})
		}},
		{"the file is damaged", func(c *cached) {
			data, err := os.ReadFile(c.file())
			if err != nil {
				c.t.Fatal(err)
			}
			if err := os.WriteFile(c.file(), bytes.Replace(data, []byte(marked), []byte(marked[:5]+"D"), 1), 0o600); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"the file is cut short", func(c *cached) {
			if err := os.Truncate(c.file(), 100); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"the group can write to the file", func(c *cached) {
			if err := os.Chmod(c.file(), 0o620); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"everybody can write to the folder", func(c *cached) {
			if err := os.Chmod(c.dir, 0o777); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"the file has a second name", func(c *cached) {
			if err := os.Link(c.file(), filepath.Join(filepath.Dir(c.dir), "second")); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"another user's file", func(c *cached) {
			if os.Geteuid() != 0 {
				c.t.Skip("SKIPPED: only root can give a file away")
			}
			if err := os.Chown(c.file(), 12345, -1); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"another user's folder", func(c *cached) {
			if os.Geteuid() != 0 {
				c.t.Skip("SKIPPED: only root can give a folder away")
			}
			if err := os.Chown(c.dir, 12345, -1); err != nil {
				c.t.Fatal(err)
			}
		}},
		{"a folder in its place", func(c *cached) {
			name := c.file()
			if err := os.Remove(name); err != nil {
				c.t.Fatal(err)
			}
			if err := os.Mkdir(name, 0o700); err != nil {
				c.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCached(t)
			c.fill()
			c.t = t
			tt.change(c)
			if c.used() {
				t.Error("the outcomes of an earlier run were used")
			}
		})
	}
}

// TestOutcomesAreNotKept: a run whose database may have changed under it must
// leave nothing behind, nor one that cannot know.
func TestOutcomesAreNotKept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(c *cached)
	}{
		{"the database is too new", func(c *cached) {
			fi, err := os.Stat(filepath.Join(c.root, "var/lib/rpm/rpmdb.sqlite"))
			if err != nil {
				c.t.Fatal(err)
			}
			c.now = fi.ModTime().Add(time.Second)
		}},
		{"nothing was verified", func(c *cached) { c.opt.NoSignatures = true }},
		{"no place was given", func(c *cached) { c.opt.CacheDir = "" }},
		{"the folder is everybody's", func(c *cached) {
			if err := os.Mkdir(c.dir, 0o777); err != nil {
				c.t.Fatal(err)
			}
			if err := os.Chmod(c.dir, 0o777); err != nil {
				c.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCached(t)
			tt.change(c)
			c.take()
			if f := c.file(); f != "" {
				t.Errorf("%s was written", f)
			}
		})
	}
}

// TestExpiredOutcomesAreRemoved: of images that nobody looks at any more.
func TestExpiredOutcomesAreRemoved(t *testing.T) {
	c := newCached(t)
	c.now = time.Now().Add(time.Minute)
	old, other := filepath.Join(c.dir, "verified-0000000000000000.json"), filepath.Join(c.dir, "other.json")
	put(t, c.dir, filepath.Base(old), "x")
	put(t, c.dir, filepath.Base(other), "x")
	past := time.Now().Add(-48 * time.Hour)
	for _, f := range []string{old, other} {
		if err := os.Chtimes(f, past, past); err != nil {
			t.Fatal(err)
		}
	}
	c.take()
	if _, err := os.Stat(old); err == nil {
		t.Error("the expired file is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a file that is none of its own is gone")
	}
}
