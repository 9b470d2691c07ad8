package target

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
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/reposync"
)

// Limits of a file of advisories: AlmaLinux's whole set has 60 MB unpacked.
const (
	maxAdvisoryData  = 4 << 30
	maxAdvisoryFiles = 200_000
)

// ErrAdvisories is wrapped where a file that was named holds no advisories.
var ErrAdvisories = errors.New("neither OSV records nor updateinfo.xml")

// Advisories reads the updateinfo of the repositories that the host would have.
// A repository that has none, or whose updateinfo cannot be had, is a source
// with its error.
func Advisories(ctx context.Context, syncer *reposync.Syncer, repos []assess.TargetRepo, synced map[string]*reposync.Synced) []assess.AdvisorySource {
	out := []assess.AdvisorySource{}
	for _, r := range repos {
		s := synced[r.ID]
		if !r.Enabled || s == nil {
			continue
		}
		src := assess.AdvisorySource{Name: r.ID}
		src.Advisories, src.Err = updateinfo(ctx, syncer, s)
		out = append(out, src)
	}
	return out
}

func updateinfo(ctx context.Context, syncer *reposync.Syncer, s *reposync.Synced) ([]*repodata.Advisory, error) {
	if _, ok := s.Repomd.Record("updateinfo"); !ok {
		return nil, assess.ErrNoAdvisories
	}
	r, err := syncer.Open(ctx, s, "updateinfo")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var list []*repodata.Advisory
	if err := repodata.ParseUpdateinfo(r, func(a *repodata.Advisory) error {
		list = append(list, a)
		return ctx.Err()
	}); err != nil {
		return nil, fmt.Errorf("cannot read the updateinfo of repository %s: %w", s.Repo.ID, err)
	}
	return list, nil
}

// AdvisoryFile reads advisories from a file or a folder: OSV records (.json),
// updateinfo.xml, or a tar archive of such files; each of them, and the archive,
// may be compressed. Of OSV records, those of AlmaLinux's major are taken.
// Errors wrap ErrAdvisories, what the parsers return, or fs errors.
func AdvisoryFile(ctx context.Context, name string, major int) (assess.AdvisorySource, error) {
	src := assess.AdvisorySource{Name: name, Advisories: []*repodata.Advisory{}}
	rd := &advisoryReader{ctx: ctx, ecosystem: fmt.Sprintf("AlmaLinux:%d", major), src: &src, left: maxAdvisoryData}
	st, err := os.Stat(name)
	if err != nil {
		return src, fmt.Errorf("cannot read advisories: %w", err)
	}
	if !st.IsDir() {
		err = rd.file(name)
	} else {
		// With the separator a link to a folder is followed.
		err = filepath.WalkDir(name+string(filepath.Separator), func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || !advisoryName(p) {
				return err
			}
			return rd.file(p)
		})
	}
	if err == nil && rd.files == 0 {
		err = ErrAdvisories
	}
	if err != nil {
		return src, fmt.Errorf("cannot read advisories from %s: %w", name, err)
	}
	return src, nil
}

// advisoryName tells the files of a folder or an archive that are looked at.
func advisoryName(name string) bool {
	for _, z := range []string{".gz", ".xz", ".zst", ".bz2"} {
		name = strings.TrimSuffix(name, z)
	}
	return strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".xml")
}

type advisoryReader struct {
	ctx       context.Context
	ecosystem string
	src       *assess.AdvisorySource
	files     int
	left      int64 // bytes that may still be read, unpacked
}

func (rd *advisoryReader) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return rd.stream(name, f, true)
}

// stream reads one file: what it is tells its content.
func (rd *advisoryReader) stream(name string, r io.Reader, archives bool) error {
	if err := rd.ctx.Err(); err != nil {
		return err
	}
	if rd.files++; rd.files > maxAdvisoryFiles {
		return fmt.Errorf("more than %d files", maxAdvisoryFiles)
	}
	plain, err := repodata.Decompress(filepath.Base(name), r, rd.left)
	if err != nil {
		return err
	}
	defer plain.Close()
	counted := &countingReader{r: plain}
	defer func() { rd.left -= counted.n }()
	b := bufio.NewReaderSize(counted, 64<<10)
	head, err := b.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	add := func(a *repodata.Advisory) error {
		rd.src.Advisories = append(rd.src.Advisories, a)
		return rd.ctx.Err()
	}
	start := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case len(start) > 0 && (start[0] == '{' || start[0] == '['):
		err = repodata.ParseOSV(b, rd.ecosystem, add)
	case len(start) > 0 && start[0] == '<':
		err = repodata.ParseUpdateinfo(b, add)
	case archives && len(head) > 262 && string(head[257:262]) == "ustar":
		return rd.archive(b)
	default:
		err = ErrAdvisories
	}
	if err != nil && name != rd.src.Name {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return err
}

func (rd *advisoryReader) archive(r io.Reader) error {
	rd.files-- // the archive itself is none
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the archive is damaged: %w", err)
		}
		if h.Typeflag != tar.TypeReg || !advisoryName(h.Name) {
			continue
		}
		if err := rd.stream(h.Name, tr, false); err != nil {
			return err
		}
	}
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// AddFiles appends the advisories of files to those of the repositories, sorted
// by name.
func AddFiles(ctx context.Context, in *assess.Input, files []string) error {
	for _, f := range files {
		src, err := AdvisoryFile(ctx, f, in.Major)
		if err != nil {
			return err
		}
		in.Advisories = append(in.Advisories, src)
	}
	slices.SortFunc(in.Advisories, func(x, y assess.AdvisorySource) int { return strings.Compare(x.Name, y.Name) })
	return nil
}
