package repack

import (
	"bytes"
	"io"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/almamigrate/almamigrate/pkg/hostcmd"
)

func TestStoredXZ(t *testing.T) {
	for _, n := range []int{0, 1, 3, 4, xzChunk - 1, xzChunk, xzChunk + 1, 5*xzChunk + 77} {
		want := bytes.Repeat([]byte("0123456789a"), n/11+1)[:n]
		var out bytes.Buffer
		x, err := newStoredXZ(&out)
		if err != nil {
			t.Fatal(err)
		}
		for rest := want; len(rest) > 0; {
			k := min(len(rest), 10_007)
			if _, err := x.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
		r, err := xz.NewReader(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d read, %v", n, len(got), err)
		}
		if _, err := hostcmd.Look("/", "xz"); err != nil {
			t.Log("skipped in part: xz is absent")
			continue
		}
		got, err := hostcmd.Output(t.Context(), hostcmd.Cmd{Path: "xz", Args: []string{"-dc"}, Stdin: bytes.NewReader(out.Bytes())})
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: xz gives %d, %v", n, len(got), err)
		}
	}
}
