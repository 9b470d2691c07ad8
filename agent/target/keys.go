package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/inventory"
	"github.com/almamigrate/almamigrate/pkg/atomicfile"
	"github.com/almamigrate/almamigrate/pkg/reposync"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// maxKeyFile is far above any key file: AlmaLinux's have some 5 KB.
const maxKeyFile = 1 << 20

// officialTree is where AlmaLinux publishes its keys beside the repositories.
const officialTree = "https://repo.almalinux.org/almalinux"

// Keyring gathers the keys that may sign AlmaLinux's metadata and packages:
// those that the administrator named, and those whose fingerprints are pinned,
// wherever the key material comes from: the host, the cache, or the mirror.
// A key that cannot be had is no error; what it signed is then not verified,
// and the result says so.
func Keyring(ctx context.Context, syncer *reposync.Syncer, cacheDir string, cat *catalog.Catalog, inv *inventory.Inventory, opt Options) *rpmsig.Keyring {
	major := Major(inv.Host.Major)
	ring := rpmsig.NewKeyring(opt.Keys...)
	pinned := map[string]bool{}
	for _, fp := range cat.PinnedFingerprints(major) {
		pinned[fp] = true
	}
	found := false
	take := func(data []byte) (taken bool) {
		keys, _ := rpmsig.ParseKeys(data)
		for _, k := range keys {
			if pinned[k.Fingerprint] {
				ring.Add(k)
				taken = true
			}
		}
		return taken
	}
	for _, k := range inv.Keys {
		if pinned[k.Fingerprint] {
			found = take([]byte(k.Armored)) || found
		}
	}
	// A private tree whose own key was named needs no other.
	if found || len(opt.Keys) > 0 {
		return ring
	}
	cached := filepath.Join(cacheDir, "keys", fmt.Sprintf("RPM-GPG-KEY-AlmaLinux-%d", major))
	if data, err := os.ReadFile(cached); err == nil && take(data) {
		return ring
	}
	tree := opt.Mirror
	if tree == "" {
		tree = officialTree
	}
	url := fmt.Sprintf("%s/RPM-GPG-KEY-AlmaLinux-%d", strings.TrimSuffix(tree, "/"), major)
	data, err := syncer.FetchFile(ctx, opt.Transport, url, maxKeyFile)
	if err == nil && take(data) {
		// Only what spares the next run a request; its failure changes nothing.
		if os.MkdirAll(filepath.Dir(cached), 0o755) == nil {
			_ = atomicfile.Write(cached, data, 0o644)
		}
	}
	return ring
}

// ReadKeys reads the key files that the administrator trusts.
func ReadKeys(files []string) ([]*rpmsig.Key, error) {
	var all []*rpmsig.Key
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read the trusted key: %w", err)
		}
		keys, problems := rpmsig.ParseKeys(data)
		if len(keys) == 0 {
			return nil, fmt.Errorf("cannot use the trusted key file %s: %w", name, errors.Join(append(problems, errors.New("no key in it"))...))
		}
		all = append(all, keys...)
	}
	return all, nil
}
