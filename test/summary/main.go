// Command summary reads the events of `go test -json`, prints a line per
// package and the whole output of what failed, and writes the skipped tests
// with their reasons to a file.
//
//	summary EVENTS.json SKIPPED
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

type event struct {
	Action, Package, Test, Output string
	ImportPath                    string
	Elapsed                       float64
}

type id struct{ pkg, test string }

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: summary EVENTS.json SKIPPED")
		os.Exit(2)
	}
	ok, err := summarise(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot summarise the tests:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

func summarise(events, skippedFile string) (bool, error) {
	f, err := os.Open(events)
	if err != nil {
		return false, err
	}
	defer f.Close()
	output := map[id][]string{}
	var skipped []string
	ok, passed, failed := true, 0, 0
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			fmt.Println(sc.Text())
			continue
		}
		if e.Package == "" {
			e.Package = e.ImportPath
		}
		k := id{e.Package, e.Test}
		short := strings.TrimPrefix(e.Package, "github.com/almamigrate/almamigrate/")
		switch e.Action {
		case "output", "build-output":
			output[k] = append(output[k], e.Output)
		case "skip":
			if e.Test != "" {
				skipped = append(skipped, fmt.Sprintf("%s %s: %s", short, e.Test, reason(output[k])))
			}
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok    %-24s %6.1f s\n", short, e.Elapsed)
			} else if passed++; strings.Contains(e.Test, "/") {
				passed--
			}
		case "build-fail":
			ok = false
			fmt.Printf("FAIL  %s does not build\n%s", short, strings.Join(output[k], ""))
		case "fail":
			ok = false
			if e.Test != "" {
				failed++
			}
			fmt.Printf("FAIL  %s %s\n%s", short, e.Test, strings.Join(output[k], ""))
		}
	}
	if err := sc.Err(); err != nil {
		return false, err
	}
	slices.Sort(skipped)
	fmt.Printf("%d passed, %d failed, %d skipped\n", passed, failed, len(skipped))
	text := strings.Join(skipped, "\n")
	if text != "" {
		text += "\n"
	}
	return ok, os.WriteFile(skippedFile, []byte(text), 0o644)
}

// reason is what a test said when it skipped: the last line of its output that
// is not the test framework's.
func reason(lines []string) string {
	for _, l := range slices.Backward(lines) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "---") || strings.HasPrefix(l, "===") {
			continue
		}
		if i := strings.Index(l, ".go:"); i > 0 {
			if _, rest, found := strings.Cut(l[i+4:], ": "); found {
				return rest
			}
		}
		return l
	}
	return "no reason given"
}
