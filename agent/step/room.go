package step

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// The way back needs some room, for files beside those that they replace, for
// rpm's log over its database, and for what is written down of it. It is taken
// before the first change and given back when the way back finds the disk full,
// so that whatever else runs on the host and fills it does not keep the host
// between two distributions.
const (
	roomBranding = 16 << 20
	roomFull     = 32 << 20
)

func roomName(c *txn.Change) string { return filepath.Join(c.Dir, "room-for-the-way-back") }

// HoldRoom takes the room. A file system that cannot promise space goes without.
func HoldRoom(c *txn.Change) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	size := int64(roomBranding)
	if p.Depth == plan.DepthFull {
		size = roomFull
	}
	f, err := os.OpenFile(roomName(c), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot hold room for the way back: %w", err)
	}
	for {
		if err = unix.Fallocate(int(f.Fd()), 0, 0, size); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cannot hold room for the way back: %w", err)
	}
	return nil
}

// GiveRoom gives it back. Twice is once.
func GiveRoom(c *txn.Change) error {
	if err := os.Remove(roomName(c)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot give the room for the way back free: %w", err)
	}
	return nil
}

// NeedsRoom tells whether room is held for a change and a disk that its way back
// writes to is full.
func NeedsRoom(c *txn.Change) bool {
	if _, err := os.Lstat(roomName(c)); err != nil {
		return false
	}
	const full = 8 << 20 // what rpm's log was seen to need is more
	for _, d := range append([]string{c.Dir}, written...) {
		if free := Free(d); free >= 0 && free < full {
			return true
		}
	}
	return false
}
