package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/demo"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/stress"
)

// workerConnections are enough for one request at a time.
const workerConnections = 2

func (sh *shell) stress() *cobra.Command {
	return group("stress", "Prove under load that the service keeps its promises", sh.stressInventory(), sh.stressLoad(), sh.stressWorker())
}

// inventoryFlags are what stress inventory is called with.
type inventoryFlags struct {
	processes int
	stock     int64
	url       string
	selfCheck bool
	json      bool
}

func (sh *shell) stressInventory() *cobra.Command {
	var flags inventoryFlags
	cmd := &cobra.Command{
		Use:   "inventory",
		Short: "Prove with many processes at once that nothing is oversold, or exit 1",
		Long: `Make a product, let many operating system processes hold one unit of it at the same
moment, and count by SQL: every unit has to be held exactly once, everybody else
refused, and the books balanced. Exit code 1 when it is not so.

Straight on MySQL by default, with no HTTP and no Redis. With --url through a
server; the books are then still audited by SQL when FLASHSALE_MYSQL_DSN is set.

--self-check first lets the same processes sell as it must not be done (read the
stock, then write one less) from a table of its own, stress_self_check, and exits
1 unless the count catches it: so the proof is known to bite.`,
		Example: `  flashsale stress inventory --processes 30 --stock 10
  flashsale stress inventory --self-check --json
  flashsale stress inventory --url http://localhost:8080`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			return sh.runStressInventory(cmd.Context(), flags)
		},
	}
	cmd.Flags().IntVar(&flags.processes, "processes", 30,
		fmt.Sprintf("how many processes ask at once, %d to %d", stress.MinProcesses, stress.MaxProcesses))
	cmd.Flags().Int64Var(&flags.stock, "stock", 10, "how many units there are")
	cmd.Flags().StringVar(&flags.url, "url", "", "the server to ask, such as http://localhost:8080 (default: straight on MySQL)")
	cmd.Flags().BoolVar(&flags.selfCheck, "self-check", false, "first see that the proof catches an unsafe sale")
	jsonFlag(cmd, &flags.json)
	return cmd
}

func (f inventoryFlags) check() error {
	if f.processes < stress.MinProcesses || f.processes > stress.MaxProcesses {
		return usagef("--processes must be from %d to %d, not %d", stress.MinProcesses, stress.MaxProcesses, f.processes)
	}
	if f.selfCheck && f.processes < stress.MinSelfCheck {
		return usagef("--self-check needs --processes %d or more: one process alone loses no update", stress.MinSelfCheck)
	}
	least := int64(0)
	if f.selfCheck {
		least = 1 // nothing can be oversold unsafely when nothing is there
	}
	if f.stock < least || f.stock > sale.MaxStock {
		return usagef("--stock must be from %d to %d, not %d", least, sale.MaxStock, f.stock)
	}
	if f.url != "" {
		if err := demo.CheckBaseURL(f.url); err != nil {
			return usagef("--url: %w", err)
		}
	}
	return nil
}

// inventoryReport is what stress inventory prints as JSON.
type inventoryReport struct {
	stress.Report
	SelfCheck *selfCheckReport `json:"self_check,omitempty"`
}

type selfCheckReport struct {
	stress.Report
	Caught bool `json:"caught"`
}

func (sh *shell) runStressInventory(ctx context.Context, flags inventoryFlags) error {
	places, err := sh.openPlaces(ctx, flags)
	if err != nil {
		return err
	}
	return errors.Join(sh.prove(ctx, flags, places), places.close())
}

// places are where units are held and where they are counted.
type places struct {
	core  *app.Core // nil without a database
	shop  stress.Shop
	audit stress.Shop
}

func (p places) close() error {
	if p.core == nil {
		return nil
	}
	return p.core.Close()
}

// openPlaces needs a database unless a server does all.
func (sh *shell) openPlaces(ctx context.Context, flags inventoryFlags) (places, error) {
	var required []string
	if flags.url == "" || flags.selfCheck {
		required = []string{app.EnvMySQLDSN}
	}
	cfg, err := sh.config(required...)
	if err != nil {
		return places{}, err
	}
	var p places
	if cfg.MySQLDSN != "" {
		if p.core, err = sh.openCore(ctx, bare(cfg)); err != nil {
			return places{}, err
		}
		direct := stress.Direct{Actions: p.core.Actions, Ping: p.core.DB.Ping}
		p.shop, p.audit = direct, direct
	}
	if flags.url == "" {
		return p, nil
	}
	remote, err := stress.NewRemote(flags.url)
	if err != nil {
		return places{}, errors.Join(err, p.close())
	}
	p.shop = remote
	if p.audit == nil {
		p.audit = remote
	}
	return p, nil
}

