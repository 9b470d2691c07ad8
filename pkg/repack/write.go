package repack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// Options changes what Write writes.
type Options struct {
	// Compressor makes the archive as small, and with luck as exact, as it was; see HostCompressor. With nil, or one that
	// cannot do it, zstd and gzip are compressed by code of ours, less well and fast, xz is stored without compression,
	// and bzip2 is ErrUnsupported.
	Compressor Compressor
	// Placeholders writes the package even if contents are not on disk: without it that is ErrNotExact. The files of the
	// Report get what is there instead, cut or filled up with newlines to the size that the header says, since rpm refuses
	// an archive in which a file is missing. The caller saves these files (pkg/capture) and puts them back afterwards.
	Placeholders bool
	// HeaderOnly writes an empty archive: what rpm needs to note a package as installed (--justdb), a fraction of the size and
	// time. The contents must be put back by other means.
	HeaderOnly bool
}

// Write writes the package to w. With an error, what was written is worth nothing. The Report's SHA256 is of every byte
// written: keep it, and compare it before the file is used.
func Write(ctx context.Context, w io.Writer, r *rootfs.Root, h *rpmhdr.Header, opt Options) (Report, error) {
	p, err := load(h)
	if err != nil {
		return Report{NEVRA: h.NEVRA()}, err
	}
	if opt.HeaderOnly {
		opt.Compressor = nil
	} else {
		p.inspect(r)
	}
	rep := p.report()
	if !rep.Complete() && !opt.Placeholders && !opt.HeaderOnly {
		return rep, fmt.Errorf("cannot rebuild %s: %w: %s", rep.NEVRA, ErrNotExact, list(rep.Files))
	}
	sig, err := p.signature()
	if err != nil {
		return rep, fmt.Errorf("cannot rebuild %s: %w", rep.NEVRA, err)
	}
	out := &counter{w: w, h: sha256.New()}
	for _, part := range [][]byte{p.lead(), sig, p.raw} {
		if _, err := out.Write(part); err != nil {
			return rep, fmt.Errorf("cannot write %s: %w", rep.NEVRA, err)
		}
	}
	if opt.HeaderOnly {
		rep.Size, rep.SHA256 = out.n, hex.EncodeToString(out.h.Sum(nil))
		return rep, nil
	}
	check := p.newCheck()
	packed, err := opt.compress(ctx, io.MultiWriter(out, check.packed), p.built)
	if err != nil {
		return rep, fmt.Errorf("cannot write %s: %w", rep.NEVRA, err)
	}
	if err = p.archive(ctx, io.MultiWriter(packed, check.plain), r); err != nil {
		packed.abort(err)
	} else {
		err = packed.Close()
	}
	if err != nil {
		return rep, fmt.Errorf("cannot write %s: %w", rep.NEVRA, err)
	}
	rep.Exact, rep.SameContent = check.results()
	rep.Size, rep.SHA256 = out.n, hex.EncodeToString(out.h.Sum(nil))
	return rep, nil
}

func list(files []File) string {
	var b strings.Builder
	for i, f := range files {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(files)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s)", f.Path, f.State)
	}
	return b.String()
}

