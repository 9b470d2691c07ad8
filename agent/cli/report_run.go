package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/almamigrate/almamigrate/agent/assess"
	"github.com/almamigrate/almamigrate/agent/report"
	"github.com/almamigrate/almamigrate/agent/report/sink"
	"github.com/almamigrate/almamigrate/pkg/filelock"
)

// report runs a check and leaves its result in every place that is set.
func (a *app) report(ctx context.Context, f reportFlags) error {
	f.security = f.security || a.cfg.Report.Security
	f.origins = f.origins || a.cfg.Report.Origins
	f.optional = a.cfg.Report.Advisories
	if f.demo {
		c, _, err := a.judge(ctx, &f.checkFlags)
		if err != nil {
			return err
		}
		return a.showReport(report.NewReport(c, nil), "", report.Store{}, f.html)
	}
	if os.Geteuid() != 0 && f.state == stateDir {
		return &UserError{Msg: "cannot leave a report: only root writes to " + stateDir, Hint: "sudo almamigrate report, or: almamigrate report --state-dir DIR", Code: ExitNotSupported}
	}
	if err := os.MkdirAll(f.state, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder for reports: %w", err)
	}
	// the spool is sent in order by one at a time
	lock, err := filelock.TryLock(filepath.Join(f.state, "report.lock"))
	if errors.Is(err, filelock.ErrLocked) {
		return &UserError{Msg: "cannot report now: another report is running", Err: err, Hint: "wait for it: journalctl -f -t almamigrate", Code: ExitLocked}
	}
	if err != nil {
		return fmt.Errorf("cannot report: %w", err)
	}
	defer func() { _ = lock.Unlock() }()

	r, code, err := a.makeReport(ctx, f)
	if err != nil {
		return err
	}
	run := &reportRun{app: a, f: f, r: r, store: report.Store{Dir: filepath.Join(f.state, "reports")}}
	run.do(ctx)
	if err := a.showReport(r, run.path, run.store, f.html); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return &UserError{Msg: strings.Join(r.Problems, "; "), Code: ExitError, Hint: "the settings are described in almamigrate.conf(5)"}
	}
	if code != ExitOK {
		return &finished{code}
	}
	return nil
}

// makeReport checks the host. Where that fails the report says why; errors of
// usage and an interruption are the caller's.
func (a *app) makeReport(ctx context.Context, f reportFlags) (*report.Report, int, error) {
	started := time.Now().UTC()
	c, res, err := a.judge(ctx, &f.checkFlags)
	if err == nil {
		r, code := report.NewReport(c, nil), ExitOK
		if r.Verdict == assess.Unknown {
			code = exitCode(res, "blocker")
		}
		return r, code, nil
	}
	ue := explainError(err)
	if ctx.Err() != nil || ue.Code == ExitUsage {
		return nil, 0, err
	}
	r := report.NewReport(nil, &report.Failure{Code: ue.Code, Message: ue.Error(), Hint: ue.Hint})
	r.Tool = thisTool()
	r.RunID, r.Started, r.Finished = runID(), started, time.Now().UTC()
	r.Host.Name, _ = os.Hostname()
	r.Host.Root, r.Host.Live = "/", true
	return r, ue.Code, nil
}

// reportRun is a report on its way to all the places.
type reportRun struct {
	*app
	f     reportFlags
	r     *report.Report
	store report.Store
	path  string
	sinks []*sink.Sink
}

func (r *reportRun) problem(err error) {
	if err != nil {
		r.r.Problems = append(r.r.Problems, err.Error())
	}
}

// do carries the report everywhere; what fails in one place must not keep it
// from the others.
func (r *reportRun) do(ctx context.Context) {
	last, err := r.store.LastCheck()
	if err != nil && !errors.Is(err, report.ErrNoReport) {
		r.problem(err)
	}
	if last != nil && r.r.Failure == nil {
		r.r.Changes = report.Diff(last, r.r)
	}
	r.openSinks()
	for _, s := range r.sinks {
		r.r.Delivery = append(r.r.Delivery, s.State())
	}
	// on the disk before it is sent: a cut in between loses nothing
	r.path, err = r.store.Add(r.r)
	r.problem(err)
	r.send(ctx)

	good := last
	if r.r.Failure == nil {
		good = r.r
	}
	cfg := r.cfg.Report
	if cfg.TextfileDir != "" {
		r.problem(report.WriteTextfile(cfg.TextfileDir, report.Metrics(r.r, good)))
	}
	if cfg.AnsibleFact {
		r.problem(report.WriteFact(report.FactDir, report.NewFact(r.r, filepath.Join(r.store.Dir, report.Latest))))
	}
	if cfg.Journal {
		r.problem(report.SendJournal(r.r.Entries()))
	}
	r.problem(r.store.Prune(cfg.Keep))
	if r.path != "" && (len(r.sinks) > 0 || len(r.r.Problems) > 0) {
		r.problem(r.store.Replace(r.path, r.r)) // with what became of it
	}
}

func (r *reportRun) openSinks() {
	for _, name := range slices.Sorted(maps.Keys(r.cfg.Endpoint)) {
		e := r.cfg.Endpoint[name]
		s, err := sink.Open(sink.Endpoint{
			Name: name, URL: e.URL, TokenFile: e.TokenFile, CACert: e.CACert, ClientCert: e.ClientCert, ClientKey: e.ClientKey, Proxy: e.Proxy, Gzip: e.Gzip,
		}, sink.Options{
			Dir: filepath.Join(r.f.state, "spool", name), MaxBytes: r.cfg.Report.SpoolSize, MaxAge: r.cfg.Report.SpoolAge,
			Deadline: r.cfg.Report.SendTime, Timeout: e.Timeout, Retries: e.Retries, UserAgent: "almamigrate/" + Version,
		})
		r.problem(err)
		r.sinks = append(r.sinks, s)
	}
}

// send gives the report to every endpoint's spool, then empties the spools,
// all at once: one endpoint that hangs must not delay the others.
func (r *reportRun) send(ctx context.Context) {
	if len(r.sinks) == 0 {
		return
	}
	body, err := r.r.Encode()
	if err != nil {
		r.problem(err)
		return
	}
	done := make([]report.Delivery, len(r.sinks))
	var wg sync.WaitGroup
	for i, s := range r.sinks {
		r.problem(s.Put(r.r.RunID, body))
		if r.f.noSend {
			done[i] = s.State()
			continue
		}
		wg.Go(func() { done[i] = s.Drain(ctx) })
	}
	wg.Wait()
	r.r.Delivery = done
}
