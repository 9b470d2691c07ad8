package cli

import (
	"github.com/almamigrate/almamigrate/agent/catalog"
	"github.com/almamigrate/almamigrate/agent/target"
	"github.com/almamigrate/almamigrate/pkg/rpmsig"
)

// facts loads the catalogue of the system below root and the keys that the
// administrator trusts; what those sign counts as AlmaLinux's.
func (a *app) facts(root string, keyFiles []string) (*catalog.Catalog, []*rpmsig.Key, error) {
	keys, err := target.ReadKeys(keyFiles)
	if err != nil {
		return nil, nil, &UserError{Err: err, Code: ExitUsage, Hint: "correct extra_keys in almamigrate.conf"}
	}
	cat, err := catalog.Load(root)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		cat.Trust(k.Fingerprint, k.KeyIDs, k.UserID)
	}
	return cat, keys, nil
}
