package inventory

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/almamigrate/almamigrate/pkg/luks"
)

// CryptVolume is a line of crypttab(5), without the key, or a mapping that is
// active and that crypttab does not have.
type CryptVolume struct {
	Name    string `json:"name"`
	Source  string `json:"source"`
	Options string `json:"options,omitempty"`
	// Device is where the header was read from, empty where it was not.
	Device string       `json:"device,omitempty"`
	Header *luks.Header `json:"header,omitempty"`
}

// crypt reads crypttab and, of a running host, the active mappings, and the
// headers of the volumes: only root can.
func (x *reader) crypt() {
	for _, l := range x.lines("/etc/crypttab") {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		v := CryptVolume{Name: f[0], Source: f[1]}
		if len(f) > 3 {
			v.Options = f[3]
		}
		x.env.Crypt = append(x.env.Crypt, v)
	}
	active := x.mappings()
	for _, m := range active {
		if !slices.ContainsFunc(x.env.Crypt, func(v CryptVolume) bool { return v.Name == m.Name }) {
			x.env.Crypt = append(x.env.Crypt, m)
		}
	}
	denied := []string{}
	for i := range x.env.Crypt {
		v := &x.env.Crypt[i]
		device := volumeDevice(v)
		for _, m := range active {
			if m.Name == v.Name && device == deviceOf(v.Source) {
				device = m.Source
			}
		}
		if device == "" {
			continue
		}
		h, err := x.luksHeader(device)
		switch {
		case err == nil:
			v.Device, v.Header = device, h
		case errors.Is(err, fs.ErrPermission):
			denied = append(denied, v.Name)
		case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, luks.ErrNotLUKS):
			x.t.skip("the LUKS header of "+v.Name+" on "+device, err)
		}
	}
	if len(denied) > 0 {
		x.t.skip("the LUKS header of "+denied[0]+more(len(denied)), fs.ErrPermission)
	}
}

func (x *reader) luksHeader(device string) (*luks.Header, error) {
	f, err := x.r.OpenDevice(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h, err := luks.Read(f)
	if err != nil {
		return nil, err
	}
	h.UUID, h.Label = clean(h.UUID), clean(h.Label)
	for i := range h.Tokens {
		t := &h.Tokens[i]
		t.Type, t.Problem = clean(t.Type), clean(t.Problem)
		for j := range t.Unlock {
			u := &t.Unlock[j]
			u.Kind, u.Bank, u.URL = clean(u.Kind), clean(u.Bank), hide(clean(u.URL))
		}
	}
	return h, nil
}

// volumeDevice is the device that holds a volume's header: that of the option
// header=, otherwise the volume's own.
func volumeDevice(v *CryptVolume) string {
	for o := range strings.SplitSeq(v.Options, ",") {
		if file, ok := strings.CutPrefix(o, "header="); ok {
			return deviceOf(file)
		}
	}
	return deviceOf(v.Source)
}

// deviceOf turns the second field of crypttab into a path; udev makes the links.
// As systemd does, it takes quotes around the whole or around what a tag names.
func deviceOf(source string) string {
	source = strings.Trim(source, `"`)
	for prefix, dir := range map[string]string{"UUID=": "by-uuid", "PARTUUID=": "by-partuuid", "LABEL=": "by-label", "PARTLABEL=": "by-partlabel"} {
		if id, ok := strings.CutPrefix(source, prefix); ok {
			id = strings.Trim(id, `"'`)
			if strings.HasSuffix(prefix, "UUID=") {
				id = strings.ToLower(id)
			}
			return "/dev/disk/" + dir + "/" + udevName(id)
		}
	}
	if strings.HasPrefix(source, "/") {
		return source
	}
	return ""
}

// udevName writes a label as udev does in the names of its links: what is no
// letter, digit or one of #+-.:=@_ as \xNN.
func udevName(label string) string {
	var b strings.Builder
	for _, r := range label {
		switch {
		case r >= 0x80, r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', strings.ContainsRune("#+-.:=@_", r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\x%02x`, r)
		}
	}
	return b.String()
}

// mappings lists the active LUKS mappings: cryptsetup gives them a uuid that
// begins with CRYPT-LUKS.
func (x *reader) mappings() []CryptVolume {
	if !x.live {
		return nil
	}
	names, err := x.r.Names("/sys/block")
	if err != nil {
		return nil // no devices at all: a container
	}
	var out []CryptVolume
	for _, n := range names {
		if !strings.HasPrefix(n, "dm-") || !strings.HasPrefix(x.r.Attr("/sys/block/"+n+"/dm/uuid"), "CRYPT-LUKS") {
			continue
		}
		slaves, err := x.r.Names("/sys/block/" + n + "/slaves")
		if err != nil || len(slaves) != 1 {
			continue
		}
		out = append(out, CryptVolume{Name: clean(x.r.Attr("/sys/block/" + n + "/dm/name")), Source: "/dev/" + clean(slaves[0])})
	}
	return out
}
