package boot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/rootfs"
)

// BLSEntry is one file of /boot/loader/entries.
type BLSEntry struct {
	File    string   `json:"file"` // base name without .conf: the id that grubenv's saved_entry names
	Title   string   `json:"title"`
	Version string   `json:"version"`
	Linux   string   `json:"linux"`
	Initrd  string   `json:"initrd,omitempty"`
	Options string   `json:"options,omitempty"`
	Machine string   `json:"machine_id,omitempty"` // the file name's first part on EL
	Missing []string `json:"missing,omitempty"`    // files that it names and that do not exist; filled in by ReadLoader
}

const maxBootFile = 4 << 20

// ReadBLS reads the Boot Loader Specification entries in dir, in the order of
// their names. A host without the folder has none.
func ReadBLS(r *rootfs.Root, dir string) ([]BLSEntry, error) {
	names, err := r.Names(dir)
	if err != nil {
		return nil, err
	}
	var out []BLSEntry
	for _, n := range names {
		id, ok := strings.CutSuffix(n, ".conf")
		if !ok {
			continue
		}
		data, err := r.ReadFile(dir+"/"+n, maxBootFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the boot entry %s/%s: %w", dir, n, err)
		}
		e := ParseBLS(data)
		e.File = id
		if len(id) > 33 && id[32] == '-' {
			e.Machine = id[:32]
		}
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].File < out[j].File })
	return out, nil
}

// ParseBLS parses one entry: lines of a key, white space and a value; # begins
// a comment. Keys that are not needed are passed over, as the specification
// wants.
func ParseBLS(data []byte) BLSEntry {
	var e BLSEntry
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxBootFile)
	for sc.Scan() {
		line := strings.TrimSpace(sc.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		value = strings.TrimSpace(value)
		switch key {
		case "title":
			e.Title = value
		case "version":
			e.Version = value
		case "linux":
			e.Linux = value
		case "initrd":
			if e.Initrd != "" {
				e.Initrd += " "
			}
			e.Initrd += value
		case "options":
			if e.Options != "" {
				e.Options += " "
			}
			e.Options += value
		}
	}
	return e
}

// grubEnvSize is the fixed size of GRUB's environment block.
const grubEnvSize = 1024

const grubEnvMagic = "# GRUB Environment Block\n"

// ParseGrubEnv parses an environment block: the magic line, key=value lines,
// and # to fill 1,024 bytes. Backslash escapes the next character. A block of
// another size, as an editor leaves it, is read as GRUB reads it.
func ParseGrubEnv(data []byte) (map[string]string, error) {
	text, ok := strings.CutPrefix(string(data), grubEnvMagic)
	if !ok {
		return nil, fmt.Errorf("%w: grub environment block without its first line", ErrFormat)
	}
	env := map[string]string{}
	var b strings.Builder
	flush := func() {
		line := b.String()
		b.Reset()
		if key, value, ok := strings.Cut(line, "="); ok && key != "" && key[0] != '#' {
			env[key] = value
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '\n':
			flush()
		default:
			b.WriteByte(c)
		}
	}
	return env, nil
}

// Loader is what starts the kernel after the firmware.
type Loader struct {
	Kind   string `json:"kind"` // grub2, grub-legacy, systemd-boot, zipl, extlinux, unknown
	Config string `json:"config,omitempty"`
	// ConfigProblem says why GRUB's configuration cannot be whole: no menu in
	// it, or cut off in the middle.
	ConfigProblem string            `json:"config_problem,omitempty"`
	EnvFile       string            `json:"env_file,omitempty"` // after following links
	Env           map[string]string `json:"env,omitempty"`
	EnvProblem    string            `json:"env_problem,omitempty"`
	BLS           bool              `json:"bls"`               // the configuration reads /boot/loader/entries
	Chained       bool              `json:"chained,omitempty"` // it goes on to read another file
	Entries       []BLSEntry        `json:"entries"`
	Default       string            `json:"default,omitempty"` // saved_entry: an id, a title or a number
	Disabled      bool              `json:"bls_disabled"`      // GRUB_ENABLE_BLSCFG=false
}

// grubConfigs are the places of EL's grub.cfg; the first that exists counts.
// On EL8 under UEFI the real configuration is beside the loader; from EL9 on
// that one is a stub that reads /boot/grub2.
var grubConfigs = []string{
	"/boot/grub2/grub.cfg", "/etc/grub2.cfg", "/etc/grub2-efi.cfg",
	"/boot/efi/EFI/redhat/grub.cfg", "/boot/efi/EFI/centos/grub.cfg", "/boot/efi/EFI/rocky/grub.cfg",
	"/boot/efi/EFI/almalinux/grub.cfg", "/boot/efi/EFI/fedora/grub.cfg",
}

