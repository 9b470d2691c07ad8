package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// fleetLab skips unless the complete form was asked for.
func fleetLab(t *testing.T) {
	t.Helper()
	lab(t)
	if os.Getenv("ALMAMIGRATE_LAB_FLEET") != "1" {
		t.Skip("SKIPPED: make test-fleet runs it (minutes): what else may happen to a rollout")
	}
}

func (c *Controller) write(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.Dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// What else may happen to a rollout.
func TestFleetWays(t *testing.T) {
	fleetLab(t)
	c := NewController(t)
	fleet := c.newFleet("centos 8", "rocky 9", "centos 8")
	var names []string
	for _, h := range fleet {
		names = append(names, h.Name)
		h.facts = h.state()
	}
	first, second, third := fleet[0], fleet[1], fleet[2]
	const install, rollout, rollback = "almamigrate.agent.install", "almamigrate.agent.rollout", "almamigrate.agent.rollback"
	src := filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate")
	faulty := faulty(t)
	asBefore := func(h *sshHost) {
		t.Helper()
		if d := lineDiff(h.facts, h.state()); d != "" {
			t.Errorf("%s is not as it was:\n%s", h.Name, d)
		}
	}
	hostVars := func(h *sshHost, vars string) { c.write("host_vars/"+h.Name+".yml", "---\n"+vars) }
	run := func(name string, f func(t *testing.T)) {
		if t.Failed() {
			return // each goes on where the one before ended
		}
		t.Run(name, func(t *testing.T) {
			c.t = t
			for _, h := range fleet {
				h.t = t
			}
			f(t)
		})
		c.t = t
		for _, h := range fleet {
			h.t = t
		}
	}
	waves := []string{"-e", `{"almamigrate_waves": [1, 1, "100%"]}`}

	c.play(0, install, "-e", "almamigrate_install_src="+src).changed(t, "install", names...)

	run("install with settings and secrets", func(t *testing.T) {
		before := trees(t, fleet)
		vars := c.write("install.yml", `
almamigrate_install_src: `+src+`
almamigrate_install_config:
  report:
    keep: 7
    journal: false
almamigrate_install_files:
  - dest: /etc/almamigrate/token
    content: s3cret-t0ken
almamigrate_install_facts_dir: true
`)
		p := c.play(0, install, "--check", "-e", "@"+vars)
		p.changed(t, "check mode", names...)
		unchanged(t, "install --check", fleet, before)
		p = c.play(0, install, "-v", "--diff", "-e", "@"+vars)
		p.changed(t, "install", names...)
		if strings.Contains(p.Output, "s3cret-t0ken") {
			t.Error("the token is shown")
		}
		if got := first.in("cat /etc/almamigrate/token; stat -c %a /etc/almamigrate/token /etc/almamigrate/conf.d/50-ansible.conf; tail -n 3 /etc/almamigrate/conf.d/50-ansible.conf"); got != "s3cret-t0ken600\n600\n[report]\nkeep = 7\njournal = no\n" {
			t.Errorf("what was written: %q", got)
		}
		c.play(0, install, "-e", "@"+vars).changed(t, "install again")
		first.in("echo broken >> /usr/local/bin/almamigrate")
		c.play(0, install, "-e", "@"+vars).changed(t, "mended", first.Name)
		p = c.play(2, install, "-e", "@"+vars, "-e", "almamigrate_install_checksum=sha256:"+strings.Repeat("0", 64))
		p.changed(t, "wrong checksum")
		p = c.play(2, install, "-e", "almamigrate_install_src=https://example.com/x")
		if !strings.Contains(p.Output, "together with almamigrate_install_checksum") {
			t.Errorf("a URL without a checksum: %s", p.Output)
		}
		c.play(0, "almamigrate.agent.report", "-l", first.Name)
		if got := first.in("cat /etc/ansible/facts.d/almamigrate.fact"); !strings.Contains(got, `"ready": true`) {
			t.Errorf("the local fact: %s", got)
		}
	})

	run("install a package", func(t *testing.T) {
		args := []string{"-l", first.Name, "-e", "almamigrate_install_method=rpm", "-e", "almamigrate_install_package=big-payload", "-e", "almamigrate_install_config={}"}
		vars := c.write("same.yml", "almamigrate_install_config: {report: {keep: 7, journal: false}}\n")
		args = append(args, "-e", "@"+vars)
		c.play(0, install, args...).changed(t, "rpm", first.Name)
		c.play(0, install, args...).changed(t, "rpm again")
		first.in("rpm -e --nodeps big-payload 2>/dev/null")
		first.facts = first.state()
	})

	run("a blocked host", func(t *testing.T) {
		second.in("mkdir -p /usr/local/psa; echo 17.8.11 CentOS 7 > /usr/local/psa/version") // an old Plesk
		p := c.play(2, rollout, waves...)
		p.changed(t, "nothing begins")
		if !strings.Contains(p.Output, "panel") {
			t.Errorf("the blocker is not named: %s", p.Output)
		}
		p = c.play(0, rollout, append(waves, "-e", "almamigrate_on_blocked=skip")...)
		p.changed(t, "the others", first.Name, third.Name)
		second.in("rm -r /usr/local/psa")
		c.play(0, rollback).changed(t, "back", first.Name, third.Name)
		asBefore(first)
		asBefore(second)
	})

	run("tests of one's own", func(t *testing.T) {
		tests := c.write("answers.yml", "---\n- name: The service answers\n  ansible.builtin.raw: test -e /srv/answers\n  changed_when: false\n")
		first.in("touch /srv/answers")
		args := append(waves, "-e", "almamigrate_migrate_tests="+tests)
		p := c.play(2, rollout, args...)
		if !strings.Contains(p.Output, "The service answers") || !strings.Contains(p.Output, "The host was taken back: rolled back") {
			t.Errorf("the reason is not told: %s", p.Output)
		}
		asBefore(second)
		asBefore(third)
		if first.id() != "almalinux" {
			t.Error("the canary was taken back with the other")
		}
		second.in("touch /srv/answers")
		third.in("touch /srv/answers")
		// the canary of yesterday does not pass any more, and stays
		first.in("rm /srv/answers")
		c.play(0, rollout, args...).changed(t, "resumed", second.Name, third.Name)
		c.play(0, rollback).changed(t, "back", names...)
	})

	run("taken back by the program", func(t *testing.T) {
		first.in(`printf '#!/bin/sh\nALMAMIGRATE_FAULT=txn.did.disable-old-repos:error exec ` + faulty + ` "$@"\n' > /root/almamigrate; chmod 755 /root/almamigrate`)
		hostVars(first, "almamigrate_binary: /root/almamigrate\n")
		p := c.play(2, rollout, waves...)
		if !strings.Contains(p.Output, "exit code 20") || !strings.Contains(p.Output, "The host is as it was") {
			t.Errorf("%s", p.Output)
		}
		asBefore(first)
		asBefore(second)
		hostVars(first, "{}\n")
	})

	run("interrupted earlier", func(t *testing.T) {
		first.in("ALMAMIGRATE_FAULT=txn.did.swap-packages:kill " + faulty + " migrate -y -q || true")
		p := c.play(2, rollout, "-l", first.Name, "-e", "almamigrate_migrate_pending=fail")
		if !strings.Contains(p.Output, "pending") || !strings.Contains(first.in("almamigrate status || true"), "pending") {
			t.Errorf("%s", p.Output)
		}
		c.play(0, rollout, "-l", first.Name).changed(t, "resumed", first.Name)
		if first.id() != "almalinux" {
			t.Error("not resumed")
		}
		c.play(0, rollback, "-l", first.Name)
		asBefore(first)
	})

	run("approved plans", func(t *testing.T) {
		args := []string{"-e", "almamigrate_migrate_plans=" + c.Dir + "/plans"}
		c.play(0, rollout, append(args, "--check")...)
		second.in("rpm -e --nodeps source-only-tool 2>/dev/null")
		p := c.play(2, rollout, append(args, waves...)...)
		if !strings.Contains(p.Output, "source-only-tool") {
			t.Errorf("what drifted is not told: %s", p.Output)
		}
		p.changed(t, "as approved", first.Name)
		c.play(0, rollback).changed(t, "back", first.Name)
	})

	run("an unreachable host", func(t *testing.T) {
		hostVars(third, "ansible_port: 1\n")
		p := c.play(2, rollout, waves...)
		p.changed(t, "nothing begins")
		if want := third.Name + " cannot be reached"; !strings.Contains(p.Output, want) {
			t.Errorf("%q is missing: %s", want, p.Output)
		}
		hostVars(third, "{}\n")
	})

	run("the connection breaks, without systemd", func(t *testing.T) {
		first.in(`printf '#!/bin/sh\n[ "$1" != migrate ] || [ -e /root/cut ] || { touch /root/cut; export ALMAMIGRATE_FAULT=txn.doing.swap-packages.after:stop; }\nexec ` + faulty + ` "$@"\n' > /root/almamigrate; chmod 755 /root/almamigrate`)
		hostVars(first, "almamigrate_binary: /root/almamigrate\n")
		done := make(chan Play)
		go func() { done <- c.Play(rollout, "-v", "-l", first.Name) }()
		for range 600 {
			if first.in(`for p in $(pgrep -x almamigrate); do grep -q '^State:.T' /proc/$p/status && echo $p; done; true`) != "" {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		sshd(t, "cut", first.Name)
		first.in("pkill -CONT -x almamigrate || true") // the kernel may have done it: its group was orphaned
		p := <-done
		if p.Code != 0 || p.Recap[first.Name].Changed != 1 || !strings.Contains(p.Output, `"reconnected": 1`) {
			t.Errorf("exit code %d\n%s", p.Code, p.Output)
		}
		if first.id() != "almalinux" {
			t.Error("not migrated")
		}
	})
}
