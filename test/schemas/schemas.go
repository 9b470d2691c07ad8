// Package schemas compares documents with packaging/schema, as who reads them
// would: each schema by its name, with those that it refers to.
package schemas

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/test/realdata"
)

const urn = "urn:almamigrate:schema:"

// Names lists the schemas that are shipped, e.g. "check-1.0".
func Names(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schemas: %v", err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return files
}

// Read returns a schema as it is written.
func Read(t testing.TB, name string) map[string]any {
	t.Helper()
	f, err := os.Open(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%s is no object", name)
	}
	return m
}

// Validate compares a document with the schema of a name.
func Validate(t testing.TB, name string, doc []byte) error {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, n := range Names(t) {
		if err := c.AddResource(urn+n, Read(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Compile(urn + name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	if err != nil {
		return err
	}
	return s.Validate(v)
}
