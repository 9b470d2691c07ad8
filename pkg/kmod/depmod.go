package kmod

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// DepmodConfig is what depmod.d says about which of several files of one module
// counts.
type DepmodConfig struct {
	// Search are the folders by falling priority; "built-in" stands for all that
	// no other entry covers.
	Search []string
	// Overrides name one file each: module below a folder.
	Overrides []DepmodOverride
	// Excludes are folders that depmod skips.
	Excludes []string
}

// DepmodOverride is a line "override MODULE RELEASE FOLDER"; the release may be
// "*" or a regular expression.
type DepmodOverride struct{ Module, Release, Dir, File string }

// DepmodConfig reads depmod.d of the host (depmod.d(5)). EL's kmod package ships
// "search updates extra built-in weak-updates"; without any search line it is
// "updates built-in".
func (h *Host) DepmodConfig() (DepmodConfig, error) {
	files, err := h.confFiles([]string{"etc/depmod.d", "run/depmod.d", "usr/local/lib/depmod.d",
		"usr/lib/depmod.d", "lib/depmod.d"}, true, ".conf")
	if err != nil {
		return DepmodConfig{}, fmt.Errorf("cannot read depmod configuration: %w", err)
	}
	var c DepmodConfig
	for _, f := range files {
		for _, l := range f.lines {
			words := strings.Fields(l.text)
			switch {
			case words[0] == "search":
				// depmod puts each entry before all earlier ones and lets the last
				// match win, so that the first word of the first line ranks highest.
				c.Search = append(c.Search, words[1:]...)
			case words[0] == "override" && len(words) >= 4:
				c.Overrides = append(c.Overrides, DepmodOverride{NormalizeName(words[1]), words[2], words[3], "/" + f.path})
			case words[0] == "exclude":
				c.Excludes = append(c.Excludes, words[1:]...)
			}
		}
	}
	if len(c.Search) == 0 {
		c.Search = []string{"updates", "built-in"}
	}
	return c, nil
}

// Choose picks from several files of one module, given as paths relative to
// /lib/modules/RELEASE, the one that depmod would write to modules.dep; "" for
// none. Of equals the first by name is taken.
func (c DepmodConfig) Choose(release string, files []string) string {
	best, bestRank := "", 0
	sorted := slices.Sorted(slices.Values(files))
	for _, f := range sorted {
		if slices.ContainsFunc(c.Excludes, func(dir string) bool { return slices.Contains(strings.Split(path.Dir(f), "/"), dir) }) {
			continue
		}
		if r := c.rank(release, f); best == "" || r > bestRank {
			best, bestRank = f, r
		}
	}
	return best
}

func (c DepmodConfig) rank(release, file string) int {
	name, _ := NameOfFile(file)
	for _, o := range c.Overrides {
		if o.Module == name && path.Dir(file) == o.Dir && releaseMatches(o.Release, release) {
			return 1 << 20
		}
	}
	builtin := -1
	for i, dir := range c.Search {
		if dir == "built-in" {
			if builtin < 0 {
				builtin = i
			}
			continue
		}
		if strings.HasPrefix(file, dir+"/") {
			return len(c.Search) - i
		}
	}
	if builtin < 0 {
		return 0
	}
	return len(c.Search) - builtin
}

func releaseMatches(pattern, release string) bool {
	if pattern == "*" || pattern == release {
		return true
	}
	re, err := regexp.Compile(pattern)
	return err == nil && re.MatchString(release)
}
