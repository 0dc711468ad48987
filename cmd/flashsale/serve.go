package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
)

func (sh *shell) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the API until SIGINT or SIGTERM",
		Long: `Serve the API until SIGINT or SIGTERM.

It starts without its databases: /readyz says 503 until MySQL is reachable and
migrated. Redis may be missing. On a signal, /readyz turns 503, the server waits
FLASHSALE_SHUTDOWN_DELAY, lets requests in flight end, stops its loops and closes
its pools. A second signal kills at once.

GOMEMLIMIT bounds its memory, and GOGC, here 400 by default, says how much of that is
given for fewer collections.`,
		Example: `  FLASHSALE_MYSQL_DSN='flashsale:secret@tcp(localhost:3306)/flashsale' flashsale serve`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return sh.runServe(cmd.Context()) },
	}
}

func (sh *shell) runServe(ctx context.Context) error {
	app.LetHeapGrow()
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	log, err := sh.logger(cfg)
	if err != nil {
		return err
	}
	service, err := app.New(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	if err := service.Listen(ctx); err != nil {
		return errors.Join(err, service.Close())
	}
	return errors.Join(service.Run(ctx), service.Close())
}
