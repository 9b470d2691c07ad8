package repodata_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/repodata"
	"github.com/almamigrate/almamigrate/pkg/rpmver"
)

// The benchmarks read CentOS Stream 9 BaseOS and AppStream: 18,774 packages,
// 60 MB of XML.
var speedRepos = []string{"centos-stream9-baseos-2022-02", "centos-stream9-appstream-2025-01"}

// compressed returns a metadata file as it is on disk.
func compressed(b *testing.B, repo, typ string) (string, []byte) {
	b.Helper()
	rec, ok := readRepomd(b, repo).Record(typ)
	if !ok {
		return "", nil
	}
	data, err := os.ReadFile(filepath.Join(repo, rec.Location))
	if err != nil {
		b.Fatal(err)
	}
	return rec.Location, data
}

func eachSpeedRepo(b *testing.B, typ string, fn func(io.Reader)) {
	b.Helper()
	for _, name := range speedRepos {
		name, data := compressed(b, realRepo(b, name), typ)
		if data == nil {
			continue
		}
		r, err := repodata.Decompress(name, bytes.NewReader(data), 1<<30)
		if err != nil {
			b.Fatal(err)
		}
		fn(r)
		r.Close()
	}
}

// BenchmarkDecompress is the floor: gunzip alone.
func BenchmarkDecompress(b *testing.B) {
	for b.Loop() {
		total := int64(0)
		eachSpeedRepo(b, "primary", func(r io.Reader) {
			n, err := io.Copy(struct{ io.Writer }{io.Discard}, r)
			if err != nil {
				b.Fatal(err)
			}
			total += n
		})
		b.SetBytes(total)
	}
}

func BenchmarkParsePrimary(b *testing.B) {
	var docs [][]byte
	eachSpeedRepo(b, "primary", func(r io.Reader) {
		doc, err := io.ReadAll(r)
		if err != nil {
			b.Fatal(err)
		}
		docs = append(docs, doc)
	})
	b.ReportAllocs()
	for b.Loop() {
		total := 0
		for _, doc := range docs {
			if _, err := repodata.ParsePrimary(bytes.NewReader(doc), func(*repodata.Package) error { return nil }); err != nil {
				b.Fatal(err)
			}
			total += len(doc)
		}
		b.SetBytes(int64(total))
	}
}

// BenchmarkBuildIndex includes decompression, and modules.yaml; "together" has
// both repositories under way at once.
func BenchmarkBuildIndex(b *testing.B) {
	type source struct {
		pname, mname  string
		primary, mods []byte
	}
	var srcs []source
	for _, name := range speedRepos {
		var s source
		s.pname, s.primary = compressed(b, realRepo(b, name), "primary")
		s.mname, s.mods = compressed(b, realRepo(b, name), "modules")
		srcs = append(srcs, s)
	}
	build := func(s source) error {
		primary, err := repodata.Decompress(s.pname, bytes.NewReader(s.primary), 1<<30)
		if err != nil {
			return err
		}
		defer primary.Close()
		var mods io.Reader
		if s.mods != nil {
			m, err := repodata.Decompress(s.mname, bytes.NewReader(s.mods), 1<<30)
			if err != nil {
				return err
			}
			defer m.Close()
			mods = m
		}
		_, err = repodata.BuildIndex(io.Discard, primary, mods, repodata.Source{})
		return err
	}
	b.Run("one by one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, s := range srcs {
				if err := build(s); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			errs := make(chan error)
			for _, s := range srcs {
				go func() { errs <- build(s) }()
			}
			for range srcs {
				if err := <-errs; err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkOpenLookup opens both indexes and asks what a check asks for a host
// of 1,500 packages.
func BenchmarkOpenLookup(b *testing.B) {
	var paths []string
	for _, name := range speedRepos {
		paths = append(paths, buildIndex(b, realRepo(b, name)))
	}
	var names []rpmver.NEVRA
	ix := openIndex(b, paths[1])
	for i := 0; i < ix.Len() && len(names) < 1500; i += ix.Len() / 1500 {
		names = append(names, ix.NEVRA(i))
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			for _, p := range paths {
				ix, err := repodata.OpenIndex(p)
				if err != nil {
					b.Fatal(err)
				}
				ix.Close()
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, p := range paths {
				ix, err := repodata.OpenIndex(p)
				if err != nil {
					b.Fatal(err)
				}
				for _, n := range names {
					best := -1
					for _, i := range ix.ByName(n.Name) {
						if ix.NEVRA(i).EVR == n.EVR {
							best = i
						}
						ix.StreamsOf(i)
					}
					if best >= 0 {
						if _, err := ix.Package(best); err != nil {
							b.Fatal(err)
						}
					}
					ix.WhatProvides(n.Name)
					ix.ObsoletersOf(n.Name, n.EVR)
				}
				ix.Close()
			}
		}
	})
}
