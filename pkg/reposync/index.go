package reposync

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// Caps for one metadata file, whatever repomd.xml announces. The largest in use, filelists of a whole Fedora, have some
// 100 MB compressed and 1 GB open.
const (
	maxMetadata = 1 << 30
	maxOpen     = 4 << 30
)

// source names what the index of a repository is made from.
func source(md *repodata.Repomd) (primary, modules repodata.Record, src repodata.Source) {
	primary, _ = md.Primary()
	src.Primary = primary.Checksum.String()
	if m, ok := md.Record("modules"); ok {
		modules = m
		src.Modules = m.Checksum.String()
	}
	return primary, modules, src
}

// indexPath is where the index of this metadata lies. An index of another format version is recognised by OpenIndex.
func indexPath(dir string, md *repodata.Repomd) string {
	_, _, src := source(md)
	sum := sha256.Sum256([]byte(src.Primary + "\n" + src.Modules))
	return filepath.Join(dir, "index-"+hex.EncodeToString(sum[:16])+".bin")
}

// openIndex opens the index, or builds it again from the metadata files in the cache.
func (w *work) openIndex(md *repodata.Repomd) (*repodata.Index, error) {
	return w.materialize(context.Background(), nil, md, effort{})
}

// materialize opens the index of md; where there is none, it is built, from files that are fetched from mirror where they
// are not in the cache. A nil mirror means: from the cache alone.
func (w *work) materialize(ctx context.Context, mirror *url.URL, md *repodata.Repomd, e effort) (*repodata.Index, error) {
	name := indexPath(w.dir, md)
	primary, modules, src := source(md)
	if ix, err := repodata.OpenIndex(name); err == nil {
		if ix.Source() == src {
			return ix, nil
		}
		ix.Close()
	}
	records := []repodata.Record{primary}
	if src.Modules != "" {
		records = append(records, modules)
	}
	for _, rec := range records {
		if err := w.fetchRecord(ctx, w.dir, mirror, rec, e); err != nil {
			return nil, err
		}
	}
	w.s.event(Event{Kind: EventIndex, Repo: w.repo.ID})
	if err := w.buildIndex(name, records, src); err != nil {
		// The files are what repomd.xml promised, so another copy of them would be no better: only a mirror with
		// another repomd.xml would.
		return nil, err
	}
	ix, err := repodata.OpenIndex(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCache)
	}
	return ix, nil
}

func (w *work) buildIndex(name string, records []repodata.Record, src repodata.Source) error {
	var readers [2]io.Reader
	for i, rec := range records {
		r, err := openRecord(w.dir, rec)
		if err != nil {
			return err
		}
		defer r.Close()
		readers[i] = r
	}
	out, err := atomicfile.Create(name, 0o644, atomicfile.NoSync) // it carries checksums of its own
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrCache)
	}
	defer out.Cancel()
	buf := bufio.NewWriterSize(out, 256<<10)
	if _, err := repodata.BuildIndex(buf, readers[0], readers[1], src); err != nil {
		return metadataError(records[0].Location, err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrCache)
	}
	// The parsers stop at the last tag; the digests cover the rest as well.
	for i, rec := range records {
		if _, err := io.Copy(io.Discard, readers[i]); err != nil {
			return metadataError(rec.Location, err)
		}
	}
	if err := out.Commit(); err != nil {
		return fmt.Errorf("%w: %w", err, ErrCache)
	}
	return nil
}

// metadataError files an error of parsing or decompressing under our sentinels.
func metadataError(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	switch {
	case errors.Is(err, ErrDigest), errors.Is(err, ErrCache), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, repodata.ErrTooLarge):
		return fmt.Errorf("%w: %w", err, ErrTooLarge)
	case errors.Is(err, os.ErrPermission), errors.Is(err, errNoSpace):
		return fmt.Errorf("%w: %w", err, ErrCache)
	}
	return fmt.Errorf("%w: %w", err, ErrMetadata)
}

// openReader is the uncompressed content of a metadata file. Its end is io.EOF only if size and open digest are those of
// repomd.xml.
type openReader struct {
	file *os.File
	r    io.ReadCloser
	rec  repodata.Record
	hash hash.Hash // nil: there is no open digest
	n    int64
	end  error
}

// openRecord opens a file of the cache, whose own digest has been verified.
func openRecord(dir string, rec repodata.Record) (*openReader, error) {
	limit := int64(maxOpen)
	if rec.OpenSize > 0 {
		limit = min(limit, rec.OpenSize)
	}
	f, err := os.Open(cacheFile(dir, rec))
	if err != nil {
		return nil, fmt.Errorf("cannot read the cache: %w: %w", err, ErrCache)
	}
	o := &openReader{file: f, rec: rec}
	if o.r, err = repodata.Decompress(rec.Location, f, limit); err != nil {
		f.Close()
		return nil, metadataError(rec.Location, err)
	}
	if rec.OpenChecksum.Value != "" {
		if o.hash, err = newHash(rec.OpenChecksum.Type); err != nil {
			o.Close()
			return nil, fmt.Errorf("%s: %w", rec.Location, err)
		}
	}
	return o, nil
}

func (o *openReader) Read(p []byte) (int, error) {
	if o.end != nil {
		return 0, o.end
	}
	n, err := o.r.Read(p)
	o.n += int64(n)
	if o.hash != nil {
		o.hash.Write(p[:n])
	}
	if err == io.EOF {
		if o.rec.OpenSize > 0 && o.n != o.rec.OpenSize {
			err = fmt.Errorf("%s: %d bytes uncompressed instead of %d: %w", o.rec.Location, o.n, o.rec.OpenSize, ErrDigest)
		} else if o.hash != nil {
			if serr := checkSum(o.hash, o.rec.OpenChecksum); serr != nil {
				err = fmt.Errorf("%s, uncompressed: %w", o.rec.Location, serr)
			}
		}
	}
	o.end = err
	return n, err
}

func (o *openReader) Close() error {
	err := o.r.Close()
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	return err
}

// Open returns a metadata file of a synced repository, uncompressed: "filelists", "group", "updateinfo" and so on. It is
// fetched if it is not in the cache, and verified; the end of the stream is an error where the open digest differs, so
// what was read counts only then. ErrNotFound: the repository has no such file, or the mirrors have it no longer.
func (s *Syncer) Open(ctx context.Context, synced *Synced, recordType string) (io.ReadCloser, error) {
	rec, ok := synced.Repomd.Record(recordType)
	if !ok {
		return nil, fmt.Errorf("cannot open %s of repository %s: there is none in repomd.xml: %w", recordType, synced.Repo.ID, ErrNotFound)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.opt.Deadline, errDeadline)
	defer cancel()
	what := fmt.Sprintf("open %s of repository %s", recordType, synced.Repo.ID)
	want := wanted{sum: rec.Checksum, size: rec.Size}
	if want.verify(cacheFile(synced.Dir, rec)) != nil {
		w := &work{session: synced.session, dir: synced.Dir}
		_, unlock, err := w.lock(ctx)
		if err != nil {
			return nil, fmt.Errorf("cannot %s: %w", what, err)
		}
		defer unlock()
		err = synced.eachMirror(ctx, what, func(m *url.URL, e effort) error {
			return w.fetchRecord(ctx, synced.Dir, m, rec, e)
		})
		if err != nil {
			return nil, err
		}
	}
	r, err := openRecord(synced.Dir, rec)
	if err != nil {
		return nil, fmt.Errorf("cannot %s: %w", what, err)
	}
	return r, nil
}

// Filelists returns the repository's filelists.xml, as Open does.
func (s *Syncer) Filelists(ctx context.Context, synced *Synced) (io.ReadCloser, error) {
	return s.Open(ctx, synced, "filelists")
}
