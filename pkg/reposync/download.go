package reposync

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strconv"
	"time"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"golang.org/x/sys/unix"
)

// nonBlock keeps open(2) from waiting on a FIFO.
const nonBlock = unix.O_NONBLOCK

// maxUnsized caps a file whose size the metadata does not give.
const maxUnsized = maxMetadata

// errSize marks a file whose size is not the announced one; it is known before the digest is.
var errSize = fmt.Errorf("the file has another size: %w", ErrDigest)

// wanted is a file with what it must be.
type wanted struct {
	sum  repodata.Checksum
	size int64 // 0: not known
}

func (w wanted) limit() int64 {
	if w.size > 0 {
		return w.size
	}
	return maxUnsized
}

// verify checks a file on disk; its error says what differs.
func (w wanted) verify(name string) error {
	f, err := openRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h, err := newHash(w.sum.Type)
	if err != nil {
		return err
	}
	n, err := io.Copy(h, io.LimitReader(f, w.limit()+1))
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", name, err)
	}
	if w.size > 0 && n != w.size || n > w.limit() {
		return fmt.Errorf("%s: %d bytes instead of %d: %w", name, n, w.limit(), errSize)
	}
	if err := checkSum(h, w.sum); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// download brings a file from one mirror to part and verifies it there; what an earlier attempt left in part is
// continued. With an error, part is kept where it can be continued and removed where it is wrong.
func (ss *session) download(ctx context.Context, u *url.URL, part string, want wanted, e effort) error {
	if _, err := newHash(want.sum.Type); err != nil {
		return err
	}
	if u.Scheme == "file" {
		return copyLocal(ctx, u.Path, part, want)
	}
	d := &downloader{ss: ss, url: u, part: part, want: want, effort: e}
	if st, err := os.Lstat(part); err == nil && st.Mode().IsRegular() && st.Size() <= want.limit() {
		d.have = st.Size()
		d.resumed = d.have > 0
	} else if err == nil {
		if err := os.Remove(part); err != nil {
			return fmt.Errorf("cannot remove %s: %w: %w", part, err, ErrCache)
		}
	}
	return d.run(ctx)
}

type downloader struct {
	ss   *session
	url  *url.URL
	part string
	want wanted
	effort
	have    int64
	resumed bool   // begun by an earlier run, perhaps from another mirror
	ifRange string // of the answer that wrote the first bytes of this run
	shown   time.Time
}

func (d *downloader) run(ctx context.Context) error {
	barren := 0
	// Each round either makes progress or counts; the bound is for a server that hands out single bytes.
	for round := 0; round < 100; round++ {
		before := d.have
		err := d.once(ctx)
		if err == nil {
			if err = d.want.verify(d.part); err == nil {
				return nil
			}
			_ = os.Remove(d.part)
			d.have = 0
			if d.resumed { // the old beginning may be at fault
				d.resumed, d.ifRange = false, ""
				continue
			}
			return err
		}
		if !errors.Is(err, errBroken) {
			return err
		}
		if d.have > before {
			barren = 0
		}
		if barren >= d.retries {
			return err
		}
		if err := d.ss.pause(ctx, barren, d.url, err); err != nil {
			return err
		}
		barren++
	}
	return fmt.Errorf("the transfer broke too often: %w", ErrUnreachable)
}

// once sends one request and appends what comes. A nil error means that the file seems complete.
func (d *downloader) once(ctx context.Context) error {
	if d.want.size > 0 && d.have == d.want.size {
		return nil
	}
	resp, err := d.ss.do(ctx, request{url: d.url, from: d.have, ifRange: d.ifRange, effort: d.effort})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if d.have == 0 {
			return fmt.Errorf("partial content where all was asked for: %w", ErrUnreachable)
		}
		from, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != d.have {
			// A server that cannot count: take the whole file from it.
			return d.restart("the server continues elsewhere than asked")
		}
		if total >= 0 && d.want.size > 0 && total != d.want.size {
			return fmt.Errorf("%w: %d bytes instead of %d", errSize, total, d.want.size)
		}
	case http.StatusOK:
		// Range ignored, or another version than If-Range names.
		d.have = 0
		d.resumed = false
		d.ifRange = validatorsOf(resp.Header).strong()
		if n := resp.ContentLength; n >= 0 && d.want.size > 0 && n != d.want.size {
			return d.wrongLength(resp, n)
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if d.have > 0 {
			return d.restart("the server has fewer bytes than we")
		}
		return &statusError{code: resp.StatusCode}
	default:
		return &statusError{code: resp.StatusCode}
	}
	return d.body(ctx, resp)
}

