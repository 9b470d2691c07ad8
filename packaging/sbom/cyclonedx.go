package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The part of CycloneDX 1.6 (ECMA-424) that is used, in the order in which the
// standard lists the fields.
type bom struct {
	Schema       string       `json:"$schema"`
	BOMFormat    string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber,omitempty"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string      `json:"type"`
	BOMRef     string      `json:"bom-ref"`
	Name       string      `json:"name"`
	Version    string      `json:"version,omitempty"`
	Hashes     []hash      `json:"hashes,omitempty"`
	Licenses   []license   `json:"licenses,omitempty"`
	PURL       string      `json:"purl,omitempty"`
	Properties []property  `json:"properties,omitempty"`
	Components []component `json:"components,omitempty"`
}

type hash struct {
	Alg     string `json:"alg"`
	Content string `json:"content"`
}

type license struct {
	Expression string `json:"expression"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// purl is a package URL of type golang: its namespace and name are lower case.
func purl(path, version string) string {
	return "pkg:golang/" + strings.ToLower(path) + "@" + strings.ReplaceAll(version, "+", "%2B")
}

func (c *content) write(out io.Writer, version string, now time.Time) error {
	product := component{
		Type: "application", Name: "almamigrate", Version: version,
		Licenses: []license{{"Apache-2.0"}}, PURL: purl(c.main, "v"+version),
	}
	product.BOMRef = product.PURL
	for _, b := range c.binaries {
		data, err := os.ReadFile(b)
		if err != nil {
			return fmt.Errorf("cannot read a binary: %w", err)
		}
		sum := sha256.Sum256(data)
		name := filepath.Base(b)
		product.Components = append(product.Components, component{
			Type: "file", BOMRef: "file:" + name, Name: name, Version: version, Licenses: []license{{c.expression()}},
			Hashes: []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
		})
	}
	std := component{Type: "library", Name: "std", Version: "go" + c.goVer, PURL: purl("std", c.goVer), Licenses: []license{{"BSD-3-Clause"}}}
	std.BOMRef = std.PURL
	doc := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", BOMFormat: "CycloneDX", SpecVersion: "1.6", Version: 1,
		Metadata:   metadata{Timestamp: now.Format(time.RFC3339), Component: product},
		Components: []component{std},
	}
	for _, m := range c.modules {
		p := purl(m.Path, m.Version)
		lib := component{Type: "library", BOMRef: p, Name: m.Path, Version: m.Version, Licenses: []license{{m.License}}, PURL: p}
		if m.Sum != "" {
			lib.Properties = []property{{"go.sum", m.Sum}}
		}
		doc.Components = append(doc.Components, lib)
	}
	all := dependency{Ref: product.BOMRef}
	for _, l := range doc.Components {
		all.DependsOn = append(all.DependsOn, l.BOMRef)
	}
	doc.Dependencies = []dependency{all}

	// The serial number is a UUID of version 8 (RFC 9562: custom) made of the content, so that the same release has
	// the same one.
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("cannot encode: %w", err)
	}
	id := sha256.Sum256(data)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	doc.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	return nil
}
