// Command sbom tells what the built binaries are made of, as the Go linker
// wrote it into them (debug/buildinfo):
//
//	sbom -vendor DIR -version V BINARY...         a bill of materials, CycloneDX 1.6 as JSON
//	sbom -vendor DIR -spec BINARY...              the lines of it for a spec file
//	sbom -vendor DIR -licenses OUT BINARY...      copies the licences that go with the binaries
//
// DIR is the folder that `go mod vendor` makes. The output depends on nothing
// but the input and SOURCE_DATE_EPOCH.
package main

import (
	"bufio"
	"cmp"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("sbom", flag.ContinueOnError)
	vendor := fs.String("vendor", "vendor", "the vendored modules")
	version := fs.String("version", "", "version of the product")
	spec := fs.Bool("spec", false, "print the lines for a spec file")
	licenses := fs.String("licenses", "", "copy the licences there")
	goroot := fs.String("goroot", "", "Go's folder, for the licence of its library")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("no binary given")
	}
	c, err := read(*vendor, fs.Args())
	if err != nil {
		return err
	}
	switch {
	case *licenses != "":
		return c.copyLicenses(*licenses, *goroot)
	case *spec:
		w := bufio.NewWriter(out)
		for _, l := range c.specLines() {
			_, _ = fmt.Fprintln(w, l)
		}
		return w.Flush()
	}
	if *version == "" {
		return errors.New("-version is missing")
	}
	var epoch int64
	if e := os.Getenv("SOURCE_DATE_EPOCH"); e != "" {
		if epoch, err = strconv.ParseInt(e, 10, 64); err != nil {
			return fmt.Errorf("cannot read SOURCE_DATE_EPOCH: %w", err)
		}
	}
	return c.write(out, *version, time.Unix(epoch, 0).UTC())
}

// Module is one Go module that is linked in.
type Module struct {
	Path, Version string
	Sum           string // as in go.sum: "h1:..."
	License       string // SPDX expression
	Files         []string
}

// content is what the binaries are made of.
type content struct {
	main     string // the main module's path
	modules  []Module
	goVer    string // "1.26.1"
	binaries []string
}

func read(vendor string, binaries []string) (*content, error) {
	c := &content{binaries: binaries}
	seen := map[string]Module{}
	for _, b := range binaries {
		info, err := buildinfo.ReadFile(b)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", b, err)
		}
		v := strings.TrimPrefix(info.GoVersion, "go")
		if c.goVer == "" {
			c.main, c.goVer = info.Main.Path, v
		}
		if c.goVer != v || c.main != info.Main.Path {
			return nil, fmt.Errorf("%s is %s built by go%s, %s is %s by go%s: not of one release", b, info.Main.Path, v, binaries[0], c.main, c.goVer)
		}
		for _, d := range info.Deps {
			if d.Replace != nil {
				d = d.Replace
			}
			if have, ok := seen[d.Path]; ok && have.Version != d.Version {
				return nil, fmt.Errorf("%s is in as %s and as %s", d.Path, have.Version, d.Version)
			}
			seen[d.Path] = Module{Path: d.Path, Version: d.Version, Sum: d.Sum}
		}
	}
	sums, err := readSums(filepath.Join(filepath.Dir(vendor), "go.sum"))
	if err != nil {
		return nil, err
	}
	for _, m := range seen {
		if m.Sum == "" { // built with -mod=vendor
			m.Sum = sums[m.Path+" "+m.Version]
		}
		files, err := licenseFiles(filepath.Join(vendor, filepath.FromSlash(m.Path)))
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return nil, fmt.Errorf("cannot read a licence: %w", err)
			}
			text.Write(data)
		}
		if m.License = classify(text.String()); m.License == "" {
			return nil, fmt.Errorf("cannot tell the licence of %s from %q: have a look, and teach classify", m.Path, files)
		}
		m.Files = files
		c.modules = append(c.modules, m)
	}
	slices.SortFunc(c.modules, func(a, b Module) int { return cmp.Compare(a.Path, b.Path) })
	return c, nil
}

// readSums reads go.sum, by "path version".
func readSums(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the modules' sums: %w", err)
	}
	out := map[string]string{}
	for l := range strings.Lines(string(data)) {
		if f := strings.Fields(l); len(f) == 3 {
			out[f[0]+" "+f[1]] = f[2]
		}
	}
	return out, nil
}

// licenseFiles lists what has to go along with a module's code.
func licenseFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot look for licences: %w", err)
	}
	var out []string
	for _, e := range entries {
		n := strings.ToUpper(e.Name())
		for _, p := range []string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"} {
			if e.Type().IsRegular() && strings.HasPrefix(n, p) && !strings.HasSuffix(n, ".GO") {
				out = append(out, filepath.Join(dir, e.Name()))
				break
			}
		}
	}
	return out, nil
}

// classify returns the SPDX expression of all the licences that a text holds.
func classify(text string) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, ">", " ")), " ")
	var out []string
	add := func(id string, has ...string) {
		for _, h := range has {
			if strings.Contains(text, h) {
				out = append(out, id)
				return
			}
		}
	}
	add("Apache-2.0", "Apache License, Version 2.0", "Apache License Version 2.0")
	if strings.Contains(text, "Redistribution and use in source and binary forms") {
		if strings.Contains(text, "Neither the name") || strings.Contains(text, "endorse or promote products derived") {
			out = append(out, "BSD-3-Clause")
		} else {
			out = append(out, "BSD-2-Clause")
		}
	}
	add("MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy")
	add("MPL-2.0", "Mozilla Public License, version 2.0", "Mozilla Public License Version 2.0")
	return strings.Join(out, " AND ")
}

// expression is the licence of the binary: the product's, the modules' and
// that of Go's library.
func (c *content) expression() string {
	ids := []string{"Apache-2.0", "BSD-3-Clause"}
	for _, m := range c.modules {
		ids = append(ids, strings.Split(m.License, " AND ")...)
	}
	slices.Sort(ids)
	return strings.Join(slices.Compact(ids), " AND ")
}

// specLines are the lines of a spec file that depend on what is linked in.
func (c *content) specLines() []string {
	out := []string{"License:        " + c.expression()}
	for _, m := range c.modules {
		// a version of rpm has no "-": v0.0.0-2026..., v1.0.0+incompatible
		v := strings.NewReplacer("-", ".", "+", ".").Replace(strings.TrimPrefix(m.Version, "v"))
		out = append(out, fmt.Sprintf("Provides:       bundled(golang(%s)) = %s", m.Path, v))
	}
	return out
}

func (c *content) copyLicenses(dir, goroot string) error {
	put := func(to, from string) error {
		data, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("cannot read a licence: %w", err)
		}
		to = filepath.Join(dir, filepath.FromSlash(to), filepath.Base(from))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("cannot copy a licence: %w", err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			return fmt.Errorf("cannot copy a licence: %w", err)
		}
		return nil
	}
	library := ""
	for _, m := range c.modules {
		for _, f := range m.Files {
			if err := put(m.Path, f); err != nil {
				return err
			}
			if strings.HasPrefix(m.Path, "golang.org/x/") && strings.HasPrefix(filepath.Base(f), "LICENSE") {
				library = f
			}
		}
	}
	// Distributions keep Go's own licence elsewhere; the Go Authors' modules have the same one.
	if f := filepath.Join(goroot, "LICENSE"); goroot != "" && exists(f) {
		library = f
	}
	if library == "" {
		return errors.New("cannot find the licence of Go's library")
	}
	return put("go", library)
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }
