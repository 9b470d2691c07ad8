package repodata

import "io"

const (
	aheadBlock  = 128 << 10
	aheadBlocks = 4
)

// readAhead reads a stream in a goroutine of its own, so that decompression and
// parsing share two processors. stop must be called; it waits for the Read that
// is under way.
type readAhead struct {
	full, free chan []byte
	quit, done chan struct{}
	cur, rest  []byte
	err        error // valid after full was closed
}

func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full: make(chan []byte, aheadBlocks), free: make(chan []byte, aheadBlocks),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	for range aheadBlocks {
		a.free <- make([]byte, aheadBlock)
	}
	go a.run(r)
	return a
}

func (a *readAhead) run(r io.Reader) {
	defer close(a.done)
	defer close(a.full)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.quit:
			return
		}
		n := 0
		var err error
		for n < len(b) && err == nil {
			var k int
			k, err = r.Read(b[n:])
			n += k
		}
		if n > 0 {
			a.full <- b[:n] // never blocks: there are only so many blocks
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

func (a *readAhead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.cur != nil {
			a.free <- a.cur[:cap(a.cur)]
			a.cur = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.cur, a.rest = b, b
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

func (a *readAhead) stop() {
	close(a.quit)
	<-a.done
}
