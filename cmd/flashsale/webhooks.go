package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func (sh *shell) webhooks() *cobra.Command {
	return group("webhooks", "Work on outgoing events", sh.webhooksList(), sh.webhooksRedeliver())
}

func (sh *shell) webhooksList() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show all endpoints and what is on its way there",
		Long: `Show all endpoints that events are sent to, whether they are enabled or why not, how
many deliveries are on their way or were given up, and how old the oldest is that
is on its way.`,
		Example: `  flashsale webhooks list
  flashsale webhooks list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sh.runWebhooksList(cmd.Context(), asJSON) },
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// endpointJSON is an endpoint's survey for a machine.
type endpointJSON struct {
	ID             sale.EndpointID  `json:"id"`
	URL            string           `json:"url"`
	Types          []sale.EventType `json:"types"`
	Status         string           `json:"status"`
	DisabledReason string           `json:"disabled_reason,omitempty"`
	FailingSince   *time.Time       `json:"failing_since,omitempty"`
	Pending        int64            `json:"pending"`
	GivenUp        int64            `json:"given_up"`
	OldestSeconds  int64            `json:"oldest_pending_seconds"`
}

func endpointJSONOf(survey action.EndpointSurvey) endpointJSON {
	status := "enabled"
	if survey.DisabledAt != nil {
		status = "disabled"
	}
	return endpointJSON{
		ID: survey.ID, URL: survey.URL, Types: survey.Types, Status: status, DisabledReason: survey.DisabledReason,
		FailingSince: survey.FailingSince, Pending: survey.Pending, GivenUp: survey.GivenUp,
		OldestSeconds: int64(survey.Oldest / time.Second),
	}
}

func (sh *shell) runWebhooksList(ctx context.Context, asJSON bool) error {
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	surveys, err := core.Actions.SurveyEndpoints.Do(ctx)
	if err = errors.Join(err, core.Close()); err != nil {
		return fmt.Errorf("listing webhook endpoints: %w", err)
	}
	list := make([]endpointJSON, len(surveys))
	for i, survey := range surveys {
		list[i] = endpointJSONOf(survey)
	}
	if asJSON {
		return sh.printJSON(list)
	}
	return sh.printEndpoints(list)
}

func (sh *shell) printEndpoints(list []endpointJSON) error {
	table := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	rows := "ENDPOINT\tURL\tSTATUS\tPENDING\tGIVEN UP\tOLDEST\tREASON\n"
	for _, e := range list {
		rows += fmt.Sprintf("%s\t%s\t%s\t%d\t%d\t%s\t%s\n", e.ID, e.URL, e.Status, e.Pending, e.GivenUp,
			time.Duration(e.OldestSeconds)*time.Second, e.DisabledReason)
	}
	if _, err := table.Write([]byte(rows)); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// redeliverFlags are what webhooks redeliver is called with.
type redeliverFlags struct {
	endpoint, event string
	since           time.Duration
	json            bool
}

func (sh *shell) webhooksRedeliver() *cobra.Command {
	var flags redeliverFlags
	cmd := &cobra.Command{
		Use:   "redeliver",
		Short: "Send events to an endpoint again, and enable it",
		Long: `Make deliveries to an endpoint due at once, as if none had been tried, and enable the
endpoint if it was disabled. The running servers then send them.

With --event that one event is sent, whatever became of it or becomes of an attempt
that is under way. With --since those of that while are sent that the endpoint wants
and did not take: on their way, given up, or told while it was disabled. Events keep
their ids, so a reader that tells repetitions by webhook-id is safe.`,
		Example: `  flashsale webhooks redeliver --endpoint whe_01k0xw3v7be6v8r1q2t3y4z5a6 --since 24h
  flashsale webhooks redeliver --endpoint whe_01k0xw3v7be6v8r1q2t3y4z5a6 --event evt_01k0xw3v7be6v8r1q2t3y4z5a6 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return sh.runWebhooksRedeliver(cmd.Context(), flags) },
	}
	cmd.Flags().StringVar(&flags.endpoint, "endpoint", "", "the endpoint's id (required)")
	cmd.Flags().StringVar(&flags.event, "event", "", "the id of the one event to send")
	cmd.Flags().DurationVar(&flags.since, "since", 0, "how long ago the first of the events to send happened, such as 24h")
	jsonFlag(cmd, &flags.json)
	return cmd
}

// input reads the flags.
func (f redeliverFlags) input() (action.RedeliverInput, error) {
	in := action.RedeliverInput{Since: f.since}
	var err error
	if in.Endpoint, err = sale.ParseEndpointID(f.endpoint); err != nil {
		return in, usagef("--endpoint: %w", err)
	}
	if (f.event == "") == (f.since == 0) {
		return in, usagef("give either --event or --since")
	}
	if f.since < 0 {
		return in, usagef("--since must be more than 0, not %s", f.since)
	}
	if f.event == "" {
		return in, nil
	}
	event, err := sale.ParseEventID(f.event)
	if err != nil {
		return in, usagef("--event: %w", err)
	}
	in.Event = &event
	return in, nil
}

func (sh *shell) runWebhooksRedeliver(ctx context.Context, flags redeliverFlags) error {
	in, err := flags.input()
	if err != nil {
		return err
	}
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	done, err := core.Actions.Redeliver.Do(ctx, in)
	if err = errors.Join(err, core.Close()); err != nil {
		return fmt.Errorf("redelivering (%d events are due again): %w", done.Events, err)
	}
	if flags.json {
		return sh.printJSON(map[string]any{"endpoint_id": in.Endpoint, "events": done.Events, "enabled": done.Enabled})
	}
	revived := ""
	if done.Enabled {
		revived = "; the endpoint was disabled and is enabled"
	}
	return sh.printf("events due again: %d%s\n", done.Events, revived)
}
