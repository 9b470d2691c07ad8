package kmod_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

const procKeys = `02d2f5a0 I------     1 perm 1f0f0000     0     0 keyring   .secondary_trusted_keys: 1
0185c9a9 I------     1 perm 1f0b0000     0     0 keyring   .blacklist: 2
1341f191 I------     1 perm 1f0b0000     0     0 keyring   .builtin_trusted_keys: 3
1b9e5a6c I------     1 perm 1f0b0000     0     0 keyring   .platform: 2
1c9e5a6c I------     1 perm 1f0b0000     0     0 keyring   .machine: empty
201e063b I--Q---     1 perm 1f3f0000     0 65534 keyring   _uid_ses.0: 1
0a61b6a7 I------     1 perm 1f030000     0     0 asymmetri Microsoft Windows Production PCA 2011: a92902398e16c49778cd90f99e4f9ae17c55af53: X509.rsa 9e4f9ae17c55af53 []
0b61b6a7 I------     1 perm 1f030000     0     0 asymmetri CentOS: CentOS Linux kernel signing key: 3ad8f0011223344556677889900aabbccddeeff0: X509.rsa cddeeff0 []
0c61b6a7 I--Q---     1 expd 3f010000     0     0 user      dns: x: 7
0d61b6a7 I------     1   2w 1f030000     0     0 asymmetri no id here: PKCS#8.rsa []
0e61b6a7 I------     1 perm 082f0000     0     0 blacklist tbs:0257aff2710f2a0e489da8ecbf2f84f9d9d5a7: x
`

func TestKernelKeys(t *testing.T) {
	k, err := kmod.ParseKernelKeys(strings.NewReader(procKeys))
	if err != nil {
		t.Fatal(err)
	}
	want := &kmod.KernelKeys{
		Keyrings: map[string]int{".secondary_trusted_keys": 1, ".blacklist": 2, ".builtin_trusted_keys": 3, ".platform": 2, ".machine": 0},
		Keys: []kmod.KernelKey{
			{Name: "Microsoft Windows Production PCA 2011", ID: "a92902398e16c49778cd90f99e4f9ae17c55af53"},
			{Name: "CentOS: CentOS Linux kernel signing key", ID: "3ad8f0011223344556677889900aabbccddeeff0"},
			{Name: "no id here"},
		},
	}
	if d := cmp.Diff(want, k); d != "" {
		t.Error(d)
	}
	if !k.Seen() {
		t.Error("the keyrings are there")
	}
	id, _ := hex.DecodeString("3ad8f0011223344556677889900aabbccddeeff0")
	if x, ok := k.ByID(id); !ok || x != want.Keys[1] {
		t.Errorf("by id: %v", x)
	}
	if x, ok := k.ByName("CentOS Linux kernel signing key"); !ok || x != want.Keys[1] {
		t.Errorf("by name: %v", x)
	}
	for _, n := range []string{"", "signing key", "CentOS"} {
		if x, ok := k.ByName(n); ok {
			t.Errorf("%q is %v", n, x)
		}
	}
	if _, ok := k.ByID(nil); ok {
		t.Error("a key without id")
	}
	// What a user sees who is not root.
	k, err = kmod.ParseKernelKeys(strings.NewReader("201e063b I--Q---     1 perm 1f3f0000  1000 65534 keyring   _uid_ses.1000: 1\n"))
	if err != nil || k.Seen() || len(k.Keys) > 0 {
		t.Errorf("%v %+v", err, k)
	}
	if _, err := kmod.ParseKernelKeys(strings.NewReader("1 I 1 perm 1f0b0000 0 0 keyring .platform: many\n")); !errors.Is(err, kmod.ErrCorrupt) {
		t.Errorf("%v", err)
	}
}

func FuzzKernelKeys(f *testing.F) {
	f.Add([]byte(procKeys))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := kmod.ParseKernelKeys(strings.NewReader(string(data)))
		if err == nil && len(k.Keyrings)+len(k.Keys) > strings.Count(string(data), "\n")+1 {
			t.Error("more keys than lines")
		}
	})
}
