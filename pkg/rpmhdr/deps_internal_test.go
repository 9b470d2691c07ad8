package rpmhdr

import (
	"testing"

	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

func TestLenientEVR(t *testing.T) {
	for s, want := range map[string]rpmver.EVR{
		"1:2-3": {Epoch: 1, Version: "2", Release: "3"},
		"2":     {Version: "2"},
		"1:":    {Epoch: 1},
		"x:2-3": {Version: "x:2", Release: "3"},
		"":      {},
	} {
		if got := lenientEVR(s); got != want {
			t.Errorf("%q: %+v, want %+v", s, got, want)
		}
	}
}
