package rpmdb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Location is where a database lies.
type Location struct {
	Path    string  // of the database file, the root included
	Backend Backend // its format
	DBPath  string  // rpm's %_dbpath: the directory as the system under root sees it
	Note    string  // why this one, where there was a choice; else empty
}

// wellKnown are the places of the EL releases: /usr/lib/sysimage/rpm from EL10
// on, /var/lib/rpm before. Each may be a link to the other.
var wellKnown = []string{"/usr/lib/sysimage/rpm", "/var/lib/rpm"}

// Locate finds the database of the system under root as that system's own rpm
// would: %_dbpath and %_db_backend of its macro files first, as far as they can
// be read without running anything, then the well-known places. A user's own
// ~/.rpmmacros is not consulted. Errors wrap ErrNotFound, ErrUnsupported or
// fs.ErrPermission.
func Locate(root string) (Location, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return Location{}, fmt.Errorf("cannot open root %s: %w", root, err)
	}
	defer r.Close()
	loc, _, err := locate(r, root)
	return loc, err
}

// locate also returns the file's name below root, free of symbolic links.
func locate(r *os.Root, root string) (Location, string, error) {
	macros, err := readMacros(r)
	if err != nil {
		return Location{}, "", fmt.Errorf("cannot find the rpm database of %s: %w", root, err)
	}
	dirs := wellKnown
	configured, plain := macros.expand("%{_dbpath}")
	plain = plain && strings.HasPrefix(configured, "/")
	if plain {
		configured = path.Clean(configured)
		dirs = append([]string{configured}, slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d == configured })...)
	}
	// As rpm does: the configured format if it is there, else the first that is.
	order := []Backend{SQLite, NDB, BDB}
	wanted, _ := macros.expand("%{_db_backend}")
	if wanted == "bdb_ro" { // rpm's own reader for what it can no longer write
		wanted = string(BDB)
	}
	if i := slices.Index(order, Backend(wanted)); i > 0 {
		order = slices.Insert(slices.Delete(order, i, i+1), 0, Backend(wanted))
	}

	for i, dir := range dirs {
		var present []Backend
		var names []string
		for _, b := range order {
			name, err := resolve(r, path.Join(dir, b.file()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return Location{}, "", fmt.Errorf("cannot find the rpm database of %s: %w", root, err)
			}
			present, names = append(present, b), append(names, name)
		}
		if len(present) == 0 {
			continue
		}
		loc := Location{Backend: present[0], DBPath: dir, Path: filepath.Join(root, dir, present[0].file())}
		var notes []string
		if plain && i > 0 {
			notes = append(notes, fmt.Sprintf("%%_dbpath is %s, where there is no database", configured))
		}
		for _, b := range present[1:] {
			why := "rpm would prefer it"
			if wanted == string(present[0]) {
				why = "%_db_backend says so"
			}
			notes = append(notes, fmt.Sprintf("%s is there too, %s was taken because %s", b.file(), present[0].file(), why))
		}
		loc.Note = strings.Join(notes, "; ")
		if loc.Backend == NDB {
			return loc, "", fmt.Errorf("cannot read rpm database %s: %w", loc.Path, errNDB())
		}
		return loc, names[0], nil
	}
	return Location{}, "", fmt.Errorf("%w under %s: looked for rpmdb.sqlite and Packages in %s", ErrNotFound, root, strings.Join(dirs, ", "))
}

func errNDB() error {
	return unsupported("format ndb, which no EL release uses; is this the right root? If it is, run \"rpm --define '_db_backend sqlite' --rebuilddb\" on that system, which turns it into SQLite")
}

// resolve follows path below the root as a process chrooted there would: an
// absolute link starts at the root again, ".." does not lead out of it. It
// returns a name without links, for r's methods. Errors wrap fs.ErrNotExist
// where something is missing.
func resolve(r *os.Root, name string) (string, error) {
	todo := strings.Split(name, "/")
	var done []string
	links := 0
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = done[:max(0, len(done)-1)]
			continue
		}
		at := path.Join(path.Join(done...), part)
		info, err := r.Lstat(at)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if len(todo) > 0 && !info.IsDir() {
				return "", &fs.PathError{Op: "open", Path: at, Err: fs.ErrNotExist}
			}
			done = append(done, part)
			continue
		}
		if links++; links > 40 {
			return "", &fs.PathError{Op: "open", Path: name, Err: errors.New("too many levels of symbolic links")}
		}
		target, err := r.Readlink(at)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	if len(done) == 0 {
		return ".", nil
	}
	return path.Join(done...), nil
}

// openRegular opens a regular file below the root, following links inside it.
func openRegular(r *os.Root, name string) (*os.File, error) {
	real, err := resolve(r, name)
	if err != nil {
		return nil, err
	}
	f, err := r.OpenFile(real, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
