package fleet

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/jsonscan"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// Options are how reports are read and judged together.
type Options struct {
	Tool      inventory.Tool
	Now       time.Time
	Stale     time.Duration // older reports are stale; 0: none is
	FileNames bool          // hosts are called as their files, not as their reports say
	Waves     int           // after the canaries; 0: by the number of hosts
	Canaries  int           // at most; 0: by the number of hosts

	MaxDocument int // bytes of one report; 0: 32 MiB
}

const (
	defaultMaxDocument = 32 << 20
	maxMember          = 1 << 30 // of an archive: a larger one ends its reading
	maxMembers         = 10_000_000
	maxUnpacked        = 1 << 40 // bytes that one archive may become
)

// Read reads reports and checks from files, folders (with all below them) and
// archives (tar, compressed or not); "-" is in. What cannot be read is named in
// the result. The error is ctx's, or that of an argument that is not there.
func Read(ctx context.Context, args []string, in io.Reader, opt Options) (*Fleet, error) {
	if opt.MaxDocument == 0 {
		opt.MaxDocument = defaultMaxDocument
	}
	for _, a := range args {
		if a == "-" {
			continue
		}
		if _, err := os.Stat(a); err != nil {
			return nil, fmt.Errorf("cannot read reports: %w", err)
		}
	}
	g := &gathering{opt: opt, in: in, table: &table{ids: map[Fact]uint32{}}, hosts: map[string]*Host{}, dups: map[string]*Duplicate{}}
	jobs := make(chan job)
	var wg sync.WaitGroup
	for range max(runtime.GOMAXPROCS(0), 1) {
		wg.Go(func() {
			w := &worker{g: g, ctx: ctx, x: newExtractor(g.table)}
			for j := range jobs {
				w.job(j)
			}
		})
	}
	err := g.walk(ctx, args, jobs)
	close(jobs)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return g.fleet(), nil
}

// job is one file.
type job struct {
	path  string
	named bool // as an argument: it must be a report
}

// walk hands out the files of the arguments.
func (g *gathering) walk(ctx context.Context, args []string, jobs chan<- job) error {
	send := func(j job) error {
		select {
		case jobs <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, a := range args {
		if info, err := os.Stat(a); a == "-" || err == nil && !info.IsDir() {
			if err := send(job{a, true}); err != nil {
				return err
			}
			continue
		}
		root := a
		if info, err := os.Lstat(a); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			root += string(filepath.Separator) // a link to a folder is followed where it is the argument itself
		}
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				g.unread(path, reason(err))
				return nil
			case d.IsDir():
				return ctx.Err()
			case strings.HasPrefix(d.Name(), "."):
				g.ignored(path, "a hidden file")
				return nil
			case !d.Type().IsRegular():
				g.ignored(path, "not a regular file") // a link may lead anywhere, a pipe may never end
				return nil
			}
			return send(job{path, false})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// reason is an error without the path that is told beside it.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// worker reads one file at a time.
type worker struct {
	g   *gathering
	ctx context.Context
	x   *extractor
	buf []byte
}

func (w *worker) job(j job) {
	if w.ctx.Err() != nil {
		return
	}
	if j.path == "-" {
		w.source("standard input", w.g.in, true, 0)
		return
	}
	f, err := os.Open(j.path)
	if err != nil {
		w.g.unread(j.path, reason(err))
		return
	}
	defer f.Close()
	w.source(j.path, f, j.named, 0)
}

// packing tells how data is packed that begins with head: the ending that
// repodata.Decompress knows it by, or tar.
func packing(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return ".gz"
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return ".xz"
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return ".zst"
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return "tar"
	}
	return ""
}

// source reads whatever r is: reports, or something packed with reports in it.
// Level counts what it is packed in.
func (w *worker) source(label string, r io.Reader, named bool, level int) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		w.g.unread(label, reason(err))
		return
	}
	switch p := packing(head); {
	case p != "" && level >= 3:
		w.g.unread(label, "packed more than three times")
	case p == "tar":
		w.archive(label, br, level)
	case p != "":
		z, err := repodata.Decompress("the file"+p, br, maxUnpacked)
		if err != nil {
			w.g.unread(label, err.Error())
			return
		}
		defer z.Close()
		w.source(label, z, named, level+1)
	default:
		start := bytes.TrimLeft(head, " \t\r\n")
		switch {
		case len(start) > 0 && start[0] == '{':
			w.documents(label, br)
		case !named && !reportName.MatchString(label):
			w.g.ignored(label, "it does not look like a report")
		case len(start) == 0:
			w.g.unread(label, "it is empty")
		case start[0] == '[':
			w.g.unread(label, "it is a list; give one report after another, as jq -c '.[]' writes them")
		default:
			w.g.unread(label, "it is not JSON")
		}
	}
}

