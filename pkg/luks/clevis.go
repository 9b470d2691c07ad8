package luks

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pcrList reads registers as systemd and clevis write them: [7, 11], "7,11", 7.
type pcrList []int

func (p *pcrList) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if json.Unmarshal(b, &list) != nil {
		list = []json.RawMessage{b}
	}
	for _, x := range list {
		var n int
		if json.Unmarshal(x, &n) == nil {
			if err := p.add(n); err != nil {
				return err
			}
			continue
		}
		var s string
		if err := json.Unmarshal(x, &s); err != nil {
			return fmt.Errorf("registers %s", clip(string(x)))
		}
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '+' || r == ' ' }) {
			n, err := strconv.Atoi(w)
			if err != nil {
				return fmt.Errorf("register %q", clip(w))
			}
			if err := p.add(n); err != nil {
				return err
			}
		}
	}
	slices.Sort(*p)
	*p = slices.Compact(*p)
	return nil
}

func (p *pcrList) add(n int) error {
	if n < 0 || n > 31 || len(*p) > 1000 {
		return fmt.Errorf("register %d", n)
	}
	*p = append(*p, n)
	return nil
}

// fill reads what has to agree out of the protected header of clevis's JWE.
func (t *Token) fill(protected string) {
	var err error
	if t.Unlock, err = pins(protected, 0); err != nil {
		t.Unlock, t.Problem = nil, err.Error()
	}
}

// pins reads the "clevis" member of a JWE's protected header (RFC 7515, base64url
// without padding): its pin and the pin's settings. An sss pin holds JWEs again.
func pins(protected string, depth int) ([]Unlock, error) {
	const maxDepth, maxPins = 4, 64
	if depth > maxDepth {
		return nil, fmt.Errorf("clevis policies in policies, %d deep", depth)
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(protected), "="))
	if err != nil {
		return nil, fmt.Errorf("clevis header: %w", err)
	}
	var doc struct {
		Clevis struct {
			Pin  string `json:"pin"`
			TPM2 struct {
				Bank string  `json:"pcr_bank"`
				PCRs pcrList `json:"pcr_ids"`
			} `json:"tpm2"`
			Tang struct {
				URL string `json:"url"`
			} `json:"tang"`
			SSS struct {
				T   int      `json:"t"`
				JWE []string `json:"jwe"`
			} `json:"sss"`
		} `json:"clevis"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("clevis header: %w", err)
	}
	c := &doc.Clevis
	switch c.Pin {
	case "":
		return nil, fmt.Errorf("clevis header without a pin")
	case "tpm2":
		return []Unlock{{Kind: "tpm2", PCRs: c.TPM2.PCRs, Bank: c.TPM2.Bank}}, nil
	case "tang":
		return []Unlock{{Kind: "tang", URL: c.Tang.URL}}, nil
	case "sss":
		var all []Unlock
		if len(c.SSS.JWE) > maxPins {
			return nil, fmt.Errorf("clevis policy of %d parts", len(c.SSS.JWE))
		}
		if c.SSS.T < 1 || c.SSS.T > len(c.SSS.JWE) { // nothing can be told of what opens it
			return nil, fmt.Errorf("clevis policy that needs %d of %d parts", c.SSS.T, len(c.SSS.JWE))
		}
		for _, j := range c.SSS.JWE {
			head, _, _ := strings.Cut(j, ".")
			u, err := pins(head, depth+1)
			if err != nil {
				return nil, err
			}
			if all = append(all, u...); len(all) > maxPins {
				return nil, fmt.Errorf("clevis policy of more than %d parts", maxPins)
			}
		}
		for i := range all {
			if all[i].OneOf == 0 {
				all[i].OneOf, all[i].Needed = len(c.SSS.JWE), c.SSS.T
			}
		}
		return all, nil
	}
	return []Unlock{{Kind: c.Pin}}, nil
}
