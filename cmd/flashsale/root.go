package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/telemetry"
)

// The exit codes.
const (
	exitFine   = 0
	exitFailed = 1 // what was asked for failed, or a proof did not hold
	exitUsage  = 2 // wrong usage or configuration
)

// usageError is a failure that another way of calling would avoid.
type usageError struct{ error }

// Unwrap gives the cause.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program but its exit: it prints a failure once, on stderr,
// and returns the exit code.
func (sh *shell) run(ctx context.Context, args []string) int {
	root := sh.root() //nolint:contextcheck // commands get theirs from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitFine
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(sh.err, "flashsale: %s\n", strings.TrimSuffix(line, "\n"))
	}
	var usage usageError
	if !sh.running || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func (sh *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "flashsale",
		Short: "A flash sale API that never oversells, and the tools around it",
		Long: `A flash sale API that never oversells, and the tools around it.

Configuration comes from environment variables that start with FLASHSALE_;
README.md lists them all. Exit codes: 0 fine, 1 what was asked for failed or a
proof did not hold, 2 wrong usage or configuration.`,
		Example: `  flashsale migrate up
  flashsale serve
  flashsale stress inventory --processes 30 --stock 10
  flashsale audit --json`,
		SilenceErrors:    true,
		SilenceUsage:     true,
		PersistentPreRun: func(*cobra.Command, []string) { sh.running = true },
	}
	root.SetIn(sh.in)
	root.SetOut(sh.out)
	root.SetErr(sh.err)
	root.AddCommand(sh.serve(), sh.migrate(), sh.demo(), sh.stress(), sh.holds(), sh.webhooks(), sh.audit(),
		sh.healthcheck(), sh.version())
	root.InitDefaultHelpCmd()
	for _, command := range root.Commands() {
		if command.Name() == "help" {
			// The library's own is content with anything.
			command.Args, command.Example = aCommand, "  flashsale help migrate up"
		}
	}
	return root
}

// aCommand refuses arguments that are not the path of a command.
func aCommand(cmd *cobra.Command, path []string) error {
	if _, rest, err := cmd.Root().Find(path); err != nil || len(rest) > 0 {
		return usagef("there is no command %q", strings.Join(path, " "))
	}
	return nil
}

// group makes a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	names := make([]string, len(commands))
	for i, command := range commands {
		names[i] = command.Name()
	}
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%s needs a command: %s", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// config reads the configuration. The required variables must be set.
func (sh *shell) config(required ...string) (app.Config, error) {
	cfg, err := app.LoadConfig(sh.environ, required...)
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// logger writes to stderr, as configured.
func (sh *shell) logger(cfg app.Config) (*slog.Logger, error) {
	log, err := telemetry.NewLogger(sh.err, cfg.LogFormat, cfg.LogLevel)
	if err != nil {
		return nil, usageError{err}
	}
	return log, nil
}

// openCore opens what a command works on. What the command did is its output,
// so the log only tells of trouble, unless all is wanted.
func (sh *shell) openCore(ctx context.Context, cfg app.Config) (*app.Core, error) {
	if cfg.LogLevel == "info" {
		cfg.LogLevel = "warn"
	}
	log, err := sh.logger(cfg)
	if err != nil {
		return nil, err
	}
	return app.Open(ctx, cfg, log)
}

// printJSON writes one value for a machine to read.
func (sh *shell) printJSON(value any) error {
	encoder := json.NewEncoder(sh.out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("printing JSON: %w", err)
	}
	return nil
}

// printf writes a line for a person to read.
func (sh *shell) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(sh.out, format, args...); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}
