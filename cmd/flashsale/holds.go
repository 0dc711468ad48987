package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
)

func (sh *shell) holds() *cobra.Command {
	return group("holds", "Work on holds", sh.holdsRelease())
}

func (sh *shell) holdsRelease() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Put the units of all overdue holds and unpaid orders back on sale",
		Long: `Put the units of all overdue holds and unpaid orders back on sale: one sweep, as
the server makes it every FLASHSALE_SWEEP_INTERVAL. Units go back exactly once,
however many sweeps run at the same time.`,
		Example: `  flashsale holds release
  flashsale holds release --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sh.runHoldsRelease(cmd.Context(), asJSON)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (sh *shell) runHoldsRelease(ctx context.Context, asJSON bool) error {
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	log, err := sh.logger(cfg)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	released, err := core.Actions.ReleaseExpired.Do(ctx)
	// A sweep that failed may have given some back.
	log.InfoContext(ctx, "holds.released",
		"stock_restored", released.StockRestored, "holds", released.Holds, "orders", released.Orders)
	if err = errors.Join(err, core.Close()); err != nil {
		return fmt.Errorf("releasing what is overdue: %w", err)
	}
	if asJSON {
		return sh.printJSON(map[string]int64{
			"stock_restored": released.StockRestored, "holds": released.Holds, "orders": released.Orders,
		})
	}
	return sh.printf("stock_restored %d (lines of holds: %d, lines of orders: %d)\n",
		released.StockRestored, released.Holds, released.Orders)
}