// configProblem looks at a grub.cfg as grub2-mkconfig writes it: the output of
// each script of /etc/grub.d stands between "### BEGIN NAME ###" and
// "### END NAME ###". Files written by hand have no such lines.
func configProblem(text []byte) string {
	open := ""
	menu := false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "### BEGIN "); ok {
			open = strings.TrimSuffix(name, " ###")
		}
		if line == "### END "+open+" ###" {
			open = ""
		}
		for _, word := range []string{"menuentry ", "blscfg", "configfile ", "linux", "submenu ", "source "} {
			menu = menu || strings.HasPrefix(line, word)
		}
	}
	switch {
	case open != "":
		return "it ends in the middle of " + open
	case !menu:
		return "it has no entry that could be started"
	}
	return grubScript(string(text))
}

// chained tells whether a grub.cfg goes on to read another one: by configfile
// or normal, or by starting another loader. Beside entries that start kernels,
// what is started with chainloader is another system: os-prober writes such
// entries for Windows.
func chained(text string) bool {
	loader, kernels := false, strings.Contains(text, "blscfg")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "configfile", "normal":
			return true
		case "chainloader":
			loader = true
		case "linux", "linux16", "linuxefi":
			kernels = true
		}
	}
	return loader && !kernels
}

// ReadLoader reads the boot loader's configuration.
func ReadLoader(r *rootfs.Root) (Loader, error) {
	l := Loader{Kind: "unknown"}
	var text []byte
	for _, name := range grubConfigs {
		data, err := r.ReadFile(name, maxBootFile)
		if err == nil && len(bytes.TrimSpace(data)) > 0 {
			l.Kind, l.Config, text = "grub2", name, data
			break
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			if errors.Is(err, fs.ErrPermission) {
				return l, fmt.Errorf("cannot read the boot loader's configuration: %w", err)
			}
		}
	}
	if l.Kind == "unknown" {
		for _, k := range []struct{ kind, file string }{
			{"grub-legacy", "/boot/grub/menu.lst"}, {"grub-legacy", "/boot/grub/grub.conf"},
			{"systemd-boot", "/boot/efi/loader/loader.conf"}, {"systemd-boot", "/efi/loader/loader.conf"}, {"systemd-boot", "/boot/loader/loader.conf"},
			{"zipl", "/etc/zipl.conf"}, {"extlinux", "/boot/extlinux/extlinux.conf"}, {"extlinux", "/boot/extlinux.conf"},
		} {
			if r.Exists(k.file) {
				l.Kind, l.Config = k.kind, k.file
				break
			}
		}
	}
	if l.Kind == "grub2" {
		l.ConfigProblem = configProblem(text)
	}
	l.Chained = chained(string(text))
	l.BLS = bytes.Contains(text, []byte("blscfg")) || l.Kind == "zipl" || l.Kind == "systemd-boot"
	if data, err := r.ReadFile("/etc/default/grub", maxBootFile); err == nil {
		sc := bufio.NewScanner(bytes.NewReader(data))
		sc.Buffer(nil, maxBootFile)
		for sc.Scan() {
			if k, v, ok := strings.Cut(strings.TrimSpace(sc.Text()), "="); ok && k == "GRUB_ENABLE_BLSCFG" {
				l.Disabled = strings.Trim(v, `"'`) == "false"
			}
		}
	}
	envFiles := []string{"/boot/grub2/grubenv", "/boot/efi/EFI/almalinux/grubenv", "/boot/efi/EFI/redhat/grubenv", "/boot/efi/EFI/centos/grubenv"}
	if dir := path.Dir(l.Config); l.Kind == "grub2" && strings.HasPrefix(dir, "/boot/") {
		envFiles = append(envFiles, dir+"/grubenv")
	}
	for _, name := range envFiles {
		data, err := r.ReadFile(name, maxBootFile)
		if errors.Is(err, fs.ErrNotExist) {
			// A link whose target is gone is what keeps hosts from
			// remembering their default kernel; say it.
			if _, lerr := r.Readlink(name); lerr == nil {
				l.EnvFile, l.EnvProblem = name, "a link to a file that does not exist"
			}
			continue
		}
		if err != nil {
			l.EnvFile, l.EnvProblem = name, err.Error()
			break
		}
		l.EnvFile, l.EnvProblem = name, ""
		if real, err := r.Resolve(name); err == nil {
			l.EnvFile = "/" + real
		}
		env, err := ParseGrubEnv(data)
		switch {
		case err != nil:
			l.EnvProblem = err.Error()
		case !bytes.HasSuffix(data, []byte("#")):
			l.EnvProblem = "GRUB can read it and not change it, as it has no # at its end to take room from"
		}
		l.Env = env
		break
	}
	if l.Kind == "grub2" && l.EnvFile == "" && bytes.Contains(text, []byte("load_env")) {
		l.EnvProblem = "there is none"
	}
	l.Default = l.Env["saved_entry"]
	entries, err := ReadBLS(r, "/boot/loader/entries")
	if err != nil {
		return l, err
	}
	for i := range entries {
		entries[i].Missing = missingFiles(r, entries[i])
	}
	l.Entries = entries
	return l, nil
}
