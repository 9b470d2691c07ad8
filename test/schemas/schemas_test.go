package schemas_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
	"github.com/almamigrate/almamigrate/test/schemas"
)

// kindsOf are the kinds of document that a schema describes.
func kindsOf(t *testing.T, schema map[string]any) []string {
	t.Helper()
	p, _ := schema["properties"].(map[string]any)
	kind, _ := p["kind"].(map[string]any)
	if one, ok := kind["const"].(string); ok {
		return []string{one}
	}
	var out []string
	list, _ := kind["enum"].([]any)
	for _, v := range list {
		out = append(out, v.(string))
	}
	return out
}

// amount is a number that means nothing without its unit.
var amount = regexp.MustCompile(`(^|_)(bytes|size|seconds)$`)

// bare lists the amounts of a schema that it does not describe.
func bare(v any, at string) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		if p, ok := v["properties"].(map[string]any); ok {
			for n, q := range p {
				if m, ok := q.(map[string]any); ok && amount.MatchString(n) && m["description"] == nil {
					out = append(out, at+"/"+n)
				}
			}
		}
		for n, q := range v {
			out = append(out, bare(q, at+"/"+n)...)
		}
	case []any:
		for _, q := range v {
			out = append(out, bare(q, at)...)
		}
	}
	return out
}

// Every schema says of itself what it is, compiles, and describes its amounts.
func TestSchemas(t *testing.T) {
	for _, n := range schemas.Names(t) {
		s := schemas.Read(t, n)
		if s["$id"] != "urn:almamigrate:schema:"+n || s["$schema"] != "https://json-schema.org/draft/2020-12/schema" || s["title"] == nil || s["description"] == nil {
			t.Errorf("%s: $id %v, $schema %v, title %v", n, s["$id"], s["$schema"], s["title"])
		}
		if len(kindsOf(t, s)) == 0 && n != "progress-1.0" { // the lines of --progress-fd have an event instead
			t.Errorf("%s: of no kind", n)
		}
		for _, at := range bare(s, n) {
			t.Errorf("%s has no description, so no unit", at)
		}
		if err := schemas.Validate(t, n, []byte(`{}`)); err == nil {
			t.Errorf("%s: takes anything", n)
		}
	}
}

// notKinds are names of the same form: of files and of a host.
var notKinds = map[string]bool{
	"almamigrate.catalog": true, "almamigrate.conf": true, "almamigrate.fact": true, "almamigrate.org": true,
	"almamigrate.prom": true, "almamigrate.tmpfiles": true,
}

// No program writes a kind of document that no schema describes, and no schema
// describes what nobody writes.
func TestEveryKindHasASchema(t *testing.T) {
	described := map[string]string{}
	for _, n := range schemas.Names(t) {
		for _, k := range kindsOf(t, schemas.Read(t, n)) {
			if old := described[k]; old != "" {
				t.Errorf("%s is described by %s and %s", k, old, n)
			}
			described[k] = n
		}
	}
	literal := regexp.MustCompile(`"(almamigrate\.[a-z-]*)"`)
	written := map[string]string{}
	root := realdata.ProjectRoot(t)
	err := filepath.WalkDir(filepath.Join(root, "agent"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		for _, m := range literal.FindAllSubmatch(data, -1) {
			if k := string(m[1]); !notKinds[k] {
				written[k] = strings.TrimPrefix(name, root)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for k, where := range written {
		if described[k] == "" {
			t.Errorf("%s writes %q, which no schema in packaging/schema describes", where, k)
		}
	}
	for k, n := range described {
		if written[k] == "" {
			t.Errorf("%s describes %q, which nobody writes", n, k)
		}
	}
	if len(written) < 17 {
		t.Errorf("found %d kinds only", len(written))
	}
}

// operator.md names each schema, so that it is found.
func TestSchemasAreListed(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(realdata.ProjectRoot(t), "packaging", "doc", "operator.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range schemas.Names(t) {
		if !strings.Contains(string(data), "`"+n+".json`") {
			t.Errorf("packaging/doc/operator.md does not list %s.json", n)
		}
	}
}
