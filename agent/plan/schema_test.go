package plan_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/test/realdata"
)

func validate(t *testing.T, data []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(filepath.Join(realdata.ProjectRoot(t), "packaging", "schema", "plan-1.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(doc)
}

func TestPlanFitsItsSchema(t *testing.T) {
	encode := func(p *plan.Plan) []byte {
		var b bytes.Buffer
		if err := p.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	in, content := world(t)
	in.Tool = inventory.Tool{Name: "almamigrate", Version: "1.0"}
	p, err := build(t, in, *content)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(t, encode(p)); err != nil {
		t.Error(err)
	}
	p.Mirror = plan.NewMirror("https://user:secret@mirror.example.com/almalinux/", []string{"sslverify=1"})
	if err := validate(t, encode(p)); err != nil || p.Mirror == nil {
		t.Error(err)
	}
	// The schema can say no.
	for name, change := range map[string]func(*plan.Plan){
		"kind":     func(p *plan.Plan) { p.Kind = "other" },
		"depth":    func(p *plan.Plan) { p.Depth = "deep" },
		"rollback": func(p *plan.Plan) { p.RollbackDepth = "half" },
		"packages": func(p *plan.Plan) { p.Coming = nil },
		"its kind": func(p *plan.Plan) { p.Coming[0].Kind = "sideways" },
		"mirror":   func(p *plan.Plan) { p.Mirror = &plan.Mirror{URL: "ftp://mirror.example.com"} },
		"digest":   func(p *plan.Plan) { p.Evidence.Inventory = "none" },
	} {
		p, err := build(t, in, *content)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		if validate(t, encode(p)) == nil {
			t.Errorf("%s: the schema takes a wrong document", name)
		}
	}
}
