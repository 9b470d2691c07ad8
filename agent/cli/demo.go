package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// demoArchive holds a small EL host (root/) and a small AlmaLinux tree
// (mirror/), made by test/lab/make-demo with rpm and createrepo_c.
//
//go:embed demo/demo.tar.gz
var demoArchive []byte

// demo is the unpacked archive.
type demo struct {
	dir, root, mirror, cache, key string
}

// unpackDemo writes the archive to a private temporary folder.
func unpackDemo() (*demo, error) {
	dir, err := os.MkdirTemp("", "almamigrate-demo-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder for the demo: %w", err)
	}
	d := &demo{
		dir: dir, root: filepath.Join(dir, "root"), mirror: "file://" + filepath.Join(dir, "mirror"),
		cache: filepath.Join(dir, "cache"), key: filepath.Join(dir, "mirror", "RPM-GPG-KEY-AlmaLinux-8"),
	}
	if err := unpack(demoArchive, dir); err != nil {
		d.remove()
		return nil, fmt.Errorf("cannot unpack the demo to %s: %w", dir, err)
	}
	return d, nil
}

func (d *demo) remove() { _ = os.RemoveAll(d.dir) }

// unpack writes the regular files, folders and links of an archive below dir.
// os.Root refuses what would leave it.
func unpack(archive []byte, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	zr, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	tr := tar.NewReader(zr)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Clean(h.Name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			err = root.Symlink(h.Linkname, name)
		case tar.TypeReg:
			var data []byte
			if data, err = io.ReadAll(tr); err == nil {
				err = root.WriteFile(name, data, h.FileInfo().Mode().Perm())
			}
		}
		if err != nil {
			return err
		}
	}
}
