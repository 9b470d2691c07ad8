package boot_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/almamigrate/almamigrate/pkg/boot"
)

// grubConfig has what the grub.cfg of EL has: functions, tests, quotes in
// quotes, comments, loops, entries in a submenu.
const grubConfig = `# made by hand; don't worry about 'this
set pager=1
if [ -s $prefix/grubenv ]; then
  load_env
elif [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry; fi
}
function load_video {
  for m in all_video efi_gop 'efi uga'; do
    insmod $m
  done
}
set superusers="it's \"root\""
terminal_output console
insmod blscfg
blscfg
menuentry 'A host (4.18) { not a brace }' --class gnu $menuentry_id_option 'gnulinux-adv' {
	load_video; set gfxpayload=keep
	linux	/vmlinuz root=UUID=1 ro quiet fi=done if \
	  more=1
	initrd  /initramfs.img
}
submenu "Old ones" {
	menuentry done --id=if { linux /old; }
}
while [ "$n" = "1" ]; do set n=2; done
until [ "$n" = "2" ]; do
  set n=2
done
`

func configWith(t *testing.T, text string) string {
	t.Helper()
	l, err := boot.ReadLoader(hostDir(t, map[string]string{"boot/grub2/grub.cfg": text}))
	if err != nil {
		t.Fatal(err)
	}
	return l.ConfigProblem
}

func TestGrubScript(t *testing.T) {
	if p := configWith(t, grubConfig); p != "" {
		t.Errorf("a good one: %s", p)
	}
	for _, tc := range []struct{ from, to, want string }{
		{"\ndone\n", "\n", "the until of line 34 is not closed"},
		{"  load_env\n", "  load_env\nfi\n", "line 6: elif without if"},
		{"save_env saved_entry; fi\n", "save_env saved_entry\n", "line 14: a } too many"},
		{`'efi uga'`, `'efi uga`, "line 29: then without if"},
		{`root\""`, `root\"`, "line 31: a quote that does not end"},
		{"submenu \"Old ones\" {", "submenu \"Old ones\"", "line 32: a } too many"},
		{"in all_video", "in; then all_video", "line 16: then without if"},
		{"    insmod $m\n  done", "    insmod ${m\n  done", "line 17: ${ without }"},
		{"\nif [ -s", "\ndone; if [ -s", "line 3: done without a loop"},
		{"\nif [ -s", "\ndo if [ -s", "line 3: do without a loop"},
	} {
		text := strings.Replace(grubConfig, tc.from, tc.to, 1)
		if text == grubConfig {
			t.Fatalf("%q is not there", tc.from)
		}
		if got := configWith(t, text); got == "" || tc.want != got && !strings.Contains(tc.from, "uga") && !strings.Contains(tc.from, "root") {
			t.Errorf("%q for %q: %q, want %q", tc.to, tc.from, got, tc.want)
		}
	}
}

// TestGrubScriptOracle asks GRUB's own checker: what is found here it refuses
// too, for every line left out and every cut, and of what it refuses most is found.
func TestGrubScriptOracle(t *testing.T) {
	path, err := exec.LookPath("grub-script-check")
	if err != nil {
		if path, err = exec.LookPath("grub2-script-check"); err != nil {
			t.Skip("SKIPPED: grub-script-check is not installed (Debian: grub-common)")
		}
	}
	accepts := func(text string) bool {
		cmd := exec.Command(path)
		cmd.Stdin = strings.NewReader(text)
		return cmd.Run() == nil
	}
	if !accepts(grubConfig) {
		t.Fatal("GRUB refuses the good one")
	}
	lines := strings.SplitAfter(grubConfig, "\n")
	var bad []string
	for i := range lines {
		bad = append(bad, strings.Join(lines[:i], "")+strings.Join(lines[i+1:], ""))
	}
	for i := 50; i < len(grubConfig); i += 17 {
		bad = append(bad, grubConfig[:i]+"\n")
	}
	for _, c := range []string{"{", "}", "'", `"`, "fi", "done", "do", "then"} {
		for i, n := strings.Index(grubConfig, c), 0; i >= 0 && n < 4; n++ {
			bad = append(bad, grubConfig[:i]+grubConfig[i+len(c):])
			j := strings.Index(grubConfig[i+1:], c)
			if j < 0 {
				break
			}
			i += 1 + j
		}
	}
	refused, found := 0, 0
	for _, text := range bad {
		ok, problem := accepts(text), boot.GrubScript(text)
		if ok && problem != "" {
			t.Errorf("false alarm: %s\n%s", problem, text)
		}
		if !ok {
			refused++
			if problem != "" {
				found++
			}
		}
	}
	t.Logf("%d changed files: GRUB refuses %d, of which %d are found", len(bad), refused, found)
	if found*10 < refused*8 {
		t.Errorf("of %d refused files only %d are found", refused, found)
	}
}

func FuzzGrubScript(f *testing.F) {
	f.Add([]byte(grubConfig))
	f.Fuzz(func(_ *testing.T, b []byte) { boot.GrubScript(string(bytes.ToValidUTF8(b, nil))) })
}

// A configuration that goes on to another file is known for that, whatever it
// lacks itself.
func TestChained(t *testing.T) {
	for text, want := range map[string]bool{
		"search --fs-uuid --set=dev 1\nset prefix=($dev)/grub2\nconfigfile $prefix/grub.cfg\n": true, grubConfig: false, "menuentry x {\n\tchainloader +1\n}\n": true,
		// As os-prober writes it beside the host's own entries.
		grubConfig + "menuentry 'Windows Boot Manager (on /dev/sda1)' --class windows $menuentry_id_option 'osprober-efi-1' {\n\tinsmod part_gpt\n\tchainloader /efi/Microsoft/Boot/bootmgfw.efi\n}\n": false,
	} {
		l, err := boot.ReadLoader(hostDir(t, map[string]string{"boot/grub2/grub.cfg": text}))
		if err != nil || l.Chained != want {
			t.Errorf("%q: %v %v", text, l.Chained, err)
		}
	}
}
