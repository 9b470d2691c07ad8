package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/pkg/boot"
	"github.com/almamigrate/almamigrate/pkg/elfdyn"
)

// maxDepth is how many folders deep a tree is followed; each level holds a
// file descriptor.
const maxDepth = 200

// madeUpFS are file systems that hold no files of anybody's.
var madeUpFS = []string{
	"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "selinuxfs", "bpf", "efivarfs", "pstore",
	"configfs", "hugetlbfs", "mqueue", "binfmt_misc", "rpc_pipefs", "nsfs", "fusectl",
}

// fsMagic names what statfs(2) tells by number, for mounts that mountinfo does
// not show.
var fsMagic = map[uint32]string{
	0x6969: "nfs", 0x517b: "smbfs", 0xff534d42: "cifs", 0xfe534d42: "smb3", 0x65735546: "fuse", 0x01021997: "9p", 0x00c36400: "ceph",
	0x5346414f: "afs", 0x0bd00bd0: "lustre", 0x47504653: "gpfs", 0x0187: "autofs", 0x9fa0: "proc", 0x62656572: "sysfs", 0x1cd1: "devpts",
	0x27e0eb: "cgroup", 0x63677270: "cgroup2", 0x64626720: "debugfs", 0x74726163: "tracefs", 0x73636673: "securityfs", 0xf97cff8c: "selinuxfs",
	0xcafe4a11: "bpf", 0xde5e81e4: "efivarfs", 0x6165676c: "pstore", 0x62656570: "configfs", 0x958458f6: "hugetlbfs", 0x19800202: "mqueue",
	0x42494e4d: "binfmt_misc", 0x6e736673: "nsfs",
}

// notEntered tells why a file system is left alone, "" if it is not.
func notEntered(fstype string) string {
	switch {
	case slices.Contains(networkFS, fstype), fstype == "fuse", strings.HasPrefix(fstype, "fuse.") && fstype != "fuse.lxcfs":
		return "a network or user space file system (" + fstype + "), not entered"
	case slices.Contains(madeUpFS, fstype), fstype == "fuse.lxcfs":
		return "made up by the kernel (" + fstype + "), not entered"
	}
	return ""
}

// walker goes through trees without following symbolic links, and shows every
// regular file that begins as an ELF file.
type walker struct {
	root   string // "/" or the image's folder
	mounts map[string]string
	seen   map[[2]uint64]bool // folders that were begun with, by device and inode
	looked int
	found  func(name string, f *os.File, info fs.FileInfo) error
	owned  func(name string) bool // handled elsewhere
	link   func(dir, name string) // a symbolic link
	skip   func(what string, err error)
	tell   func(dir string)
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// newWalker notes the mounts: whether a folder is on a dead server must be
// known before it is touched.
func newWalker(root string) *walker {
	w := &walker{root: path.Clean(root), mounts: map[string]string{}, seen: map[[2]uint64]bool{}}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return w
	}
	mounts, _ := boot.ParseMountinfo(data)
	for _, m := range mounts {
		if w.root == "/" {
			w.mounts[m.Point] = m.FSType
		} else if rel, ok := strings.CutPrefix(m.Point, w.root+"/"); ok {
			w.mounts["/"+rel] = m.FSType
		}
	}
	return w
}

// tree walks the folder at a path below the root that has no symbolic links.
func (w *walker) tree(ctx context.Context, dir string) error {
	for p := dir; p != "/"; p = path.Dir(p) {
		if why := notEntered(w.mounts[p]); why != "" {
			w.skip(p, errors.New(why))
			return nil
		}
	}
	fd, err := unix.Open(path.Join(w.root, dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.skip(dir, err)
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	if why := w.statfs(fd); why != "" {
		_ = unix.Close(fd)
		w.skip(dir, errors.New(why))
		return nil
	}
	return w.folder(ctx, fd, dir, st.Dev, st.Ino, 0)
}

func (w *walker) statfs(fd int) string {
	var s unix.Statfs_t
	if unix.Fstatfs(fd, &s) != nil {
		return ""
	}
	return notEntered(fsMagic[uint32(s.Type)])
}

// folder reads one folder, in pieces, and goes into those in it at once: the
// memory that it takes depends on the depth alone. It closes fd.
func (w *walker) folder(ctx context.Context, fd int, dir string, dev, ino uint64, depth int) error {
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	id := [2]uint64{dev, ino}
	if w.seen[id] {
		return nil // walked by another name: folders of the configuration in each other, bind mounts
	}
	if w.mounts[dir] != "" || depth == 0 {
		w.seen[id] = true
	}
	var st unix.Stat_t
	if depth > 0 && unix.Fstatat(fd, "etc/os-release", &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
		w.skip(dir, errors.New("a system of its own (a chroot, a container, an image): its programs run with its own libraries"))
		return nil
	}
	if w.tell != nil {
		w.tell(dir)
	}
	for {
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name := path.Join(dir, e.Name())
			switch t := e.Type(); {
			case t.IsRegular():
				if err := w.file(fd, e.Name(), name); err != nil {
					return err
				}
			case t.IsDir():
				if err := w.enter(ctx, fd, e.Name(), name, dev, depth); err != nil {
					return err
				}
			case t&fs.ModeSymlink != 0:
				if w.link != nil && (w.owned == nil || !w.owned(name)) {
					w.link(dir, e.Name())
				}
			case t&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice|fs.ModeCharDevice) != 0:
				w.skip(name, errors.New("a pipe, socket or device"))
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			w.skip(dir, err)
			return nil
		}
	}
}

func (w *walker) enter(ctx context.Context, parent int, base, name string, dev uint64, depth int) error {
	if why := notEntered(w.mounts[name]); why != "" {
		w.skip(name, errors.New(why))
		return nil
	}
	if depth >= maxDepth {
		w.skip(name, fmt.Errorf("more than %d folders deep", maxDepth))
		return nil
	}
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.skip(name, err)
		}
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		w.skip(name, err)
		return nil
	}
	if st.Dev != dev {
		if why := w.statfs(fd); why != "" {
			_ = unix.Close(fd)
			w.skip(name, errors.New(why))
			return nil
		}
	}
	return w.folder(ctx, fd, name, st.Dev, st.Ino, depth+1)
}

// openAt opens a file of a folder without following a link, blocking at a pipe
// or changing its access time.
func openAt(dir int, base string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Openat(dir, base, flags|unix.O_NOATIME, 0)
	if errors.Is(err, unix.EPERM) {
		fd, err = unix.Openat(dir, base, flags, 0)
	}
	return fd, err
}

func (w *walker) file(dir int, base, name string) error {
	if w.owned != nil && w.owned(name) {
		return nil
	}
	fd, err := openAt(dir, base)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.skip(name, err)
		}
		return nil
	}
	w.looked++
	var head [4]byte
	n, err := unix.Pread(fd, head[:], 0)
	if err != nil || n < len(head) || !elfdyn.Magic(head[:]) {
		_ = unix.Close(fd)
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			w.skip(name, err)
		}
		return nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return w.found(name, f, info)
}
