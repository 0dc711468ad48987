package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
)

func (sh *shell) migrate() *cobra.Command {
	cmd := group("migrate", "Bring the database's schema to a version", sh.migrateUp(), sh.migrateDown(), sh.migrateVersion())
	cmd.Example = `  flashsale migrate up
  flashsale migrate down --steps 1
  flashsale migrate version --json`
	return cmd
}

func (sh *shell) migrateUp() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Bring the database to the newest version",
		Example: `  flashsale migrate up`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sh.onSchema(cmd.Context(), "migrating up", asJSON, app.MigrateUp)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (sh *shell) migrateDown() *cobra.Command {
	var asJSON bool
	var steps int
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take migrations back, and the data in them",
		Long: `Take the last migrations back, and with them the tables and data that they
made. There is no way back: back the database up first.`,
		Example: `  flashsale migrate down --steps 1`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if steps < 1 {
				return usagef("--steps must be at least 1, not %d", steps)
			}
			down := func(ctx context.Context, cfg app.Config) (app.Schema, error) {
				return app.MigrateDown(ctx, cfg, steps)
			}
			return sh.onSchema(cmd.Context(), "migrating down", asJSON, down)
		},
	}
	cmd.Flags().IntVar(&steps, "steps", 1, "how many migrations to take back")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (sh *shell) migrateVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Tell the database's version",
		Example: `  flashsale migrate version --json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return sh.onSchema(cmd.Context(), "reading the version", asJSON, app.ReadSchema)
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// onSchema does one thing to the schema and prints how far it is then.
func (sh *shell) onSchema(
	ctx context.Context, doing string, asJSON bool, do func(context.Context, app.Config) (app.Schema, error),
) error {
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	schema, err := do(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if asJSON {
		return sh.printJSON(schema)
	}
	note := ""
	if schema.Dirty {
		note = ", dirty: a migration stopped half-way"
	}
	return sh.printf("version %d of %d%s\n", schema.Version, schema.Latest, note)
}

func jsonFlag(cmd *cobra.Command, asJSON *bool) {
	cmd.Flags().BoolVar(asJSON, "json", false, "print JSON")
}
