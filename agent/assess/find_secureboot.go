package assess

import (
	"fmt"
	"strings"
)

// findSecureBoot tells of modules that a kernel which demands signatures would
// refuse, though they fit otherwise.
func (a *assessor) findSecureBoot(j *kernelJudge) {
	tr := &j.k.Trust
	var foreign bool
	for i := range j.modules {
		foreign = foreign || j.k.Modules[i].Foreign != nil
	}
	if tr.SecureBoot == "unknown" && !tr.Enforced() {
		if foreign {
			a.raise(Finding{
				ID: idSecureBootUnknown, Severity: Warning, Resources: []Resource{{"host", a.inv.Host.Name, tr.Problem}},
				Title:  "whether Secure Boot is on could not be read",
				Detail: "Out-of-tree modules are loaded; with Secure Boot on, AlmaLinux's kernel takes them only with a signature that the firmware trusts.",
				Remedy: Remedy{Text: "run the check as root, or ask the firmware", Command: "mokutil --sb-state"},
			})
		}
		return
	}
	if !tr.Enforced() {
		return
	}
	how := enforcedBy(j)
	j.split(func(r *ModuleResult) bool {
		return j.k.Modules[j.byName[r.Name]].Foreign != nil && r.Verdict != ModuleBreaks && r.Verdict != ModuleMissing && r.Trusted == TrustNo
	}, func(g *moduleGroup, essential bool) {
		for i := range g.res {
			r := &j.modules[j.byName[g.res[i].Name]]
			g.res[i].Detail = r.Signature
		}
		r := &j.modules[j.byName[g.names[0]]]
		f := Finding{
			ID: idSecureBootModule, Severity: severityOf(essential), Resources: g.res,
			Title:  fmt.Sprintf("AlmaLinux's kernel would not trust the signature of %s: %s", plural(len(g.names), "module"), g.list()),
			Detail: fmt.Sprintf("%s: %s. A key that is built into the source distribution's kernel only is not in AlmaLinux's. Modules without a trusted signature are refused, by %s.", r.Name, r.Signature, how),
			Remedy: Remedy{Text: "enrol the signer's certificate as a machine owner's key before the reboot, or get a build that is signed with an enrolled one", Command: "mokutil --import CERTIFICATE.der"},
		}
		if essential {
			f.Detail = essentialText + f.Detail
		}
		a.raise(f)
	})
	var unclear moduleGroup
	for i := range j.modules {
		r := &j.modules[i]
		if j.k.Modules[i].Foreign != nil && r.Trusted == TrustUnknown && r.Verdict != ModuleBreaks {
			unclear.add(r, r.Signature)
		}
	}
	if n := len(unclear.names); n > 0 {
		a.raise(Finding{
			ID: idSecureBootUnknown, Severity: Warning, Resources: unclear.res,
			Title:  fmt.Sprintf("whether AlmaLinux's kernel trusts %s is not known: %s", plural(n, "module"), unclear.list()),
			Detail: fmt.Sprintf("Modules without a trusted signature are refused, by %s. %s: %s.", how, unclear.names[0], j.modules[j.byName[unclear.names[0]]].Signature),
			Remedy: Remedy{Text: "look who signed it, and whether that certificate is enrolled", Command: "modinfo " + shellWord(unclear.names[0]) + " | grep -i sig; mokutil --list-enrolled"},
		})
	}
}

// enforcedBy says what makes the kernel demand signatures.
func enforcedBy(j *kernelJudge) string {
	tr := &j.k.Trust
	var by []string
	if tr.SecureBoot == "enabled" {
		by = append(by, "Secure Boot")
	}
	if tr.Lockdown == "integrity" || tr.Lockdown == "confidentiality" {
		by = append(by, "kernel lockdown ("+tr.Lockdown+")")
	}
	if tr.SigEnforce {
		by = append(by, "module.sig_enforce")
	}
	return strings.Join(by, " and ")
}
