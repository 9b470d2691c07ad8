package repodata_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/almamigrate/almamigrate/pkg/repodata"
)

// TestParseOSVEnds takes nothing for the end but the end.
func TestParseOSVEnds(t *testing.T) {
	rec := `{"id":"ALSA-1","affected":[{"package":{"ecosystem":"AlmaLinux:8","name":"a"},"ranges":[{"events":[{"fixed":"1-1"}]}]}]}` + "\n"
	bad := errors.New("wrong checksum")
	for _, c := range []struct {
		name string
		in   io.Reader
		want error
	}{
		{"whole", strings.NewReader(rec + rec), nil},
		{"damaged behind a record", io.MultiReader(strings.NewReader(rec), iotest.ErrReader(bad)), bad},
		{"damaged behind a list", io.MultiReader(strings.NewReader("["+rec+"]"), iotest.ErrReader(bad)), bad},
		{"a gap above the limit", io.MultiReader(strings.NewReader(rec), bytes.NewReader(bytes.Repeat([]byte(" "), 17<<20)), strings.NewReader(rec)), repodata.ErrTooLarge},
	} {
		err := repodata.ParseOSV(c.in, "AlmaLinux:8", func(*repodata.Advisory) error { return nil })
		if c.want == nil && err != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
