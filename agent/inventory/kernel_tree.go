package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/kmod"
	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// maxTreeFile is far above depmod's lists: those of EL have some 2 MB.
const maxTreeFile = 64 << 20

// readTree reads of a kernel's module tree what an inventory needs: depmod's
// lists have tens of thousands of lines, of which a few hundred concern the
// host. modules is what is loaded; of aliases only those count that are of such
// a module, or of no device at all (fs-xfs).
func (r *kernelReader) readTree(root *rootfs.Root, release string, modules map[string]bool) (*kmod.Tree, error) {
	dir := "lib/modules/" + release + "/"
	dep, err := root.ReadFile(dir+"modules.dep", maxTreeFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%smodules.dep: %w", dir, kmod.ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	t := &kmod.Tree{Release: release, Dir: strings.TrimSuffix(dir, "/"), Files: map[string]string{}, Builtin: map[string]string{}}
	r.depends = map[string][]byte{}
	for line := range bytes.Lines(dep) {
		file, rest, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name, ok := kmod.NameOfFile(string(file[bytes.LastIndexByte(file, '/')+1:]))
		if !ok {
			return nil, fmt.Errorf("%smodules.dep: %q is no module file: %w", dir, clean(string(file)), kmod.ErrCorrupt)
		}
		if _, dup := t.Files[name]; dup {
			continue
		}
		t.Files[name] = string(file)
		if len(bytes.TrimSpace(rest)) > 0 {
			r.depends[name] = rest
		}
	}
	builtin, err := root.ReadFile(dir+"modules.builtin", maxTreeFile)
	if err == nil {
		t.Builtin, err = kmod.ParseBuiltin(bytes.NewReader(builtin))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err := root.ReadFile(dir+"modules.alias", maxTreeFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var keep []byte
	for line := range bytes.Lines(data) {
		end := bytes.TrimRight(line, "\r\n ")
		last := end[bytes.LastIndexByte(end, ' ')+1:]
		if bytes.IndexByte(line, ':') < 0 || modules[string(last)] {
			keep = append(keep, line...)
		}
	}
	aliases, err := kmod.ParseAliases(bytes.NewReader(keep))
	if err != nil {
		return nil, err
	}
	t.Aliases = kmod.NewAliasTable(aliases)
	return t, nil
}

// dependsOn are the modules that have to be loaded before another one.
func (r *kernelReader) dependsOn(name string) []string {
	var names []string
	for _, f := range bytes.Fields(r.depends[name]) {
		if n, ok := kmod.NameOfFile(string(f[bytes.LastIndexByte(f, '/')+1:])); ok {
			names = append(names, n)
		}
	}
	return names
}
