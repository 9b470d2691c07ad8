package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// ask returns nil where the answer is yes, and otherwise an error that names
// the command which does not ask. Ctrl-C is a no.
func (a *app) ask(ctx context.Context, command string) error {
	return a.askFor(ctx, "Is this ok [y/N]: ", "y", command)
}

// askFor asks and goes on only at the answer that is wanted; "yes" is as good
// as "y".
func (a *app) askFor(ctx context.Context, question, want, command string) error {
	_, _ = fmt.Fprint(a.err, "\n"+question)
	ch := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil {
			line += "\n"
			_, _ = fmt.Fprintln(a.err)
		}
		ch <- line
	}()
	select {
	case line := <-ch:
		if s := strings.ToLower(strings.TrimSpace(line)); s == want || want == "y" && s == "yes" {
			return nil
		}
	case <-ctx.Done():
		_, _ = fmt.Fprintln(a.err)
		return &UserError{Msg: "interrupted; nothing was changed", Hint: command, Code: ExitInterrupted}
	}
	return &UserError{Msg: "not confirmed; nothing was changed", Hint: command, Code: ExitError}
}