// bare is MySQL alone, with few connections.
func bare(cfg app.Config) app.Config {
	cfg.RedisURL, cfg.MySQLConnections = "", workerConnections
	return cfg
}

// prove runs the self-check, if it is wanted, and the proof, and reports both.
func (sh *shell) prove(ctx context.Context, flags inventoryFlags, p places) error {
	var result inventoryReport
	if flags.selfCheck {
		report, err := stress.SelfCheck(ctx, sh.plan(flags, "self-check"), p.core.DB.SQL())
		if err != nil {
			return fmt.Errorf("checking the proof itself: %w", err)
		}
		result.SelfCheck = &selfCheckReport{Report: report, Caught: !report.Passed}
	}
	report, err := stress.Inventory(ctx, sh.plan(flags, "proof"), flags.url, p.shop, p.audit)
	if err != nil {
		return fmt.Errorf("running the proof: %w", err)
	}
	result.Report = report
	return errors.Join(sh.printInventory(flags, result), result.failure())
}

// failure says what does not hold.
func (r inventoryReport) failure() error {
	var faults []error
	if r.SelfCheck != nil && !r.SelfCheck.Caught {
		faults = append(faults, errors.New("the proof does not bite: it did not catch an unsafe sale"))
	}
	if !r.Passed {
		faults = append(faults, errors.New("the units were not sold exactly once"))
	}
	return errors.Join(faults...)
}

func (sh *shell) printInventory(flags inventoryFlags, result inventoryReport) error {
	if flags.json {
		return sh.printJSON(result)
	}
	if check := result.SelfCheck; check != nil {
		err := sh.printf("self-check: an unsafe sale sold %d of %d and left %d: caught: %s\n\n",
			check.Found.Holds, check.Stock, check.Found.Available, yesNo(check.Caught))
		if err != nil {
			return err
		}
	}
	way := "straight on MySQL"
	if flags.url != "" {
		way = "through " + flags.url
	}
	if err := sh.printf("%d processes at once, stock %d, %s\n\n", flags.processes, flags.stock, way); err != nil {
		return err
	}
	return result.Print(sh.out)
}

// plan starts workers from this very executable, and shows a progress bar where
// somebody sees it.
func (sh *shell) plan(flags inventoryFlags, title string) stress.Plan {
	return stress.Plan{
		Processes: flags.processes,
		Stock:     flags.stock,
		Launch:    sh.launch,
		Progress:  sh.progress(title),
	}
}

func (sh *shell) launch(ctx context.Context) (*exec.Cmd, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this executable: %w", err)
	}
	cmd := exec.CommandContext(ctx, executable, "stress", workerName) //nolint:gosec // this very program
	cmd.Env = sh.environ
	return cmd, nil
}

// progress draws on stderr if it is a terminal.
func (sh *shell) progress(title string) func(done, all int) {
	file, ok := sh.err.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	var bar *progressbar.ProgressBar
	return func(done, all int) {
		if bar == nil {
			bar = progressbar.NewOptions(all, progressbar.OptionSetWriter(file),
				progressbar.OptionSetDescription(title), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(done) // only for the eye
	}
}

// workerName is the command that becomes one of the processes.
const workerName = "worker"

func (sh *shell) stressWorker() *cobra.Command {
	return &cobra.Command{
		Use:    workerName,
		Short:  "Be one of the processes of stress inventory, which talks to it",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return sh.runStressWorker(cmd.Context()) },
	}
}

func (sh *shell) runStressWorker(ctx context.Context) (err error) {
	cfg, err := sh.config()
	if err != nil {
		return err
	}
	var core *app.Core
	prepare := func(task stress.Task) (stress.Worker, error) {
		if task.URL != "" {
			remote, err := stress.NewRemote(task.URL)
			if err != nil {
				return stress.Worker{}, err
			}
			return stress.NewHolder(remote, task)
		}
		var err error
		if core, err = app.Open(ctx, bare(cfg), slog.New(slog.DiscardHandler)); err != nil {
			return stress.Worker{}, err
		}
		if task.Unsafe {
			return stress.NewUnsafe(core.DB.SQL()), nil
		}
		return stress.NewHolder(stress.Direct{Actions: core.Actions, Ping: core.DB.Ping}, task)
	}
	defer func() {
		if core != nil {
			err = errors.Join(err, core.Close())
		}
	}()
	return stress.Work(ctx, sh.in, sh.out, prepare)
}
