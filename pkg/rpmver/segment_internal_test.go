package rpmver

import (
	"math/rand/v2"
	"testing"
)

// TestCompareUnmarkedAgrees compares the own comparison with the module's on a
// million pairs, half of them near neighbours.
func TestCompareUnmarkedAgrees(t *testing.T) {
	const chars = "0012345678999aabzAZRrel..._-+ :/@[`{\x00\xc3\xa9\xff"
	rng := rand.New(rand.NewPCG(3, 4))
	buf := make([]byte, 0, 64)
	word := func(n int) string {
		buf = buf[:0]
		for range n {
			buf = append(buf, chars[rng.IntN(len(chars))])
		}
		return string(buf)
	}
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	differ := 0
	for range n {
		a := word(rng.IntN(12))
		b := word(rng.IntN(12))
		if rng.IntN(2) == 0 {
			cut := rng.IntN(len(a) + 1)
			b = a[:cut] + word(rng.IntN(3)) + a[cut:]
		}
		want := bare(a).Compare(bare(b))
		if want != 0 {
			differ++
		}
		if got := compareUnmarked(a, b); got != want {
			t.Fatalf("%q against %q: %d, the module says %d", a, b, got, want)
		}
	}
	if differ < n/2 {
		t.Errorf("only %d of %d pairs differ: the pairs test nothing", differ, n)
	}
}
