package kmod_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/almamigrate/almamigrate/pkg/kmod"
)

// TestWholeTreeAgainstKmod compares a distribution kernel's whole tree with what
// the kmod programs say about it. It is run by hand, because a kernel package
// is large: unpack one, run depmod -b on it, and name the folder in
// ALMAMIGRATE_KMOD_TREE.
func TestWholeTreeAgainstKmod(t *testing.T) {
	root := os.Getenv("ALMAMIGRATE_KMOD_TREE")
	if root == "" {
		t.Skip("SKIPPED: ALMAMIGRATE_KMOD_TREE names no unpacked kernel package")
	}
	h := open(t, root)
	releases, err := h.Releases()
	if err != nil || len(releases) == 0 {
		t.Fatalf("releases %v, %v", releases, err)
	}
	for _, release := range releases {
		tree, err := h.Tree(release)
		if err != nil {
			t.Fatal(err)
		}
		files, err := h.WalkTree(release)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(tree.Files) {
			t.Errorf("%d files on disk, %d in modules.dep", len(files), len(tree.Files))
		}
		owners := map[string]string{}
		var imports, met, signed int
		var table kmod.SymbolTable
		var all []*kmod.Module
		for _, f := range files {
			m, err := h.ReadModule(filepath.Join(tree.Dir, f.Path))
			if err != nil {
				t.Fatal(err)
			}
			compareModinfo(t, filepath.Join(root, tree.Dir, f.Path), m)
			if m.Signature != nil {
				signed++
			}
			for _, s := range m.Exports {
				owners[s.Name] = f.Name
				if !s.HasCRC {
					t.Errorf("%s: export %s has no CRC", f.Path, s.Name)
				}
			}
			table.Add(m.Exports...)
			all = append(all, m)
			if diff := cmp.Diff(sortedCopy(tree.Depends[f.Name]), sortedCopy(closure(tree, f.Name, m.Info.Depends()))); diff != "" {
				t.Errorf("%s: depends: modules.dep (-), .modinfo closed (+):\n%s", f.Path, diff)
			}
		}
		if diff := cmp.Diff(tree.SymbolOwner, owners); diff != "" {
			t.Errorf("exports: modules.symbols (-), ParseModule (+):\n%s", diff)
		}
		for _, m := range all {
			c := kmod.CompareImports(m.Imports(), &table)
			imports += c.Total()
			met += len(c.Met)
			if len(c.Mismatched) > 0 {
				t.Errorf("%s: %v differ within one build", m.Name(), c.Mismatched)
			}
			for _, s := range m.Imports() {
				if !s.HasCRC && !s.Weak {
					t.Errorf("%s: import %s has no CRC", m.Name(), s.Name)
				}
			}
		}
		n := resolveAll(t, root, release, tree)
		t.Logf("%s: %d modules (%d signed) equal to modinfo; %d exports equal to modules.symbols; %d imports, %d met by other modules, 0 differ; %d aliases, %d names resolved as modprobe does",
			release, len(files), signed, len(owners), imports, met, tree.Aliases.Len(), n)
	}
}

func sortedCopy(s []string) []string {
	s = slices.Clone(s)
	sort.Strings(s)
	return s
}

// closure adds what modules need themselves.
func closure(tree *kmod.Tree, self string, names []string) []string {
	seen := map[string]bool{self: true}
	var out []string
	for len(names) > 0 {
		n := names[0]
		names = names[1:]
		if seen[n] {
			continue
		}
		seen[n] = true
		out = append(out, n)
		names = append(names, tree.Depends[n]...)
	}
	return out
}

// resolveAll asks modprobe for names made from the tree's own aliases.
func resolveAll(t *testing.T, root, release string, tree *kmod.Tree) int {
	modprobe := tool(t, "modprobe")
	data := read(t, filepath.Join(root, tree.Dir, "modules.alias"))
	var names []string
	for i, line := range strings.Split(string(data), "\n") {
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "alias" && i%97 == 0 {
			names = append(names, concrete(words[1]))
		}
	}
	for name := range tree.Files {
		if len(names) > 400 {
			break
		}
		names = append(names, strings.ReplaceAll(name, "_", "-"))
	}
	names = append(names, "fs-xfs", "net-pf-10", "ext4", "fs-ext4", "no-such-module", "pci:v00008086d00001533sv00008086sd00001533bc02sc00i00")
	for _, name := range names {
		out, err := exec.Command(modprobe, "-d", root, "-S", release, "-C", "/nonexistent", "--resolve-alias", name).Output()
		var want []string
		if err == nil {
			want = strings.Fields(string(out))
		}
		sort.Strings(want)
		want = slices.Compact(want)
		got := tree.Resolve(name)
		if diff := cmp.Diff(want, got, cmp.Transformer("nil", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
			t.Errorf("%s: modprobe (-), Resolve (+): %s", name, diff)
		}
	}
	return len(names)
}

// concrete makes a name that a pattern matches.
func concrete(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*':
			b.WriteString("0")
		case '?':
			b.WriteByte('x')
		case '[':
			b.WriteByte(pattern[i+1])
			i += strings.IndexByte(pattern[i:], ']')
		default:
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}
