package verify

import (
	"fmt"

	"github.com/almamigrate/almamigrate/agent/plan"
	"github.com/almamigrate/almamigrate/agent/step"
	"github.com/almamigrate/almamigrate/pkg/txn"
)

// boot looks at the whole chain: the firmware's entry, shim and GRUB, GRUB's
// configuration and default, the kernel's entry, the kernel, its initramfs.
func (r *Report) boot(c *txn.Change, p *plan.Plan) {
	if p.Boot == nil {
		return
	}
	problems, def, err := step.BootProblems(c)
	if err != nil {
		problems = append(problems, err.Error())
	}
	good := "the boot loader is AlmaLinux's"
	if p.Boot.Kernel != nil {
		good = fmt.Sprintf("kernel %s is the default, and has all that it needs", def)
	}
	r.add("boot", problems, good, "the host may not boot AlmaLinux's kernel")
	if entries := step.FirmwareEntries(); len(p.Boot.Entries) > 0 && entries != nil {
		r.Checks = append(r.Checks, Check{ID: "boot-order", Level: Info, Text: "the firmware's boot order", Details: entries})
	}
	if step.RebootRequired(c) {
		r.Checks = append(r.Checks, Check{ID: "reboot", Level: Info, Text: fmt.Sprintf("reboot: kernel %s is still running", step.RunningKernel()), Details: []string{}})
	}
}
