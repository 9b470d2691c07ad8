package step

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// written are folders below which the steps, and rpm, write: each may be a
// file system of its own.
var written = []string{"/", "/usr", "/etc", "/var", "/var/lib", "/var/lib/rpm", "/boot", "/boot/efi", "/opt", "/srv"}

// Sync brings all that was written to the disk. rpm does not: it is some
// seconds after its transaction that files have their content for good, and
// after a power cut in between many of them are empty.
func Sync() error {
	seen := map[uint64]bool{}
	for _, d := range written {
		fd, err := unix.Open(d, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot open %s: %w", d, err)
		}
		var st unix.Stat_t
		if err = unix.Fstat(fd, &st); err == nil && !seen[uint64(st.Dev)] { //nolint:unconvert // 32 bits on some
			seen[uint64(st.Dev)] = true //nolint:unconvert // as above
			err = unix.Syncfs(fd)
		}
		_ = unix.Close(fd)
		// A read-only file system has nothing to sync.
		if err != nil && !errors.Is(err, unix.EROFS) {
			return fmt.Errorf("cannot bring %s to the disk: %w", d, err)
		}
	}
	return nil
}

// again tells whether a step had begun before.
func again(c *txn.Change, name string) bool {
	n := 0
	for _, r := range c.Records {
		if r.Step < 0 || c.Plan.Steps[r.Step].Name != name {
			continue
		}
		switch r.Status {
		case txn.Doing:
			n++
		case txn.Undone:
			n = 0
		}
	}
	return n > 1
}

// content is what a package has in a file.
type content struct {
	digest string
	algo   uint32
}

// contents lists the regular files of saved packages; a path may be in several.
func contents(dir string, list []Saved) (map[string][]content, error) {
	out := map[string][]content{}
	for _, s := range list {
		if s.File == "" {
			continue // not saved: so it was asked for by --rollback-depth
		}
		pkg, done, err := openPackage(filepath.Join(dir, s.File))
		if err != nil {
			return nil, err
		}
		h := pkg.Header()
		digests, modes, flags := h.Strings(rpmhdr.TagFileDigests), h.Uint16s(rpmhdr.TagFileModes), h.Uint32s(rpmhdr.TagFileFlags)
		i := -1
		for f := range h.Files() {
			if i++; i < len(digests) && i < len(modes) && modes[i]&unix.S_IFMT == unix.S_IFREG && digests[i] != "" && (i >= len(flags) || flags[i]&rpmGhost == 0) {
				out[f] = append(out[f], content{digests[i], digestAlgo(h)})
			}
		}
		done()
	}
	return out, nil
}

// is tells whether a file has one of the contents.
func is(p string, list []content) bool {
	for _, w := range list {
		if sum, err := digestFile(p, w.algo); err == nil && sum == w.digest {
			return true
		}
	}
	return false
}

// mend prepares files of coming packages for a transaction that begins anew,
// unless they are already as they will be. A power cut in rpm's transaction
// leaves empty ones, and to rpm an empty configuration file is one that the
// administrator has edited, as is one of the old package when the new one is
// in the database. So a file that nobody had edited is removed: rpm makes it
// anew, whatever the database says. An edited one comes back first.
func mend(c *txn.Change, coming, leaving []Saved) error {
	will, err := contents(rpmDir(c, "coming"), coming)
	if err != nil {
		return err
	}
	was, err := contents(rpmDir(c, "leaving"), leaving)
	if err != nil {
		return err
	}
	sets, err := Sets(c)
	if err != nil {
		return err
	}
	damaged := map[string]bool{}
	for p, w := range will {
		if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() && !is(p, w) {
			damaged[p] = true
		}
	}
	var errs error
	for _, set := range sets {
		_, err := set.RestoreOnly(root, func(p string) bool {
			return damaged[p]
		})
		errs = errors.Join(errs, err)
	}
	for p := range damaged {
		if len(was[p]) > 0 && is(p, was[p]) {
			errs = errors.Join(errs, remove(p))
		}
	}
	if errs != nil {
		return fmt.Errorf("cannot mend what an interrupted transaction left: %w", errs)
	}
	return nil
}

// emptied finds configuration files that a power cut left without content.
func emptied(c *txn.Change, h *rpmhdr.Header) ([]string, error) {
	var bad []string
	for _, f := range configFiles(h) {
		st, err := os.Lstat(f.path)
		if err != nil || !st.Mode().IsRegular() || st.Size() > 0 {
			continue
		}
		if sum, err := digestFile(f.path, f.algo); err == nil && sum == f.digest {
			continue
		}
		data, _, was, err := savedFile(c, f.path)
		if err != nil {
			return nil, err
		}
		if !was || len(data) > 0 {
			bad = append(bad, f.path+" is empty")
		}
	}
	return bad, nil
}

// checkConfigs tells which configuration files of the coming packages are
// neither as packaged nor as they were before.
func checkConfigs(c *txn.Change, h *rpmhdr.Header) ([]string, error) {
	var bad []string
	for _, f := range configFiles(h) {
		sum, err := digestFile(f.path, f.algo)
		if err == nil && sum == f.digest {
			continue
		}
		data, _, was, serr := savedFile(c, f.path)
		if serr != nil {
			return nil, serr
		}
		switch {
		case was && hasContent(f.path, data):
		case err != nil:
			bad = append(bad, fmt.Sprintf("%s cannot be read: %v", f.path, err))
		default:
			bad = append(bad, f.path+" is neither AlmaLinux's nor what it was")
		}
	}
	return bad, nil
}