type counter struct {
	w io.Writer
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.h.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// archive writes the cpio archive as rpm does.
func (p *pkg) archive(ctx context.Context, w io.Writer, r *rootfs.Root) error {
	c := &cpioWriter{w: w, stripped: p.built.Has(rpmhdr.TagLongFileSizes)}
	if p.old {
		// See old: the disk that the package was built on is in the archive and nowhere else. 253 is LVM: 26 of 29 packages
		// of CentOS 7 and EPEL 7 looked at have 253:0 or 253:1.
		c.devMajor = 253
	}
	for _, i := range p.order() {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &p.files[i]
		links, size := 1, f.size
		switch t := f.mode & modeType; {
		case t == modeRegular && len(f.links) > 1:
			// The last name carries the content for all.
			links = len(f.links)
			if last(f.links) != i {
				size = 0
			}
		case t == modeDir:
			size = 0
			if p.old {
				links = 2 + p.subfolders[f.path]
			}
		case t != modeRegular && t != modeLink:
			size = 0
		}
		if err := c.header(f, i, links, size); err != nil {
			return err
		}
		var err error
		switch {
		case f.mode&modeType == modeLink:
			if int64(len(f.target)) != size {
				return fmt.Errorf("%s: %w: a link of %d bytes to %q", f.path, rpmhdr.ErrCorrupt, size, f.target)
			}
			err = c.content(strings.NewReader(f.target), size)
		case f.regular() && size > 0:
			err = p.pack(c, r, f, size)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return c.trailer()
}

// order lists the files to pack as rpm does: by the header, but the names of one file together; since 4.12 behind all
// others, before that where the last of them stands.
func (p *pkg) order() []int {
	var out, late []int
	for i := range p.files {
		f := &p.files[i]
		switch {
		case f.ghost():
		case len(f.links) < 2:
			out = append(out, i)
		case p.old && last(f.links) == i:
			out = append(out, f.links...)
		case !p.old && f.links[0] == i:
			late = append(late, f.links...)
		}
	}
	return append(out, late...)
}

func last(group []int) int { return group[len(group)-1] }

// pack writes a content, and compares it with the header's digest once more: it may have changed since.
func (p *pkg) pack(c *cpioWriter, r *rootfs.Root, f *pkgFile, size int64) error {
	if f.state != Intact {
		return placeholder(c, r, f, size)
	}
	in, err := r.OpenFile(p.files[f.content].disk)
	if err != nil {
		return err
	}
	defer in.Close()
	h := newHash(p.algo)
	if err := c.content(io.TeeReader(in, h), size); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != f.digest {
		return ErrChanged
	}
	return nil
}

// placeholder writes what is there instead of a content.
func placeholder(c *cpioWriter, r *rootfs.Root, f *pkgFile, size int64) error {
	var there io.Reader = strings.NewReader("")
	if fi, err := r.Lstat(f.disk); err == nil && fi.Mode().IsRegular() {
		if in, err := r.OpenFile(f.disk); err == nil {
			defer in.Close()
			there = in
		}
	}
	return c.content(io.MultiReader(there, newlines{}), size)
}

type newlines struct{}

func (newlines) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '\n'
	}
	return len(p), nil
}

// cpioWriter writes the "newc" format, or rpm's own without names for packages with files of 4 GiB and more.
type cpioWriter struct {
	w        io.Writer
	stripped bool
	devMajor uint32
}

func (c *cpioWriter) header(f *pkgFile, index, links int, size int64) error {
	if c.stripped {
		_, err := fmt.Fprintf(c.w, "07070X%08x\x00\x00", index)
		return err
	}
	var rmajor, rminor uint32
	if t := f.mode & modeType; t == modeChar || t == modeBlock {
		rmajor, rminor = f.rdev>>8&0xff, f.rdev&0xff
	}
	return c.newc("."+f.path, f.inode, f.mode, links, f.mtime, size, c.devMajor, rmajor, rminor)
}

func (c *cpioWriter) newc(name string, inode, mode uint32, links int, mtime uint32, size int64, major, rmajor, rminor uint32) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, 0, 0, links, mtime, uint32(size), major, 0, rmajor, rminor, len(name)+1, 0, name)
	b.Write(make([]byte, -b.Len()&3))
	_, err := c.w.Write(b.Bytes())
	return err
}

// content writes size bytes and the padding.
func (c *cpioWriter) content(r io.Reader, size int64) error {
	n, err := io.CopyN(c.w, r, size)
	if err == io.EOF {
		return fmt.Errorf("%w: %d of %d bytes", ErrChanged, n, size)
	}
	if err != nil {
		return err
	}
	_, err = c.w.Write(make([]byte, -size&3))
	return err
}

func (c *cpioWriter) trailer() error { return c.newc("TRAILER!!!", 0, 0, 1, 0, 0, 0, 0, 0) }
