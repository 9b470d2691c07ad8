package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// The collection as its linter and its builder see it.
func TestAnsibleLint(t *testing.T) {
	lint := tool(t, "ansible-lint", "ansible-lint")
	c := NewController(t)
	// what was built has no settings of the linter's: those of the source
	dir := c.Dir + "/collections/ansible_collections/almamigrate/agent"
	settings, err := os.ReadFile(filepath.Join(collection(t), ".ansible-lint"))
	if err == nil {
		err = os.WriteFile(dir+"/.ansible-lint", settings, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := c.command(lint, "--offline", "--nocolor")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Passed with production profile") {
		t.Errorf("%v\n%s", err, out)
	}
	// the documentation of the modules is what the plugins take
	for _, m := range []string{"query", "migrate", "rollback", "reboot", "put", "timer"} {
		var doc map[string]struct {
			Doc struct{ Options map[string]any }
		}
		if err := json.Unmarshal([]byte(c.must("ansible-doc", "-t", "module", "-j", "almamigrate.agent."+m)), &doc); err != nil {
			t.Fatal(err)
		}
		source, err := os.ReadFile(dir + "/plugins/action/" + m + ".py")
		if err != nil {
			t.Fatal(err)
		}
		options := doc["almamigrate.agent."+m].Doc.Options
		for _, a := range regexp.MustCompile(`(?m)^        "(\w+)": \{"type"|ARGUMENTS = \{"(\w+)": \{"type"`).FindAllStringSubmatch(string(source), -1) {
			if name := a[1] + a[2]; options[name] == nil {
				t.Errorf("%s: the option %s is not documented", m, name)
			} else {
				delete(options, name)
			}
		}
		for name := range options {
			if name != "binary" {
				t.Errorf("%s: the documented option %s is not there", m, name)
			}
		}
	}
	// each variable of a role has a line in its README
	for _, r := range []string{"install", "check", "migrate", "rollback", "report"} {
		defaults, err := os.ReadFile(dir + "/roles/" + r + "/defaults/main.yml")
		if err != nil {
			t.Fatal(err)
		}
		readme, err := os.ReadFile(dir + "/roles/" + r + "/README.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range regexp.MustCompile(`(?m)^(\w+):`).FindAllStringSubmatch(string(defaults), -1) {
			if !strings.Contains(string(readme), "| `"+v[1]+"` |") {
				t.Errorf("%s: README.md does not have %s", r, v[1])
			}
		}
	}
}

// standIn answers as the program would in a given situation.
const standIn = `#!/bin/sh
d=$(dirname "$0"); echo "$*" >> "$d/calls"
echo noise >&2
case $1 in
status) cat "$d/status"; exit $(cat "$d/status.code") ;;
migrate) [ ! -e "$d/after" ] || cp "$d/after" "$d/status"; [ ! -e "$d/after.code" ] || cp "$d/after.code" "$d/status.code"; cat "$d/migrate"; exit $(cat "$d/code") ;;
inventory) cat "$d/inventory" ;;
verify) echo '{"ok": true, "checks": []}' ;;
changes) echo '{"plan": {"depth": "branding", "host": {"title": "Old 8"}, "target": "AlmaLinux 8", "leaving": [], "coming": []}}' ;;
esac
`

// What the exit codes of a migration become, all of them.
func TestAnsibleExitCodes(t *testing.T) {
	c := NewController(t)
	type want struct {
		changed, failed, reboot bool
		calls, msg              string
	}
	type situation struct {
		name       string
		status     string // state before
		statusCode int
		after      string // state after
		code       int
		migrate    string // what it writes
		inventory  string // the host's state
		want       want
		afterCode  int
		extra      string // an argument
	}
	done := `{"state": "done", "change": "c1", "errors": []}`
	failed := func(code int) want {
		return want{failed: true, calls: "migrate -y", msg: fmt.Sprintf("exit code %d", code)}
	}
	list := []situation{
		{name: "done", code: 0, migrate: done, want: want{changed: true, calls: "migrate -y", msg: "Old 8 to AlmaLinux 8"}},
		{name: "reboot", code: 100, migrate: done, want: want{changed: true, reboot: true, calls: "migrate -y"}},
		{name: "error", code: 1, migrate: `{"code": 1, "message": "no space", "hint": "df"}`, want: want{failed: true, calls: "migrate -y", msg: "no space; next: df"}},
		{name: "usage", code: 2, want: failed(2)},
		{name: "blockers", code: 10, want: failed(10)},
		{name: "locked", code: 11, want: failed(11)},
		{name: "unsupported", code: 12, inventory: "supported", want: failed(12)},
		{name: "almalinux", code: 12, inventory: "almalinux", want: want{calls: "migrate -y", msg: "AlmaLinux already"}},
		{name: "repos", code: 13, want: failed(13)},
		{name: "rolledback", code: 20, migrate: `{"state": "rolled-back", "change": "c1", "errors": ["post failed"]}`, want: want{failed: true, calls: "migrate -y", msg: "post failed"}},
		{name: "incomplete", code: 21, migrate: `{"state": "incomplete", "change": "c1", "errors": [], "commands": ["rpm -Uvh x"]}`, want: want{failed: true, calls: "migrate -y", msg: "left to do: rpm -Uvh x"}},
		{name: "pending", code: 22, migrate: `{"state": "pending", "change": "c1", "errors": []}`, want: failed(22)},
		{name: "interrupted", code: 130, want: failed(130)},
		{name: "unknown", code: 99, want: failed(99)},
		{name: "killed", code: 137, after: "pending", afterCode: 22, want: failed(22)},
		{name: "garbage", code: 0, migrate: `{"state": `, want: want{failed: true, calls: "migrate -y", msg: "cannot read"}},
		{name: "again", status: "done", want: want{msg: "migrated already"}},
		{name: "resume", status: "pending", statusCode: 22, code: 0, migrate: done, want: want{changed: true, calls: "migrate --resume"}},
		{name: "norollback", status: "incomplete", statusCode: 21, want: want{failed: true, msg: "a rollback is unfinished"}},
		{name: "full", status: "done", code: 100, migrate: `{"state": "done", "change": "c2"}`, extra: "depth=full", want: want{changed: true, reboot: true, calls: "migrate -y --full"}},
	}
	codes := map[int]bool{}
	inventory := "[hosts]\n"
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range list {
		codes[s.code] = true
		d := c.Dir + "/" + s.name
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if s.status == "" {
			s.status = "nothing"
		}
		status := func(state string) string {
			return fmt.Sprintf(`{"state": %q, "change": "c-%s", "errors": [], "next": ["next command"], "title": "Old 8 to AlmaLinux 8"}`, state, state)
		}
		write(d+"/almamigrate", standIn)
		write(d+"/status", status(s.status))
		write(d+"/status.code", strconv.Itoa(s.statusCode))
		if s.after != "" {
			write(d+"/after", status(s.after))
			write(d+"/after.code", strconv.Itoa(s.afterCode))
		}
		write(d+"/migrate", s.migrate)
		write(d+"/code", strconv.Itoa(s.code))
		write(d+"/inventory", fmt.Sprintf(`{"host": {"state": %q}}`, s.inventory))
		inventory += s.name + " " + strings.ReplaceAll(s.extra, "depth=", "wanted=") + "\n"
	}
	write(c.Dir+"/inventory", inventory+"\n[hosts:vars]\nansible_connection=local\nansible_python_interpreter=/nonexistent\n")
	write(c.Dir+"/play.yml", `
- hosts: all
  gather_facts: false
  tasks:
    - almamigrate.agent.migrate:
        binary: "{{ playbook_dir }}/{{ inventory_hostname }}/almamigrate"
        depth: "{{ wanted | default('branding') }}"
        lock_timeout: 0
      register: result
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ result | to_json }}"
        dest: "{{ playbook_dir }}/{{ inventory_hostname }}/result"
        mode: "0600"
      delegate_to: localhost
      vars:
        ansible_python_interpreter: /usr/bin/python3
`)
	p := c.play(0, c.Dir+"/play.yml")
	for _, s := range list {
		var got struct {
			Changed        bool
			Failed         bool
			RebootRequired bool `json:"reboot_required"`
			Msg            string
		}
		data, err := os.ReadFile(c.Dir + "/" + s.name + "/result")
		if err == nil {
			err = json.Unmarshal(data, &got)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.name, err, p.Output)
		}
		calls, _ := os.ReadFile(c.Dir + "/" + s.name + "/calls")
		migrate := ""
		for l := range strings.Lines(string(calls)) {
			if strings.HasPrefix(l, "migrate") {
				migrate += strings.TrimSuffix(strings.TrimSpace(l), " --json")
			}
		}
		if (want{got.Changed, got.Failed, got.RebootRequired, migrate, s.want.msg}) != s.want || !strings.Contains(got.Msg, s.want.msg) {
			t.Errorf("%s: got %+v, called %q; want %+v", s.name, got, migrate, s.want)
		}
	}
	// the program has no code that was forgotten here
	out := c.must(filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate"), "--help")
	_, out, _ = strings.Cut(out, "Exit codes:")
	found := regexp.MustCompile(`(?m)^ +(\d+)  `).FindAllStringSubmatch(out, -1)
	if len(found) < 10 {
		t.Errorf("exit codes in the help: %v", found)
	}
	for _, m := range found {
		if n, _ := strconv.Atoi(m[1]); !codes[n] {
			t.Errorf("exit code %s is not tried", m[1])
		}
	}
}
