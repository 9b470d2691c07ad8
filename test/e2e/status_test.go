package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// tells demands what status says to people, and that the document says the same
// and is what its schema promises.
func (h *Host) tells(t *testing.T, code int, state string, want ...string) {
	t.Helper()
	r := h.code(code, "status")
	for _, w := range append([]string{"^" + state + ": "}, want...) {
		if !regexp.MustCompile("(?m)" + w).MatchString(r.Stdout) {
			t.Errorf("%s: no %q in\n%s", state, w, r.Stdout)
		}
	}
	doc := h.code(code, "status", "--json").Stdout
	valid(t, "status-1.0.json", doc)
	var d struct {
		State string
		Bytes int64
		Next  []string
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil || d.State != state {
		t.Errorf("%v: %s", err, doc)
	}
	for _, n := range d.Next {
		if !strings.Contains(r.Stdout, "  next: "+n) {
			t.Errorf("%s: %q is not told to people:\n%s", state, n, r.Stdout)
		}
	}
	if strings.Contains(r.Stdout, "MiB") != (state != "nothing") || (d.Bytes > 0) != (state != "nothing") {
		t.Errorf("%s: what it costs: %d bytes, and\n%s", state, d.Bytes, r.Stdout)
	}
}

// TestStatus goes through every state that a host can be in: each says what it
// is, what it costs on disk, and which commands lead on. `changes` tells the
// same of each.
func TestStatus(t *testing.T) {
	lab(t)
	program := faulty(t)
	const size = `: \d+\.\d MiB in /var/lib/almamigrate/changes/\d{8}t\d{6}z$`
	h := NewHost(t, "centos", 8)
	h.tells(t, 0, "nothing", "no migration was made", "next: almamigrate check")
	if r := h.code(0, "changes", "list"); !strings.Contains(r.Stdout, "no migration was made") {
		t.Errorf("changes list: %s", r.Stdout)
	}
	if r := h.code(0, "changes", "prune"); r.Stdout != "Nothing to remove.\n" {
		t.Errorf("changes prune: %s", r.Stdout)
	}
	if r := h.code(2, "changes", "show", "x"); !strings.Contains(r.Stderr, "almamigrate changes list") {
		t.Errorf("changes show: %s", r.Stderr)
	}

	h.kill("capture.save.commit:%s:1", program, "migrate", "-y", "-q")
	h.tells(t, 0, "planned", "nothing on this host was changed", "still takes up space.*prune.*"+size, "next: almamigrate migrate ")
	if r := h.code(0, "changes", "prune"); !strings.Contains(r.Stdout, "(planned)") {
		t.Errorf("changes prune: %s", r.Stdout)
	}
	h.tells(t, 0, "nothing")

	h.kill("rpm.swap.after:%s:1", program, "migrate", "-y", "-q")
	h.tells(t, 22, "pending", "was interrupted", "2 of 7 steps are done; at: swap-packages", "saved for the way back"+size,
		"next: almamigrate migrate --resume  *# finish", "next: almamigrate rollback  *# take it back")
	h.code(22, "changes", "prune", h.change(t, "pending"))
	h.code(22, "migrate", "-y", "-q")

	h.kill("rpm.back.after:%s:1", program, "rollback", "-y", "-q")
	h.tells(t, 22, "rolling", "rollback was interrupted", "saved for the way back"+size, "next: almamigrate rollback")
	if r := h.code(22, "migrate", "-y", "-q"); !strings.Contains(r.Stderr, "rollback of change") || strings.Contains(r.Stderr, "--resume") {
		t.Errorf("what leads on from an interrupted rollback: %s", r.Stderr)
	}
	h.code(0, "rollback", "-y", "-q")
	h.tells(t, 0, "rolled-back", "this host is what it was before", "still takes up space.*prune.*"+size, "next: almamigrate check")

	h.code(0, "migrate", "-y", "-q")
	h.tells(t, 0, "done", "can still be taken back", "saved for the way back"+size, "next: almamigrate verify", "next: almamigrate rollback", "next: almamigrate migrate --commit")
	r := h.code(0, "changes", "list")
	for _, want := range []string{`^CHANGE +CREATED +STATE +SIZE +WHAT\n`, `(?m)^\d{8}t\d{6}z  \d{4}-\d\d-\d\d \d\d:\d\d \S+ +rolled-back +\d+\.\d MiB +CentOS`, `(?m)^\d{8}t\d{6}z  \d{4}-.* done +\d+\.\d MiB +CentOS`} {
		if !regexp.MustCompile(want).MatchString(r.Stdout) {
			t.Errorf("changes list: no %s in\n%s", want, r.Stdout)
		}
	}
	id := h.change(t, "done")
	r = h.code(0, "changes", "show", id)
	for _, want := range []string{id + ": done, the migration is complete", "LEAVING (", "What was done (state: done):", "  done  swap-packages"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("changes show: no %q in\n%s", want, r.Stdout)
		}
	}
	valid(t, "change-1.0.json", h.code(0, "changes", "show", "--json", id).Stdout)
	valid(t, "changes-1.0.json", h.code(0, "changes", "list", "--json").Stdout)
	valid(t, "verify-1.0.json", h.code(0, "verify", "--json").Stdout)
	if r := h.code(2, "changes", "prune", id); !strings.Contains(r.Stderr, "could not be taken back") || !strings.Contains(r.Stderr, "prune --force "+id) {
		t.Errorf("changes prune: %s", r.Stderr)
	}
	var pruned struct{ Removed []struct{ State string } }
	gone := h.code(0, "changes", "prune", "--json", h.change(t, "rolled-back")).Stdout
	valid(t, "pruned-1.0.json", gone)
	if err := json.Unmarshal([]byte(gone), &pruned); err != nil || len(pruned.Removed) != 1 || pruned.Removed[0].State != "rolled-back" {
		t.Errorf("changes prune: %v %+v", err, pruned)
	}
	if r := h.code(0, "changes", "prune"); !strings.Contains(r.Stdout, "can still be taken back") {
		t.Errorf("changes prune: %s", r.Stdout)
	}

	h.mounts("/etc . ro")
	h.code(21, "rollback", "-y", "-q")
	h.tells(t, 21, "incomplete", "could not bring everything back", "saved for the way back"+size, "^  error: ", "next: almamigrate rollback "+id+" #")
	h.mounts()
	h.code(0, "rollback", "-y", "-q")

	h.code(0, "migrate", "-y", "-q")
	// What is saved is as large for status as for the commit that frees it.
	var told struct {
		Bytes  int64
		Commit struct{ Bytes int64 }
	}
	for _, args := range [][]string{{"status", "--json"}, {"migrate", "--commit", "--dry-run", "--without-reboot", "--json"}} {
		doc := h.code(0, args...).Stdout
		if err := json.Unmarshal([]byte(doc), &told); err != nil {
			t.Fatal(err)
		}
		if args[0] == "migrate" {
			valid(t, "outcome-1.0.json", doc)
		}
	}
	if told.Bytes == 0 || told.Bytes != told.Commit.Bytes {
		t.Errorf("saved: status %d bytes, commit %d", told.Bytes, told.Commit.Bytes)
	}
	h.code(0, "migrate", "--commit", "-y", "--accept-no-rollback", "--without-reboot")
	h.tells(t, 0, "committed", "cannot be taken back any more", "kept as a record"+size)
}

