package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                                                 "Apache-2.0",
		"Permission is hereby granted, free of charge, to any\nperson obtaining a copy":                                                "MIT",
		"> Redistribution and use in source\n> and binary forms":                                                                       "BSD-2-Clause",
		"Redistribution and use in source and binary forms ... Neither the name of X nor":                                              "BSD-3-Clause",
		"Mozilla Public License, version 2.0":                                                                                          "MPL-2.0",
		"MIT License ... Permission is hereby granted, free of charge, to any person obtaining a copy ... Apache License, Version 2.0": "Apache-2.0 AND MIT",
		"All rights reserved.": "",
	} {
		if got := classify(text); got != want {
			t.Errorf("classify(%q) = %q, want %q", text, got, want)
		}
	}
}

// This test's own binary is as good as any: it is linked with go-cmp and
// others, whose licences are in a folder made here.
func TestBillOfMaterials(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "go.sum"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	vendor := filepath.Join(root, "vendor")
	c, err := read(vendor, []string{self})
	if err != nil {
		t.Fatal(err)
	}
	write := func() []byte {
		t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
		var b bytes.Buffer
		if err := run([]string{"-vendor", vendor, "-version", "1.0.0", self}, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	data := write()
	if !bytes.Equal(data, write()) {
		t.Error("not the same twice")
	}
	var doc bom
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.BOMFormat != "CycloneDX" || doc.SpecVersion != "1.6" || doc.Version != 1 || doc.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("%+v", doc)
	}
	// the form that the standard demands of a serial number
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.SerialNumber) {
		t.Errorf("serial number %s", doc.SerialNumber)
	}
	refs := map[string]bool{}
	for _, l := range append([]component{doc.Metadata.Component}, doc.Components...) {
		if refs[l.BOMRef] || l.BOMRef == "" {
			t.Errorf("reference %q is empty or given twice", l.BOMRef)
		}
		refs[l.BOMRef] = true
	}
	for _, d := range doc.Dependencies {
		for _, r := range append([]string{d.Ref}, d.DependsOn...) {
			if !refs[r] {
				t.Errorf("depends on %q, which is not there", r)
			}
		}
	}
	if f := doc.Metadata.Component.Components; len(f) != 1 || len(f[0].Hashes) != 1 || len(f[0].Hashes[0].Content) != 64 {
		t.Errorf("the binary: %+v", f)
	}
	if doc.Components[0].Name != "std" || !strings.HasPrefix(doc.Components[0].Version, "go1.") {
		t.Errorf("Go itself: %+v", doc.Components[0])
	}
	if c.expression() == "" {
		t.Error("no licence")
	}
}

func TestPURL(t *testing.T) {
	for _, c := range [][3]string{
		{"github.com/ProtonMail/go-crypto", "v1.5.2", "pkg:golang/github.com/protonmail/go-crypto@v1.5.2"},
		{"example.org/x", "v2.0.0+incompatible", "pkg:golang/example.org/x@v2.0.0%2Bincompatible"},
	} {
		if got := purl(c[0], c[1]); got != c[2] {
			t.Errorf("%s, want %s", got, c[2])
		}
	}
}

func TestMistakes(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {"-version", "1", text}, {"-version", "1", text + "-absent"}} {
		if err := run(args, &bytes.Buffer{}); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