// reportName is how files are called that ought to be reports.
var reportName = regexp.MustCompile(`(?i)\.json(\.(gz|xz|zst))?$`)

// archive reads the members of a tar file. Nothing is written: their names are
// only told.
func (w *worker) archive(label string, r io.Reader, level int) {
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		if w.ctx.Err() != nil {
			return
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		switch {
		case err != nil:
			w.g.unread(label, "the archive is damaged or cut off: "+err.Error())
			return
		case n >= maxMembers:
			w.g.unread(label, fmt.Sprintf("the archive has more than %d members: the rest was left", maxMembers))
			return
		case h.Size > maxMember:
			w.g.unread(label+":"+h.Name, "a member of more than 1 GiB: the rest of the archive was left")
			return
		}
		name := label + ":" + h.Name
		switch base := h.FileInfo().Name(); {
		case h.Typeflag == tar.TypeDir:
		case h.Typeflag != tar.TypeReg:
			w.g.ignored(name, "not a regular file")
		case strings.HasPrefix(base, ".") && base != ".":
			w.g.ignored(name, "a hidden file")
		default:
			w.source(name, tr, false, level+1)
		}
	}
}

// documents reads one report after another.
func (w *worker) documents(label string, r io.Reader) {
	limit := w.g.opt.MaxDocument
	buf, eof, number, fill := w.buf[:0], false, 0, true
	defer func() {
		if w.buf = buf[:0]; cap(w.buf) > 4<<20 {
			w.buf = nil // one long report must not stay for ever
		}
	}()
	start := 0 // of what is not read yet
	for w.ctx.Err() == nil {
		if fill && !eof {
			buf = buf[:copy(buf, buf[start:])]
			start = 0
			for !eof && len(buf) < limit+1 {
				if len(buf) == cap(buf) {
					next := make([]byte, len(buf), min(max(2*cap(buf), 256<<10), limit+1))
					copy(next, buf)
					buf = next
				}
				n, err := r.Read(buf[len(buf):cap(buf)])
				buf = buf[:len(buf)+n]
				switch {
				case errors.Is(err, io.EOF):
					eof = true
				case err != nil:
					w.g.unread(label, "cannot be read to its end: "+err.Error())
					return
				}
			}
		}
		rest := bytes.TrimLeft(buf[start:], " \t\r\n")
		start = len(buf) - len(rest)
		if len(rest) == 0 {
			if eof {
				return
			}
			fill = true
			continue
		}
		fill = false
		name := label
		if number++; number > 1 {
			name = fmt.Sprintf("%s (document %d)", label, number)
		}
		h, n, err := w.x.document(rest)
		cut := errors.Is(err, jsonscan.ErrTruncated)
		switch {
		case cut && !eof && start > 0:
			number--
			fill = true
			continue
		case cut && !eof:
			w.g.unread(name, fmt.Sprintf("it is larger than %d MiB", limit>>20))
			return
		case err == nil:
			h.Source = name
			w.g.add(h)
		default:
			w.g.unread(name, err.Error())
			if !whole(rest, &n) {
				// go on where another report may begin
				next := bytes.Index(rest[min(1, len(rest)):], []byte("\n{"))
				if next < 0 {
					return
				}
				n = next + 2
			}
		}
		start += n
	}
}

// whole tells whether rest begins with a whole JSON value, and its length.
func whole(rest []byte, n *int) bool {
	s := jsonscan.New(rest)
	if s.Skip() != nil {
		return false
	}
	*n = s.Pos()
	return true
}
