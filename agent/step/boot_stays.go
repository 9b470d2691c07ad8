package step

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// ErrNoKernel means that a rollback would leave the host without a kernel.
var ErrNoKernel = errors.New("no kernel would be left")

// KernelStays tells, before a rollback, whether the host would have a kernel
// afterwards: the old ones may have been removed since, by hand or by dnf's
// installonly_limit, and AlmaLinux's of the migration goes. The error wraps
// ErrNoKernel.
func KernelStays(c *txn.Change) error {
	p, err := Plan(c)
	if err != nil {
		return err
	}
	if p.Boot == nil || p.Boot.Kernel == nil || p.Boot.FallBack == nil || p.RollbackDepth != plan.RollbackFull {
		return nil // no kernel goes, or there was no other one before
	}
	images, err := filepath.Glob("/boot/vmlinuz-*")
	if err != nil {
		return fmt.Errorf("cannot look for kernels: %w", err)
	}
	db, err := ReadDatabase()
	if err != nil {
		return err
	}
	return kernelStays(p, images, kernelOwners(db))
}

func kernelStays(p *plan.Plan, images []string, owners map[string][]string) error {
	going := map[string]bool{}
	files, _ := p.BootPaths()
	for _, f := range files {
		going[f] = true
	}
	for _, l := range p.Leaving {
		if strings.HasPrefix(l.Name, "kernel") && strings.HasSuffix(l.Name, "-core") {
			return nil // it comes back
		}
	}
	for _, f := range images {
		if !going[f] && !strings.Contains(f, "-0-rescue-") && regular(f) {
			return nil
		}
	}
	// Where images are not in /boot, packages tell.
	came := map[string]bool{}
	for _, w := range p.Coming {
		came[w.NEVRA] = true
	}
	for rel, list := range owners {
		for _, n := range list {
			if !came[n] && !going["/boot/vmlinuz-"+rel] {
				return nil
			}
		}
	}
	return fmt.Errorf("cannot roll back: %w: %s goes, and those of before were removed since", ErrNoKernel, p.Boot.Kernel.Package)
}
