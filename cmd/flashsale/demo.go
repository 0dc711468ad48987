package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/demo"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const defaultURL = "http://localhost:8080"

func (sh *shell) demo() *cobra.Command {
	return group("demo", "Show what the service does", sh.demoSetup(), sh.demoWebhook())
}

// setupFlags are what demo setup is called with.
type setupFlags struct {
	wipe          bool
	url, adminURL string
	json          bool
}

func (sh *shell) demoSetup() *cobra.Command {
	var flags setupFlags
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Wipe the database, fill it with demo products, print curl lines",
		Long: `Migrate the database, delete everything in the service's tables, make products that
show what a flash sale is about, and print a curl line for every endpoint, with
real ids and rightly signed webhooks. Above each line stands the status that it
answers with when the lines are run from top to bottom, once, right after this.

It refuses, with exit code 2, unless --wipe is given or FLASHSALE_ALLOW_WIPE is
true. It needs a secret in FLASHSALE_WEBHOOK_SECRETS, the server's, to sign with;
a signature holds for 5 minutes: 'flashsale demo webhook' prints a fresh one.`,
		Example: `  flashsale demo setup --wipe
  flashsale demo setup --wipe --url http://localhost:8080 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sh.runDemoSetup(cmd.Context(), flags) },
	}
	cmd.Flags().BoolVar(&flags.wipe, "wipe", false, "yes, everything in this database may be deleted")
	cmd.Flags().StringVar(&flags.url, "url", defaultURL, "the server that the lines speak to")
	cmd.Flags().StringVar(&flags.adminURL, "admin-url", "http://localhost:9090", "its admin address")
	jsonFlag(cmd, &flags.json)
	return cmd
}

func (sh *shell) runDemoSetup(ctx context.Context, flags setupFlags) error {
	for name, value := range map[string]string{"--url": flags.url, "--admin-url": flags.adminURL} {
		if err := demo.CheckBaseURL(value); err != nil {
			return usagef("%s: %w", name, err)
		}
	}
	cfg, err := sh.config(app.EnvMySQLDSN, app.EnvWebhookSecrets)
	if err != nil {
		return err
	}
	if !flags.wipe && !cfg.AllowWipe {
		return usagef("this deletes everything in the database: say --wipe, or set %s=true", app.EnvAllowWipe)
	}
	if _, err := app.MigrateUp(ctx, cfg); err != nil {
		return fmt.Errorf("migrating up: %w", err)
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(sh.setUp(ctx, core, cfg, flags), core.Close())
}

func (sh *shell) setUp(ctx context.Context, core *app.Core, cfg app.Config, flags setupFlags) error {
	if err := demo.Wipe(ctx, core.DB.SQL()); err != nil {
		return err
	}
	now := time.Now()
	scene, err := demo.Seed(ctx, core.Actions, now)
	if err != nil {
		return err
	}
	opts := demo.Options{
		BaseURL:            strings.TrimRight(flags.url, "/"),
		AdminURL:           strings.TrimRight(flags.adminURL, "/"),
		WebhookSecret:      cfg.WebhookSecrets[0],
		UnknownOrderStatus: cfg.UnknownOrderStatus,
	}
	chapters, err := demo.Tell(scene, opts, now)
	if err != nil {
		return err
	}
	if flags.json {
		return sh.printJSON(demo.Describe(scene, chapters))
	}
	return sh.printf("%s", demo.Text(scene, chapters, opts))
}

// webhookFlags are what demo webhook is called with.
type webhookFlags struct {
	order, kind, payment, url string
	json                      bool
}

func (sh *shell) demoWebhook() *cobra.Command {
	var flags webhookFlags
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Print a curl line with a freshly signed payment webhook for an order",
		Long: `Print a curl line that sends a payment webhook for an order, about its whole total,
signed with the first secret in FLASHSALE_WEBHOOK_SECRETS. The signature holds for
5 minutes, and each line printed is an event of its own.`,
		Example: `  flashsale demo webhook --order ord_01k0xw3v7be6v8r1q2t3y4z5a6
  flashsale demo webhook --order ord_01k0xw3v7be6v8r1q2t3y4z5a6 --type payment.refunded`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sh.runDemoWebhook(cmd.Context(), flags) },
	}
	cmd.Flags().StringVar(&flags.order, "order", "", "the order's id (required)")
	cmd.Flags().StringVar(&flags.kind, "type", demo.WebhookTypes()[0], "one of "+strings.Join(demo.WebhookTypes(), ", "))
	cmd.Flags().StringVar(&flags.payment, "payment-id", "", "the payment's id (default: pay_ and the order's id)")
	cmd.Flags().StringVar(&flags.url, "url", defaultURL, "the server that the line speaks to")
	jsonFlag(cmd, &flags.json)
	return cmd
}

func (sh *shell) runDemoWebhook(ctx context.Context, flags webhookFlags) error {
	id, err := sale.ParseOrderID(flags.order)
	if err != nil {
		return usagef("--order: %w", err)
	}
	if !slices.Contains(demo.WebhookTypes(), flags.kind) {
		return usagef("--type must be one of %s, not %q", strings.Join(demo.WebhookTypes(), ", "), flags.kind)
	}
	if err := demo.CheckBaseURL(flags.url); err != nil {
		return usagef("--url: %w", err)
	}
	cfg, err := sh.config(app.EnvMySQLDSN, app.EnvWebhookSecrets)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(sh.printWebhook(ctx, core, cfg.WebhookSecrets[0], id, flags), core.Close())
}

func (sh *shell) printWebhook(ctx context.Context, core *app.Core, secret string, id sale.OrderID, flags webhookFlags) error {
	order, err := core.Actions.GetOrder.Do(ctx, id)
	if err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	webhook := demo.Webhook{
		EventID: sale.NewEventID().String(), Type: flags.kind, OrderID: id,
		PaymentID: flags.payment, Amount: order.Total,
	}
	request, err := webhook.Sign(strings.TrimRight(flags.url, "/"), secret, time.Now())
	if err != nil {
		return err
	}
	request.Title = fmt.Sprintf("%s for an order that is %s", flags.kind, order.Status)
	if flags.json {
		return sh.printJSON(request.Entry())
	}
	return sh.printf("%s", request.Text())
}
