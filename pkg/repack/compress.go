package repack

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
)

// Compressor compresses what is read from in by the method (gzip, bzip2, lzma, xz, zstd) and level ("2", "19") that the
// header names. hostcmd.ErrNotFound or ErrUnsupported mean that it cannot.
type Compressor interface {
	// Find says whether the method can be had, before anything is read or written.
	Find(method string) error
	Compress(ctx context.Context, method, level string, in io.Reader, out io.Writer) error
}

// writer is the compressing end of the archive.
type writer struct {
	io.Writer
	done  func() error
	abort func(error)
}

func (w *writer) Close() error { return w.done() }

// compress begins the payload in the way that the header says: rpm takes its decompressor from there.
func (opt Options) compress(ctx context.Context, to io.Writer, h *rpmhdr.Header) (*writer, error) {
	method, level := h.String(rpmhdr.TagPayloadCompressor), h.String(rpmhdr.TagPayloadFlags)
	if method == "" {
		method = "gzip" // from before the tag
	}
	if opt.Compressor != nil && opt.Compressor.Find(method) == nil {
		r, w := io.Pipe()
		result := make(chan error, 1)
		go func() {
			err := opt.Compressor.Compress(ctx, method, level, r, to)
			if err == nil {
				err = io.ErrClosedPipe // nobody reads any more
				r.CloseWithError(err)
				result <- nil
				return
			}
			r.CloseWithError(err)
			result <- err
		}()
		return &writer{
			Writer: w,
			done: func() error {
				w.Close()
				return <-result
			},
			abort: func(err error) {
				w.CloseWithError(err)
				<-result //nolint:errcheck // the reason of the abort is what counts
			},
		}, nil
	}
	var c io.WriteCloser
	var err error
	switch method {
	case "gzip":
		c, err = gzip.NewWriterLevel(to, gzip.BestSpeed)
	case "zstd":
		c, err = zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	case "xz":
		c, err = newStoredXZ(to)
	case "lzma":
		c, err = lzma.NewWriter(to)
	default:
		err = fmt.Errorf("%w: payload compressor %s", ErrUnsupported, method)
	}
	if err != nil {
		return nil, err
	}
	return &writer{Writer: c, done: c.Close, abort: func(error) {}}, nil
}

// HostCompressor compresses by the programs and libraries of the host below its root: the same code that made the
// original, where the host is of the same distribution and not much younger.
type HostCompressor struct {
	root  string
	mu    sync.Mutex
	found map[string]hostcmd.Cmd
}

// NewHostCompressor returns one for the host below root ("/" or "": the running system).
func NewHostCompressor(root string) *HostCompressor {
	return &HostCompressor{root: root, found: map[string]hostcmd.Cmd{}}
}

// viaRPM lets rpm's own library do it, which compresses only into what it opens itself.
const viaRPM = `import rpm, sys
inp = getattr(sys.stdin, "buffer", sys.stdin)
out = rpm.fd("/proc/self/fd/1", "w" + sys.argv[2], sys.argv[1])
while True:
    data = inp.read(32768)
    if not data:
        break
    out.write(data)
out.close()
`

var rpmIO = map[string]string{"gzip": "gzdio", "bzip2": "bzdio", "lzma": "lzdio", "xz": "xzdio", "zstd": "zstdio"}

// candidates are the commands that may do it, best first. Arguments of the level come last.
func (c *HostCompressor) candidates(method string) (list []hostcmd.Cmd) {
	base := hostcmd.Cmd{Root: c.root, Kill: hostcmd.KillNow}
	if method == "xz" {
		xz := base
		xz.Path, xz.Args = "xz", []string{"-c", "-T1", "-C", "sha256"}
		list = append(list, xz)
	}
	if rpmIO[method] == "" {
		return list
	}
	for _, name := range []string{"/usr/libexec/platform-python", "python3", "python2", "python"} {
		python := base
		python.Path, python.Args = name, []string{"-c", viaRPM, rpmIO[method]}
		list = append(list, python)
	}
	return list
}

// Find implements Compressor. It tries what it finds on an empty input.
func (c *HostCompressor) Find(method string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cmd, ok := c.found[method]; ok {
		if cmd.Path == "" {
			return fmt.Errorf("%w: no program compresses by %s", hostcmd.ErrNotFound, method)
		}
		return nil
	}
	for _, cmd := range c.candidates(method) {
		if _, err := hostcmd.Look(c.root, cmd.Path); err != nil {
			continue
		}
		try := withLevel(cmd, method, "1")
		try.StdoutTo = io.Discard
		if _, err := hostcmd.Run(context.Background(), try); err == nil {
			c.found[method] = cmd
			return nil
		}
	}
	c.found[method] = hostcmd.Cmd{}
	return fmt.Errorf("%w: no program compresses by %s", hostcmd.ErrNotFound, method)
}

func withLevel(cmd hostcmd.Cmd, method, level string) hostcmd.Cmd {
	digits := level[:len(level)-len(strings.TrimLeft(level, "0123456789"))]
	if digits == "" || len(digits) > 2 {
		digits = map[string]string{"xz": "2", "zstd": "19"}[method]
		if digits == "" {
			digits = "9"
		}
	}
	if cmd.Path == "xz" {
		digits = "-" + digits
	}
	cmd.Args = append(slices.Clone(cmd.Args), digits)
	return cmd
}

// Compress implements Compressor.
func (c *HostCompressor) Compress(ctx context.Context, method, level string, in io.Reader, out io.Writer) error {
	if err := c.Find(method); err != nil {
		return err
	}
	c.mu.Lock()
	cmd := withLevel(c.found[method], method, level)
	c.mu.Unlock()
	cmd.Stdin, cmd.StdoutTo = in, out
	_, err := hostcmd.Run(ctx, cmd)
	return err
}