// change is the id of the change in a state.
func (h *Host) change(t *testing.T, state string) string {
	t.Helper()
	var d struct{ Changes []struct{ ID, State string } }
	if err := json.Unmarshal([]byte(h.code(0, "changes", "list", "--json").Stdout), &d); err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Changes {
		if c.State == state {
			return c.ID
		}
	}
	t.Fatalf("no change is %s: %+v", state, d.Changes)
	return ""
}

// What happened since is told in three parts, before anything is touched: what
// stays, what goes back, and where both sides clash; as a document, too.
func TestRollbackDryRunThreeWay(t *testing.T) {
	lab(t)
	h := NewHost(t, "centos", 8)
	h.code(0, "migrate", "-y", "-q")
	h.Write("/etc/yum.repos.d/acme.repo", "[acme]\nname=mine\nbaseurl=http://acme.invalid/\n")
	h.Write("/usr/lib/os-release", "edited=since\n")
	h.Must("sh", "-c", "rpm -e --nodeps source-only-tool; rpm -i --nodeps --nosignature /mnt/world/www/almalinux/8/BaseOS/x86_64/os/Packages/almalinux-only-tool-*.rpm")
	before := Tree(t, h.Upper())
	r := h.code(0, "rollback", "--dry-run")
	part := func(title string) string {
		_, rest, ok := strings.Cut(r.Stdout, title)
		if !ok {
			t.Fatalf("no %q in\n%s", title, r.Stdout)
		}
		var out []string
		for l := range strings.Lines(rest[strings.Index(rest, "\n")+1:]) {
			if !strings.HasPrefix(l, "  ") {
				break
			}
			out = append(out, strings.TrimSpace(l))
		}
		return fmt.Sprint(out)
	}
	for title, want := range map[string]string{
		"Packages installed (+) or removed (-) since then; that stays so": "[+ almalinux-only-tool-1.0-1.el8.x86_64 - source-only-tool-1.0-4.el8.x86_64]",
		"Files that you changed and the migration did not":                "[/etc/yum.repos.d/acme.repo]",
		"Files that both changed":                                         "[/usr/lib/os-release]",
	} {
		if got := part(title); got != want {
			t.Errorf("%s: %s, want %s", title, got, want)
		}
	}
	var d struct {
		DryRun bool `json:"dry_run"`
		Since  struct {
			Packages, Kept, Clashes []string
			Restored                int
		}
	}
	doc := h.code(0, "rollback", "--dry-run", "--json").Stdout
	valid(t, "outcome-1.0.json", doc)
	if err := json.Unmarshal([]byte(doc), &d); err != nil || !d.DryRun || len(d.Since.Packages) != 2 || !slices.Equal(d.Since.Kept, []string{"/etc/yum.repos.d/acme.repo"}) || !slices.Equal(d.Since.Clashes, []string{"/usr/lib/os-release"}) || d.Since.Restored < 20 {
		t.Errorf("%v: %+v", err, d)
	}
	for _, c := range Changes(before, Tree(t, h.Upper()), notCompared...) {
		t.Errorf("the dry run: %s", c)
	}
	h.code(0, "rollback", "-y", "-q")
	h.Must("rpm", "-q", "almalinux-only-tool")
	if r := h.Run("rpm", "-q", "source-only-tool"); r.Code == 0 {
		t.Error("what was removed since is back")
	}
	h.Must("sh", "-c", "grep -q name=mine /etc/yum.repos.d/acme.repo && grep -rq edited=since /var/lib/almamigrate/changes/*/files/*/clash-* && grep -q 'CentOS Linux' /usr/lib/os-release")
}
