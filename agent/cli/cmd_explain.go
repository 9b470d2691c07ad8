package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [ID]",
		Short: "Tell what a finding means, why it matters and what to do",
		Long: `explain tells what a finding means, why it matters and what to do.
Without an ID it lists all findings that check can report.`,
		Example:     "  almamigrate explain\n  almamigrate explain pkg.missing",
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{"config": "none"},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var ids []string
			if len(args) == 0 {
				for _, t := range assess.Catalogue() {
					ids = append(ids, t.ID+"\t"+t.Title)
				}
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			opt := report.TextOptions{Color: a.colored(), Width: a.width()}
			if len(args) == 0 {
				if a.json {
					return report.WriteFindingTypesJSON(a.out, thisTool(), assess.Catalogue())
				}
				return report.WriteFindingTypes(a.out, assess.Catalogue(), opt)
			}
			var near []string
			for _, t := range assess.Catalogue() {
				if t.ID == args[0] {
					if a.json {
						return report.WriteFindingTypesJSON(a.out, thisTool(), []assess.FindingType{t})
					}
					return report.WriteFindingType(a.out, t, opt)
				}
				if strings.Contains(t.ID, args[0]) {
					near = append(near, t.ID)
				}
			}
			hint := "almamigrate explain   (lists all ids)"
			if len(near) > 0 {
				hint = "almamigrate explain " + strings.Join(near, " | ")
			}
			return &UserError{Msg: "cannot explain " + args[0] + ": no finding has this id", Hint: hint, Code: ExitUsage}
		},
	}
}
