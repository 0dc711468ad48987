package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/demo"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/stress"
)

// eraseLine brings the cursor to the line's start and empties the line.
const eraseLine = "\r\x1b[K"

// loadFlags are what stress load is called with.
type loadFlags struct {
	stress.LoadPlan
	json bool
	plot string
}

func (sh *shell) stressLoad() *cobra.Command {
	var flags loadFlags
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Offer a server a steady load, show how it answers and audit it, or exit 1",
		Long: fmt.Sprintf(`Make products on a server and ask it for holds of one unit at a steady rate, each
request with an Idempotency-Key of its own. Requests are sent on schedule however
slow the answers are (an open model), and the time of each counts from when it was
to be sent, so that a server which stalls cannot hide it. At most %d wait for their
answer at once; what is due beyond that is reported as not sent. "Sent late" is how
far behind its own schedule this program was: it should be small beside the rest.

All traffic goes to the host of --url and to no other. The products are made there
and stay there, with holds that last %v longer than the load: use an installation
that is yours.

At the end the units are counted: by SQL when FLASHSALE_MYSQL_DSN is set to the
server's database, else by reading the products. Exit code 1 when what was
acknowledged is not what is held, or is more than there was, and when the load was
interrupted. The first SIGINT ends the sending, and what was sent is still reported.`, stress.MaxInFlight, stress.HoldMargin),
		Example: `  flashsale stress load --rate 500 --duration 10s --stock 1000
  flashsale stress load --url https://staging.example.com --rate 2000 --buyers 100000 --products 5
  flashsale stress load --rate 200 --plot load.svg --json > load.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			return sh.runStressLoad(cmd.Context(), flags)
		},
	}
	flags.register(cmd)
	return cmd
}

func (f *loadFlags) register(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&f.URL, "url", "http://localhost:8080", "the server that gets the load")
	set.Int64Var(&f.Rate, "rate", 100, fmt.Sprintf("requests that are offered a second, 1 to %d", stress.MaxRate))
	set.Int64Var(&f.Buyers, "buyers", 1000, fmt.Sprintf("how many different customers ask in turn, 1 to %d", stress.MaxBuyers))
	set.IntVar(&f.Products, "products", 1, fmt.Sprintf("how many products are made and asked for in turn, 1 to %d", stress.MaxProducts))
	set.Int64Var(&f.Stock, "stock", 1000, "how many units there are of each product")
	set.DurationVar(&f.Duration, "duration", 10*time.Second,
		fmt.Sprintf("how long requests are sent, %v to %v", stress.MinDuration, stress.MaxDuration))
	set.StringVar(&f.plot, "plot", "", "the file for an SVG of rates and latencies over time")
	jsonFlag(cmd, &f.json)
}

func (f *loadFlags) check() error {
	for _, flag := range []struct {
		name               string
		value, least, most int64
	}{
		{"rate", f.Rate, 1, stress.MaxRate},
		{"buyers", f.Buyers, 1, stress.MaxBuyers},
		{"products", int64(f.Products), 1, stress.MaxProducts},
		{"stock", f.Stock, 0, sale.MaxStock},
	} {
		if flag.value < flag.least || flag.value > flag.most {
			return usagef("--%s must be from %d to %d, not %d", flag.name, flag.least, flag.most, flag.value)
		}
	}
	if f.Duration < stress.MinDuration || f.Duration > stress.MaxDuration {
		return usagef("--duration must be from %v to %v, not %v", stress.MinDuration, stress.MaxDuration, f.Duration)
	}
	if err := demo.CheckBaseURL(f.URL); err != nil {
		return usagef("--url: %w", err)
	}
	return nil
}

func (sh *shell) runStressLoad(ctx context.Context, flags loadFlags) (err error) {
	cfg, err := sh.config()
	if err != nil {
		return err
	}
	plot, err := openPlot(flags.plot)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plot.close()) }()
	audit, closeAudit, err := sh.openAudit(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit()) }()
	progress, erase := sh.loadProgress(flags.Duration)
	flags.Progress = progress
	report, err := stress.Load(ctx, flags.LoadPlan, audit)
	erase()
	if err != nil {
		return fmt.Errorf("running the load: %w", err)
	}
	return errors.Join(sh.printLoad(flags, report), plot.write(report), loadFailure(report))
}

// openAudit gives what counts the units by SQL, nil without a database.
func (sh *shell) openAudit(ctx context.Context, cfg app.Config) (audit stress.Counter, closed func() error, err error) {
	if cfg.MySQLDSN == "" {
		return nil, func() error { return nil }, nil
	}
	core, err := sh.openCore(ctx, bare(cfg))
	if err != nil {
		return nil, nil, err
	}
	direct := stress.Direct{Actions: core.Actions, Ping: core.DB.Ping}
	if err := direct.Connect(ctx); err != nil {
		return nil, nil, errors.Join(err, core.Close())
	}
	return direct, core.Close, nil
}

func (sh *shell) printLoad(flags loadFlags, report stress.LoadReport) error {
	if flags.json {
		return sh.printJSON(report)
	}
	return report.Print(sh.out)
}

// loadFailure says what does not hold.
func loadFailure(report stress.LoadReport) error {
	var faults []error
	if !report.Audit.Passed {
		faults = append(faults, errors.New("what was acknowledged is not what is held"))
	}
	if report.Interrupted {
		faults = append(faults, errors.New("the load was interrupted"))
	}
	return errors.Join(faults...)
}

// loadProgress rewrites a line on stderr if it is a terminal. erase takes it away.
func (sh *shell) loadProgress(whole time.Duration) (progress func(stress.LoadProgress), erase func()) {
	file, ok := sh.err.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, func() {}
	}
	progress = func(now stress.LoadProgress) {
		line := progressLine(now, whole)
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 && width <= len(line) {
			line = line[:width-1] // a line that wraps could not be rewritten
		}
		fmt.Fprint(file, eraseLine+line)
	}
	return progress, func() { fmt.Fprint(file, eraseLine) }
}

// progressLine begins with what matters most, since a narrow terminal cuts it.
func progressLine(p stress.LoadProgress, whole time.Duration) string {
	latency := "p50 - p99 -"
	if p.Now.P50 != nil && p.Now.P99 != nil {
		latency = fmt.Sprintf("p50 %.1f p99 %.1f ms", *p.Now.P50, *p.Now.P99)
	}
	return fmt.Sprintf("%.1f/%.0f s  offered %.0f/s  201 %.0f/s  %s  refused %.0f/s  failed %.0f/s  waiting %d",
		p.Elapsed.Seconds(), whole.Seconds(), p.Now.Offered, p.Now.Accepted, latency,
		p.Now.Refused, p.Now.Failed, p.InFlight)
}

// plotFile is where the plot goes; the nil one is none.
type plotFile struct{ *os.File }

// openPlot makes the file before the load, so that a wrong path fails at once: nil
// when no plot is wanted.
func openPlot(path string) (*plotFile, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Create(path) //nolint:gosec // the caller's own choice
	if err != nil {
		return nil, usagef("--plot: %w", err)
	}
	return &plotFile{file}, nil
}

func (p *plotFile) write(report stress.LoadReport) error {
	if p == nil {
		return nil
	}
	return report.Plot(p)
}

func (p *plotFile) close() error {
	if p == nil {
		return nil
	}
	return p.Close()
}
