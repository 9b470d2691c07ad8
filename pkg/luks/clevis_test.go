package luks

import (
	"encoding/base64"
	"testing"
)

// TestSSSThreshold refuses policies that nothing, or everything, would meet.
func TestSSSThreshold(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString([]byte(`{"clevis":{"pin":"tang","tang":{"url":"http://tang"}}}`)) + "."
	for doc, good := range map[string]bool{
		`{"clevis":{"pin":"sss","sss":{"t":1,"jwe":["` + part + `"]}}}`: true,
		`{"clevis":{"pin":"sss","sss":{"t":2,"jwe":["` + part + `"]}}}`: false,
		`{"clevis":{"pin":"sss","sss":{"t":0,"jwe":["` + part + `"]}}}`: false,
		`{"clevis":{"pin":"sss","sss":{"t":1,"jwe":[]}}}`:               false,
	} {
		u, err := pins(base64.RawURLEncoding.EncodeToString([]byte(doc)), 0)
		if (err == nil) != good || good && len(u) != 1 {
			t.Errorf("%s: %+v, %v", doc, u, err)
		}
	}
}
