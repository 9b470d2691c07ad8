package kmod

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// InitramfsFile is one entry of an initramfs archive.
type InitramfsFile struct {
	Name string // without a leading slash
	Mode uint32 // as st_mode
	Size int64  // bytes
	Link string // target of a symbolic link
	// Segment is the index of the archive that the entry stands in.
	Segment int
}

// InitramfsSegment is one archive of an initramfs: early microcode comes first
// and uncompressed, the system after it.
type InitramfsSegment struct {
	Compression string // "" for none, "gzip", "xz", "zstd", "bzip2", "lz4", "lzma", "lzo"
	Entries     int
}

// Initramfs is the table of contents of an initramfs.
type Initramfs struct {
	Segments []InitramfsSegment
	Files    []InitramfsFile
}

// InitramfsLimits caps what reading an initramfs may cost. Zero values stand for
// the defaults.
type InitramfsLimits struct {
	MaxBytes   int64 // after decompression, all segments together; default 4 GiB
	MaxEntries int   // default 500,000
}

// InitramfsModule is a module file in an initramfs.
type InitramfsModule struct {
	Name    string // normalised
	Release string // of the kernel whose folder it is in
	Path    string
}

// Modules lists the module files, sorted by name, then path.
func (i *Initramfs) Modules() []InitramfsModule {
	var out []InitramfsModule
	for _, f := range i.Files {
		if f.Mode&cpioTypeMask != cpioRegular && f.Mode&cpioTypeMask != cpioSymlink {
			continue
		}
		name, ok := NameOfFile(f.Name)
		if !ok {
			continue
		}
		m := InitramfsModule{Name: name, Path: f.Name}
		parts := strings.Split(f.Name, "/")
		for k := 0; k+2 < len(parts); k++ {
			if parts[k] == "lib" && parts[k+1] == "modules" {
				m.Release = parts[k+2]
				break
			}
		}
		out = append(out, m)
	}
	sort.Slice(out, func(a, b int) bool {
		if out[a].Name != out[b].Name {
			return out[a].Name < out[b].Name
		}
		return out[a].Path < out[b].Path
	})
	return out
}

// Microcode reports whether the archive brings CPU microcode.
func (i *Initramfs) Microcode() bool {
	for _, f := range i.Files {
		if strings.HasPrefix(f.Name, "kernel/x86/microcode/") {
			return true
		}
	}
	return false
}

// Squashed reports whether the modules are inside a squashfs image (dracut's
// squash module, which kdump uses): then the archive's list of files says
// nothing about modules.
func (i *Initramfs) Squashed() bool {
	for _, f := range i.Files {
		switch path.Base(f.Name) {
		case "squash-root.img", "squashfs-root.img", "erofs-root.img":
			return true
		}
	}
	return false
}

// ParseInitramfs lists an initramfs image: any number of cpio archives, each as
// it is or compressed, with zero bytes between them, as the kernel unpacks it
// (init/initramfs.c). After xz, bzip2 and lzma only streams of the same kind may
// follow. Errors wrap ErrCorrupt, ErrTooLarge or ErrUnsupported.
func ParseInitramfs(r io.Reader, limits InitramfsLimits) (*Initramfs, error) {
	if limits.MaxBytes == 0 {
		limits.MaxBytes = 4 << 30
	}
	if limits.MaxEntries == 0 {
		limits.MaxEntries = 500_000
	}
	p := &initramfsParser{limits: limits, left: limits.MaxBytes}
	br := bufio.NewReaderSize(&meter{r, &p.left}, 64<<10)
	for {
		head, err := nextSegment(br)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, p.wrap(err)
		}
		if isCpio(head) {
			err = p.archive(br, "")
		} else {
			err = p.compressed(br, head)
		}
		if err != nil {
			return nil, p.wrap(err)
		}
	}
	if len(p.out.Segments) == 0 {
		return nil, p.wrap(corrupt("no archive"))
	}
	return &p.out, nil
}

type initramfsParser struct {
	limits InitramfsLimits
	left   int64
	out    Initramfs
}

func (p *initramfsParser) wrap(err error) error {
	switch {
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrTooLarge), errors.Is(err, ErrUnsupported):
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		err = corrupt("the image ends early")
	}
	return fmt.Errorf("cannot list initramfs: segment %d: %w", len(p.out.Segments)+1, err)
}

