package inventory

import (
	"regexp"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rpmhdr"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// maxFixes is how many CVEs of one package are kept, the newest. A kernel's
// changelog names some thousands.
const maxFixes = 400

// Fix is an entry of a package's changelog that names CVEs.
type Fix struct {
	Version string   `json:"version"` // of the entry, e.g. "1.1.1k-5.el8", with the epoch if it has one there
	CVEs    []string `json:"cves"`    // in the entry's order, each once
}

var cveID = regexp.MustCompile(`CVE-(?:1999|20[0-9]{2})-[0-9]{4,7}`)

// fixes reads a package's changelog (rpm tags 1081 CHANGELOGNAME and 1082
// CHANGELOGTEXT, newest entry first). An entry's version is, by custom, what
// follows the packager's address: "A Name <a@example.com> - 1:2.0-3".
func fixes(h *rpmhdr.Header) []Fix {
	names, texts := h.Strings(rpmhdr.TagChangelogName), h.Strings(rpmhdr.TagChangelogText)
	var out []Fix
	total := 0
	for i := range min(len(names), len(texts)) {
		if !strings.Contains(texts[i], "CVE-") {
			continue
		}
		v := changelogVersion(names[i])
		if v == "" {
			continue
		}
		var ids []string
		seen := map[string]bool{}
		for _, id := range cveID.FindAllString(texts[i], maxFixes) {
			if !seen[id] && total < maxFixes {
				seen[id] = true
				ids = append(ids, strings.Clone(id)) // the text is the header's
				total++
			}
		}
		if ids != nil {
			out = append(out, Fix{Version: v, CVEs: ids})
		}
		if total >= maxFixes {
			break
		}
	}
	return out
}

// changelogVersion returns the version of an entry, empty if it has none.
func changelogVersion(name string) string {
	fields := strings.Fields(clean(name[strings.LastIndexByte(name, '>')+1:]))
	if len(fields) == 0 {
		return ""
	}
	v := strings.Trim(fields[len(fields)-1], "[]()-")
	if v == "" || !strings.ContainsAny(v, "0123456789") || strings.Contains(v, "@") {
		return ""
	}
	if evr, err := rpmver.ParseEVR(v); err != nil || evr.Release == "" {
		return ""
	}
	return strings.Clone(v)
}
