package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/fault"
	"github.com/almamigrate/almamigrate/pkg/hostcmd"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// importKeys imports AlmaLinux's keys into the rpm database.
type importKeys struct{ *Env }

type importedKey struct {
	Fingerprint string `json:"fingerprint"`
	File        string `json:"file"`    // below the change's folder
	Version     string `json:"version"` // and release of the gpg-pubkey entry
}

// maxKeyPayload caps what is unpacked to look for keys in a package.
const maxKeyPayload = 1 << 30

func (k importKeys) Prepare(_ context.Context, c *txn.Change, _ json.RawMessage) (json.RawMessage, error) {
	p, err := Plan(c)
	if err != nil {
		return nil, err
	}
	want := map[string]bool{}
	for _, w := range p.Keys {
		want[w.Fingerprint] = true
	}
	sources, err := k.material(c, p)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.Dir, "keys")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make a folder for the keys: %w", err)
	}
	list := []importedKey{}
	for _, data := range sources {
		for _, block := range blocks(data) {
			keys, _ := rpmsig.ParseKeys(block)
			if len(keys) != 1 || !want[keys[0].Fingerprint] {
				continue
			}
			want[keys[0].Fingerprint] = false
			v, r := keys[0].RPMVersion()
			i := importedKey{Fingerprint: keys[0].Fingerprint, File: filepath.Join("keys", keys[0].Fingerprint+".asc"), Version: v + "-" + r}
			if err := atomicfile.Write(filepath.Join(c.Dir, i.File), block, 0o600); err != nil {
				return nil, fmt.Errorf("cannot save the key %s: %w", i.Fingerprint, err)
			}
			list = append(list, i)
		}
	}
	for _, w := range p.Keys {
		if want[w.Fingerprint] {
			return nil, fmt.Errorf("cannot import the key %s: neither the packages nor the host have it", w.Fingerprint)
		}
	}
	db, err := ReadDatabase()
	if err != nil {
		return nil, err
	}
	kept := list[:0]
	for _, i := range list {
		if !db.Keys[i.Version] { // one that is there is nobody's to remove
			kept = append(kept, i)
		}
	}
	return json.Marshal(kept)
}

// material gathers what may hold keys: the verified packages' key files first.
func (k importKeys) material(c *txn.Change, p *plan.Plan) ([][]byte, error) {
	var out [][]byte
	files, err := comingFiles(c, p)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		pkg, done, err := openPackage(f)
		if err != nil {
			return nil, err
		}
		has := false
		for name := range pkg.Header().Files() {
			has = has || strings.HasPrefix(name, "/etc/pki/rpm-gpg/")
		}
		if has {
			for e, err := range pkg.Payload(maxKeyPayload) {
				if err != nil {
					done()
					return nil, fmt.Errorf("cannot read the keys in %s: %w", f, err)
				}
				if !strings.HasPrefix(strings.TrimPrefix(e.Name, "."), "/etc/pki/rpm-gpg/") {
					continue
				}
				data, err := io.ReadAll(io.LimitReader(e, 1<<20))
				if err != nil {
					done()
					return nil, fmt.Errorf("cannot read the keys in %s: %w", f, err)
				}
				out = append(out, data)
			}
		}
		done()
	}
	return append(out, k.KeyFiles...), nil
}

// blocks cuts a key file into its armored keys: rpm imports all of a file, and
// not all of it may be meant.
func blocks(data []byte) [][]byte {
	const begin, end = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
	var out [][]byte
	for {
		i := bytes.Index(data, []byte(begin))
		if i < 0 {
			return out
		}
		j := bytes.Index(data[i:], []byte(end))
		if j < 0 {
			return out
		}
		out = append(out, append(bytes.Clone(data[i:i+j+len(end)]), '\n'))
		data = data[i+j+len(end):]
	}
}

func (k importKeys) Do(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	list, db, err := k.load(undo)
	if err != nil {
		return err
	}
	for _, i := range list {
		if db.Keys[i.Version] {
			continue
		}
		k.say("importing key %s", i.Fingerprint)
		if _, err := hostcmd.Run(ctx, hostcmd.Cmd{Path: "rpm", Args: []string{"--import", filepath.Join(c.Dir, i.File)}, OutputFile: keysLog(c)}); err != nil {
			return fmt.Errorf("cannot import the key %s: %w", i.Fingerprint, err)
		}
		if err := fault.Point("step.imported." + i.Fingerprint); err != nil {
			return err
		}
	}
	return nil
}

// keysLog gets all that rpm says.
func keysLog(c *txn.Change) string { return filepath.Join(c.Dir, "keys.log") }

func (k importKeys) load(undo json.RawMessage) ([]importedKey, *Database, error) {
	var list []importedKey
	if err := json.Unmarshal(undo, &list); err != nil {
		return nil, nil, fmt.Errorf("cannot read the journal: %w", err)
	}
	db, err := ReadDatabase()
	return list, db, err
}

func (k importKeys) Undo(ctx context.Context, c *txn.Change, _, undo json.RawMessage) error {
	list, db, err := k.load(undo)
	if err != nil {
		return err
	}
	var errs error
	for _, i := range list {
		if !db.Keys[i.Version] {
			continue
		}
		k.say("removing key %s", i.Fingerprint)
		if _, err := hostcmd.Run(ctx, hostcmd.Cmd{Path: "rpm", Args: []string{"-e", "--allmatches", "gpg-pubkey-" + i.Version}, OutputFile: keysLog(c)}); err != nil {
			errs = errors.Join(errs, fmt.Errorf("cannot remove the key %s: %w", i.Fingerprint, err))
		}
	}
	list, db, err = k.load(undo)
	if err != nil {
		return errors.Join(errs, err)
	}
	for _, i := range list {
		if db.Keys[i.Version] && errs == nil {
			errs = errors.Join(errs, fmt.Errorf("cannot remove the key %s: it is still there", i.Fingerprint))
		}
	}
	return errs
}

func (k importKeys) Verify(_ context.Context, _ *txn.Change, _, undo json.RawMessage) (bool, error) {
	list, db, err := k.load(undo)
	if err != nil {
		return false, err
	}
	for _, i := range list {
		if !db.Keys[i.Version] {
			return false, nil
		}
	}
	return true, nil
}

// KeysImported tells whether every key that a change imported is in the rpm
// database.
func KeysImported(c *txn.Change) (bool, error) {
	undo := undoOf(c, plan.StepImportKeys)
	if undo == nil {
		return true, nil
	}
	return importKeys{}.Verify(context.Background(), c, nil, undo)
}
