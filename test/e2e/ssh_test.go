package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/test/realdata"
)

// StartSSH starts a command by ssh, in a terminal, as its user types it.
func (m *Machine) StartSSH(args ...string) *Background {
	m.t.Helper()
	path, _ := lab(m.t)
	b := &Background{m: m, cmd: exec.Command(filepath.Join(filepath.Dir(path), "sshd"), append([]string{"exec", m.Name}, args...)...), args: args}
	b.cmd.Env = append(os.Environ(), "LAB_TTY=1")
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	if err := b.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return b
}

// A real ssh session is cut in the middle of a migration: the unit goes on, and
// another session follows it to its end.
func TestSystemdSSHCut(t *testing.T) {
	s := &supervised{NewMachine(t, "centos", 8), ""}
	tool(t, "/usr/sbin/sshd", "openssh-server")
	sshd(t, "start", s.Name)
	t.Cleanup(func() { sshd(t, "stop", s.Name) }) // before the machine goes
	s.program = faulty(t)
	before := s.facts()
	s.fault("txn.doing.swap-packages.after:stop")

	session := s.StartSSH(s.program, "migrate", "-y")
	s.untilStopped()
	sshd(t, "cut", s.Name)
	if out, code := session.Wait(); code != 255 {
		t.Errorf("the session was not cut: exit code %d\n%s", code, out)
	}
	s.Until("the program in the session to be gone", func() bool { return s.Run("pgrep", "-fx", s.program+" migrate -y").Code != 0 })
	s.expect(0, "running", "status")
	s.expect(0, "almamigrate status --follow", "status")

	again := s.StartSSH(s.program, "status", "--follow")
	s.Until("the new session to see the step", func() bool { return strings.Contains(again.out.String(), "swap-packages") })
	s.goOn()
	if out, code := again.Wait(); code != 0 || !strings.Contains(out, "Done: CentOS Linux 8 to AlmaLinux 8") {
		t.Errorf("followed by another session: exit code %d\n%s", code, out)
	}
	s.mustBeAlma()

	// The same under Ansible: the task finds the run again, and its result.
	s.noFault()
	s.expect(0, "Rolled back", "rollback", "-y")
	s.mustBeAsBefore(before)
	if os.Getenv("ALMAMIGRATE_LAB_FLEET") != "1" {
		return
	}
	c := NewController(t)
	inventory := sshd(t, "inventory", s.Name) + "ansible_python_interpreter=/nonexistent\nalmamigrate_binary=" + s.program + "\n"
	if err := os.WriteFile(c.Dir+"/inventory", []byte(inventory), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fault("txn.doing.swap-packages.after:stop")
	done := make(chan Play)
	go func() { done <- c.Play("almamigrate.agent.rollout", "-v") }()
	s.untilStopped()
	sshd(t, "cut", s.Name)
	s.noFault()
	s.goOn()
	p := <-done
	if p.Code != 0 || p.Recap[s.Name].Changed != 1 || !strings.Contains(p.Output, `"reconnected": 1`) {
		t.Errorf("exit code %d\n%s", p.Code, p.Output)
	}
	s.mustBeAlma()

	// A reboot: the machine is switched on again as soon as it is off.
	playbook := c.write("reboot.yml", "- hosts: all\n  gather_facts: false\n  tasks:\n    - almamigrate.agent.reboot:\n        timeout: 120\n")
	go func() { done <- c.Play(playbook) }()
	s.Until("the machine to be off", func() bool { return s.Run("true").Code != 0 })
	if out, err := s.nspawn("stop"); err != nil {
		t.Fatalf("cannot wait for the end: %v\n%s", err, out)
	}
	if out, err := s.nspawn("start"); err != nil {
		t.Fatalf("cannot start: %v\n%s", err, out)
	}
	sshd(t, "start", s.Name)
	if p := <-done; p.Code != 0 || p.Recap[s.Name].Changed != 1 {
		t.Errorf("reboot: exit code %d\n%s", p.Code, p.Output)
	}
	s.mustBeAlma()

	// The timer, and the way back as a unit.
	p = c.play(0, "almamigrate.agent.install", "-e", "almamigrate_install_src="+filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate"), "-e", `{"almamigrate_install_timer": true}`)
	if got := s.Run("systemctl", "is-enabled", "almamigrate-report.timer"); got.Stdout != "enabled\n" {
		t.Errorf("the timer is %q\n%s", got.Stdout, p.Output)
	}
	c.play(0, "almamigrate.agent.install", "-e", "almamigrate_install_src="+filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate"), "-e", `{"almamigrate_install_timer": true}`).changed(t, "install again")
	c.play(0, "almamigrate.agent.install", "-e", "almamigrate_install_src="+filepath.Join(realdata.ProjectRoot(t), "bin", "almamigrate"), "-e", `{"almamigrate_install_timer": false}`).changed(t, "timer off", s.Name)
	c.play(0, "almamigrate.agent.rollback").changed(t, "rollback", s.Name)
	s.mustBeAsBefore(before)
}