// meter counts down what may be read.
type meter struct {
	r    io.Reader
	left *int64
}

func (m *meter) Read(b []byte) (int, error) {
	if *m.left <= 0 {
		// One more byte tells the end from an excess.
		var one [1]byte
		if n, err := m.r.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, tooLarge("initramfs")
	}
	n, err := m.r.Read(b[:min(int64(len(b)), *m.left)])
	*m.left -= int64(n)
	return n, err
}

// nextSegment skips zero bytes and returns the first bytes of what follows.
func nextSegment(br *bufio.Reader) ([]byte, error) {
	for {
		b, err := br.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != 0 {
			break
		}
		_, _ = br.Discard(1)
	}
	head, err := br.Peek(16)
	if len(head) > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return head, err
}

func isCpio(head []byte) bool {
	s := string(head[:min(6, len(head))])
	return s == "070701" || s == "070702"
}

func (p *initramfsParser) archive(br *bufio.Reader, compression string) error {
	seg := len(p.out.Segments)
	n := 0
	err := readCpio(br, func(f InitramfsFile) error {
		if len(p.out.Files) == p.limits.MaxEntries {
			return tooLarge("more than %d entries", p.limits.MaxEntries)
		}
		f.Segment = seg
		p.out.Files = append(p.out.Files, f)
		n++
		return nil
	})
	if err != nil {
		return err
	}
	p.out.Segments = append(p.out.Segments, InitramfsSegment{compression, n})
	return nil
}

func (p *initramfsParser) compressed(br *bufio.Reader, head []byte) error {
	kind := compressionOf(head)
	var r io.Reader
	var err error
	switch kind {
	case "":
		return corrupt("bytes % x start no archive and no compression that is known", head[:min(6, len(head))])
	case "gzip":
		// One member at a time leaves the source where the member ends.
		var z *gzip.Reader
		if z, err = gzip.NewReader(br); err == nil {
			z.Multistream(false)
			r = z
		}
	case "zstd":
		r, err = decompressor(kind, &zstdFrames{r: br})
	default:
		r, err = decompressor(kind, br)
	}
	if err != nil {
		return wrapCompression(kind, err)
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	inner := bufio.NewReaderSize(&meter{r, &p.left}, 64<<10)
	archives := 0
	for {
		head, err := nextSegment(inner)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return wrapCompression(kind, err)
		}
		if !isCpio(head) {
			return corrupt("%s data holds no cpio archive but % x", kind, head[:min(6, len(head))])
		}
		if err := p.archive(inner, kind); err != nil {
			return wrapCompression(kind, err)
		}
		archives++
	}
	if archives == 0 {
		// Also what makes sure that every segment takes bytes from the image.
		return corrupt("%s stream without an archive", kind)
	}
	return nil
}

// InitramfsPath finds the initramfs of a kernel release in /boot: the names of
// dracut, of Debian and of the boot loader specification. ErrNotFound if there
// is none.
func (h *Host) InitramfsPath(release string) (string, error) {
	candidates := []string{
		"boot/initramfs-" + release + ".img",
		"boot/initrd.img-" + release,
		"boot/initrd-" + release + ".img",
		"boot/initrd-" + release,
		"lib/modules/" + release + "/initrd",
	}
	if id := strings.TrimSpace(h.attr("etc/machine-id")); id != "" && !strings.Contains(id, "/") {
		for _, top := range []string{"boot", "boot/efi", "efi"} {
			candidates = append(candidates, path.Join(top, id, release, "initrd"))
		}
	}
	if release == "" || strings.ContainsAny(release, "/\x00") {
		candidates = nil
	}
	for _, c := range candidates {
		if info, err := h.stat(c); err == nil && info.Mode().IsRegular() {
			return c, nil
		}
	}
	return "", fmt.Errorf("cannot find the initramfs of kernel %s: %w", release, ErrNotFound)
}

// Initramfs lists an initramfs file of the host.
func (h *Host) Initramfs(file string) (*Initramfs, error) {
	f, err := h.open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read initramfs %s: %w", file, err)
	}
	defer f.Close()
	img, err := ParseInitramfs(f, InitramfsLimits{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return img, nil
}
