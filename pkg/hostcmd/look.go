package hostcmd

import (
	"fmt"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// Look finds a program in Path below root ("" and "/": the running system) and
// returns its path as seen below the root. A program that is not there is
// ErrNotFound. A name with a slash is taken as it is.
func Look(root, name string) (string, error) {
	if name == "" {
		return "", fmt.Errorf("cannot find program %q: %w", name, ErrNotFound)
	}
	if root == "" {
		root = "/"
	}
	r, err := rootfs.Open(root)
	if err != nil {
		return "", fmt.Errorf("cannot find program %s: %w", name, err)
	}
	defer r.Close()
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range strings.Split(Path, ":") {
			candidates = append(candidates, dir+"/"+name)
		}
	}
	for _, p := range candidates {
		if fi, err := r.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("cannot find program %s below %s: %w", name, root, ErrNotFound)
}
