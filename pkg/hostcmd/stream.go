package hostcmd

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// maxLine is where a line is cut into pieces.
const maxLine = 64 << 10

// sink takes both streams of a program, which two goroutines write.
type sink struct {
	mu   sync.Mutex
	cmd  Cmd
	outs [2]*streamSink
}

type streamSink struct {
	sink *sink
	id   Stream
	kept cappedBuffer
	line []byte // begun, without its newline
}

func newSink(c Cmd) *sink {
	limit := c.MaxOutput
	if limit <= 0 {
		limit = DefaultMaxOutput
	}
	s := &sink{cmd: c}
	for i := range s.outs {
		s.outs[i] = &streamSink{sink: s, id: Stream(i + 1), kept: cappedBuffer{max: limit}}
	}
	return s
}

func (s *sink) stream(id Stream) *streamSink { return s.outs[id-1] }

func (s *sink) truncated() bool { return s.outs[0].kept.truncated || s.outs[1].kept.truncated }

// flush passes on what the streams hold of lines without an end.
func (s *sink) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.outs {
		if len(o.line) > 0 && s.cmd.OnLine != nil {
			s.cmd.OnLine(o.id, string(o.line))
		}
		o.line = nil
	}
}

// Write never fails: a full disk under the log must not end the program by a
// broken pipe.
func (o *streamSink) Write(p []byte) (int, error) {
	o.sink.mu.Lock()
	defer o.sink.mu.Unlock()
	o.kept.add(p)
	if w := o.sink.cmd.LogTo; w != nil {
		_, _ = w.Write(p)
	}
	if fn := o.sink.cmd.OnLine; fn != nil {
		for rest := p; len(rest) > 0; {
			i := bytes.IndexByte(rest, '\n')
			end := i
			if i < 0 {
				end = len(rest)
			}
			if room := maxLine - len(o.line); end > room {
				end, i = room, -1
			}
			o.line = append(o.line, rest[:end]...)
			rest = rest[end:]
			if i >= 0 {
				rest = rest[1:]
			}
			if i >= 0 || len(o.line) >= maxLine {
				fn(o.id, string(o.line))
				o.line = o.line[:0]
			}
		}
	}
	return len(p), nil
}

// keepError remembers why a program's output could not be passed on.
type keepError struct {
	w   io.Writer
	err error
}

func (k *keepError) Write(p []byte) (int, error) {
	n, err := k.w.Write(p)
	if err != nil && k.err == nil {
		k.err = err
	}
	return n, err
}

// follower reads what a program appends to a file.
type follower struct {
	f       *os.File
	to      io.Writer
	started bool
	end     chan struct{}
	done    chan struct{}
}

func newFollower(path string, to io.Writer) (*follower, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		f.Close()
		return nil, err
	}
	return &follower{f: f, to: to, end: make(chan struct{}), done: make(chan struct{})}, nil
}

func (w *follower) start() {
	if w == nil {
		return
	}
	w.started = true
	go func() {
		defer close(w.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = io.Copy(w.to, w.f)
			select {
			case <-w.end:
				_, _ = io.Copy(w.to, w.f)
				return
			case <-tick.C:
			}
		}
	}()
}

func (w *follower) stop() {
	if w == nil {
		return
	}
	if w.started {
		close(w.end)
		<-w.done
	}
	w.f.Close()
}
