package target

import (
	"archive/tar"
	"archive/zip"
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
	"slices"
	"strconv"
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

// ErrNoneApply is wrapped where a file has advisories, of other releases.
var ErrNoneApply = errors.New("no advisories of this release")

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
// updateinfo.xml, or a tar or zip archive of such files; each of them, and a tar
// archive, may be compressed. Of OSV records, those of AlmaLinux's major are taken.
// Errors wrap ErrAdvisories, ErrNoneApply, what the parsers return, or fs errors.
func AdvisoryFile(ctx context.Context, name string, major int) (assess.AdvisorySource, error) {
	src := assess.AdvisorySource{Name: name, Advisories: []*repodata.Advisory{}}
	rd := &advisoryReader{ctx: ctx, major: major, ecosystem: fmt.Sprintf("AlmaLinux:%d", major), src: &src, left: maxAdvisoryData}
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
	if err == nil && len(src.Advisories) == 0 {
		switch {
		case rd.others > 0:
			err = fmt.Errorf("it is for EL%d, and nothing of it for AlmaLinux %d: %w", rd.other, major, ErrNoneApply)
		case rd.files > 0:
			err = fmt.Errorf("nothing of it is for AlmaLinux %d: %w", major, ErrNoneApply)
		default:
			err = ErrAdvisories
		}
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
	major     int
	ecosystem string
	src       *assess.AdvisorySource
	files     int
	left      int64 // bytes that may still be read, unpacked
	others    int   // advisories of updateinfo that are for another major, and for which
	other     int
}

func (rd *advisoryReader) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [4]byte
	if n, _ := f.ReadAt(head[:], 0); string(head[:n]) == "PK\x03\x04" {
		return rd.zip(f)
	}
	return rd.stream(name, f, true)
}

// zip reads a zip archive: osv.dev hands its records out as one.
func (rd *advisoryReader) zip(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(f, st.Size())
	if err != nil {
		return fmt.Errorf("the archive is damaged: %w", err)
	}
	for _, e := range z.File {
		if !e.Mode().IsRegular() || !advisoryName(e.Name) {
			continue
		}
		r, err := e.Open()
		if err != nil {
			return fmt.Errorf("the archive is damaged: %s: %w", e.Name, err)
		}
		err = rd.stream(e.Name, r, false)
		_ = r.Close()
		if err != nil {
			return err
		}
	}
	return nil
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
		err = repodata.ParseUpdateinfo(b, func(a *repodata.Advisory) error {
			if other := rd.otherMajor(a); other != 0 {
				rd.others, rd.other = rd.others+1, other
				return rd.ctx.Err()
			}
			return add(a)
		})
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

// distTag is the part of a release that says for which EL a package is built.
var distTag = regexp.MustCompile(`\.(?:module_)?el(\d+)`)

// otherMajor tells for which major the packages of an advisory are, if that is
// another one: unlike OSV records, updateinfo does not say it.
func (rd *advisoryReader) otherMajor(a *repodata.Advisory) int {
	other := 0
	for i := range a.Packages {
		m := distTag.FindStringSubmatch(a.Packages[i].EVR.Release)
		if m == nil {
			return 0
		}
		n, err := strconv.Atoi(m[1])
		if err != nil || n == rd.major {
			return 0
		}
		other = n
	}
	return other
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