// restart drops what there is; the caller's loop begins anew.
func (d *downloader) restart(why string) error {
	_ = os.Remove(d.part)
	d.have, d.resumed, d.ifRange = 0, false, ""
	return fmt.Errorf("%s: %w: %w", why, errBroken, ErrUnreachable)
}

// wrongLength looks into a body of the wrong length, to tell an error page from a wrong file.
func (d *downloader) wrongLength(resp *http.Response, n int64) error {
	head := make([]byte, 512)
	k, _ := io.ReadFull(resp.Body, head)
	if isHTML(head[:k]) {
		return errHTML
	}
	if n > d.want.size {
		return fmt.Errorf("%w: %d bytes announced instead of %d: %w", errSize, n, d.want.size, ErrTooLarge)
	}
	return fmt.Errorf("%w: %d bytes instead of %d", errSize, n, d.want.size)
}

func (d *downloader) body(ctx context.Context, resp *http.Response) error {
	flags := os.O_WRONLY | os.O_CREATE | unix.O_NOFOLLOW
	if d.have == 0 {
		flags |= os.O_TRUNC
	} else {
		flags |= os.O_APPEND
	}
	f, err := os.OpenFile(d.part, flags, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w: %w", d.part, err, ErrCache)
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	first := d.have == 0
	for {
		n, readErr := resp.Body.Read(buf)
		if n > 0 {
			if first && isHTML(buf[:n]) {
				_ = os.Remove(d.part)
				return errHTML
			}
			first = false
			if d.have+int64(n) > d.want.limit() {
				_ = os.Remove(d.part)
				return fmt.Errorf("%w: more than the %d bytes announced: %w", errSize, d.want.limit(), ErrTooLarge)
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return fmt.Errorf("cannot write %s: %w: %w", d.part, err, ErrCache)
			}
			d.have += int64(n)
			d.progress()
		}
		switch {
		case readErr == io.EOF:
			if err := f.Close(); err != nil {
				return fmt.Errorf("cannot write %s: %w: %w", d.part, err, ErrCache)
			}
			if d.want.size > 0 && d.have < d.want.size {
				// Without a length in the answer, the end of the connection is the only mark of the file's end.
				return fmt.Errorf("%w after %d of %d bytes: %w", errBroken, d.have, d.want.size, errSize)
			}
			return nil
		case readErr != nil:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%w after %d bytes: %w", errBroken, d.have, classify(readErr))
		}
	}
}

func (d *downloader) progress() {
	if now := time.Now(); now.Sub(d.shown) > 100*time.Millisecond || d.have == d.want.size {
		d.shown = now
		d.ss.s.event(Event{Kind: EventDownload, Repo: d.ss.repo.ID, URL: redactURL(d.url), File: path.Base(d.url.Path),
			Done: d.have, Total: d.want.size})
	}
}

var rangeRe = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// contentRange reads the header of that name (RFC 9110, section 14.4); total is -1 for "*".
func contentRange(v string) (from, total int64, ok bool) {
	m := rangeRe.FindStringSubmatch(v)
	if m == nil {
		return 0, 0, false
	}
	from, _ = strconv.ParseInt(m[1], 10, 64)
	to, _ := strconv.ParseInt(m[2], 10, 64)
	total = -1
	if m[3] != "*" {
		total, _ = strconv.ParseInt(m[3], 10, 64)
	}
	return from, total, to >= from && (total < 0 || to < total)
}

// copyLocal brings a file from a mounted medium or share; copying and hashing are one pass.
func copyLocal(ctx context.Context, name, part string, want wanted) error {
	in, err := openRegular(name)
	if err != nil {
		return err
	}
	defer in.Close()
	if st, err := in.Stat(); err == nil && want.size > 0 && st.Size() != want.size {
		return fmt.Errorf("%w: %s has %d bytes instead of %d", errSize, name, st.Size(), want.size)
	}
	h, err := newHash(want.sum.Type)
	if err != nil {
		return err
	}
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w: %w", part, err, ErrCache)
	}
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w: %w", part, err, ErrCache)
	}
	err = pump(ctx, out, h, io.LimitReader(in, want.limit()+1))
	if cerr := out.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("cannot write %s: %w: %w", part, cerr, ErrCache)
	}
	if err == nil {
		if err = checkSum(h, want.sum); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// pump copies in pieces, so that a context can end it.
func pump(ctx context.Context, out *os.File, h hash.Hash, in io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := in.Read(buf)
		if _, werr := out.Write(buf[:n]); werr != nil {
			return fmt.Errorf("cannot write %s: %w: %w", out.Name(), werr, ErrCache)
		}
		h.Write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return localError(err)
		}
	}
}

// sleep waits, or returns why the context ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
