package action

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Attempt is a delivery that was sent, and what came of it.
type Attempt struct {
	Delivery
	Answer sale.Answer
	// CutOff says that the process is ending: that is nobody's failure.
	CutOff bool
}

// SendDelivery makes one attempt.
type SendDelivery struct{ *desk }

// Do sends a claimed delivery, outside of any transaction.
func (a *SendDelivery) Do(ctx context.Context, delivery Delivery) Attempt {
	answer := a.Sender.Send(ctx, delivery.Message)
	return Attempt{Delivery: delivery, Answer: answer, CutOff: !answer.Accepted() && ctx.Err() != nil}
}

// RecordAttempts remembers what came of attempts.
type RecordAttempts struct {
	*desk
	turns turns
}

// verdict is what recording attempts at one endpoint came to.
type verdict struct {
	results  []sale.AttemptResult // as the attempts that failed
	disabled string               // why the endpoint was disabled just now
}

// Do records attempts at one endpoint in one transaction, which ctx's end does not stop.
// What was cut off is left to its lease. So is everything after an error: the endpoint
// may have an event then and get it again.
func (a *RecordAttempts) Do(ctx context.Context, endpoint sale.EndpointID, attempts []Attempt) error {
	accepted, failed := sorted(attempts)
	if len(accepted)+len(failed) == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	end, err := a.turns.take(ctx)
	if err != nil {
		return err
	}
	defer end()
	var found verdict
	err = a.DB.Tx(ctx, nil, func(ctx context.Context, tx *mysql.Tx) error {
		found, err = a.record(ctx, tx, endpoint, accepted, failed)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording %d attempts at %s: %w", len(attempts), endpoint, err)
	}
	a.tell(ctx, endpoint, accepted, failed, found)
	return nil
}

// record takes the endpoint first, as a redelivery does, else the two could wait for each
// other. It is judged by what counts of its deliveries.
func (a *RecordAttempts) record(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, accepted, failed []Attempt,
) (verdict, error) {
	row, there, err := a.hold(ctx, tx, endpoint, accepted, failed)
	if err != nil {
		return verdict{}, err
	}
	if err := a.succeeded(ctx, tx, endpoint, accepted); err != nil {
		return verdict{}, err
	}
	counted, results, err := a.failed(ctx, tx, endpoint, failed)
	if err != nil || !there || len(counted) == 0 {
		return verdict{results: results}, err
	}
	disabled, err := a.blame(ctx, tx, row, counted)
	return verdict{results: results, disabled: disabled}, err
}

// sorted leaves out what was cut off.
func sorted(attempts []Attempt) (accepted, failed []Attempt) {
	for _, attempt := range attempts {
		switch {
		case attempt.CutOff:
		case attempt.Answer.Accepted():
			accepted = append(accepted, attempt)
		default:
			failed = append(failed, attempt)
		}
	}
	return accepted, failed
}

// hold remembers of the endpoint that it works, and takes it if it may not. There is
// nothing to take without a failure.
func (a *RecordAttempts) hold(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, accepted, failed []Attempt,
) (row store.WebhookEndpoint, there bool, err error) {
	if len(accepted) > 0 {
		if err := a.praise(ctx, tx, endpoint); err != nil {
			return row, false, err
		}
	}
	if len(failed) == 0 {
		return row, false, nil
	}
	return a.present(ctx, tx, endpoint, a.q.LockEndpoint)
}

// praise forgets an endpoint's failures. It looks without a lock first: mostly there is
// nothing to forget, and fanning out holds the endpoints.
func (a *RecordAttempts) praise(ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID) error {
	row, there, err := a.present(ctx, tx, endpoint, a.q.GetEndpoint)
	if err != nil || !there || row.FailingSince == nil {
		return err
	}
	return a.q.EndpointWorks(ctx, tx, endpoint)
}

func (a *RecordAttempts) succeeded(ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, accepted []Attempt) error {
	type alike struct {
		answer string
		asked  int64
	}
	groups := map[alike][]sale.EventID{}
	for _, attempt := range accepted {
		group := alike{attempt.Answer.String(), attempt.Asked}
		groups[group] = append(groups[group], attempt.Message.EventID)
	}
	for group, events := range groups {
		if err := a.q.RecordSuccess(ctx, tx, store.RecordSuccessParams{
			Now: &tx.Now, Answer: group.answer, EndpointID: endpoint, EventIds: events, Asked: group.asked,
		}); err != nil {
			return err
		}
	}
	return nil
}

// failed gives the failures that count, and the results of all.
func (a *RecordAttempts) failed(
	ctx context.Context, tx *mysql.Tx, endpoint sale.EndpointID, failed []Attempt,
) (counted []Attempt, results []sale.AttemptResult, err error) {
	results = make([]sale.AttemptResult, len(failed))
	for i, attempt := range failed {
		state, result := sale.DeliveryPending, sale.AttemptFailed
		if tx.Now.Sub(attempt.FirstAttemptAt) >= sale.DeadAfter {
			state, result = sale.DeliveryGivenUp, sale.AttemptGivenUp
		}
		wait := sale.RetryWait(attempt.Number, rand.Float64()) //nolint:gosec // it spreads load, it protects nothing
		recorded, err := a.q.RecordFailure(ctx, tx, store.RecordFailureParams{
			State: state, NextAttemptAt: tx.Now.Add(wait), Answer: attempt.Answer.String(), EndpointID: endpoint,
			EventID: attempt.Message.EventID, Attempts: attempt.Number, FirstAttemptAt: &attempt.FirstAttemptAt,
		})
		switch {
		case err != nil:
			return nil, nil, err
		case recorded == 0:
			results[i] = sale.AttemptFailed
		default:
			results[i], counted = result, append(counted, attempt)
		}
	}
	return counted, results, nil
}

// blame remembers that an endpoint, whose row the caller holds, fails, and disables one
// that wants no more or is dead. It gives the reason if it did.
func (a *RecordAttempts) blame(ctx context.Context, tx *mysql.Tx, row store.WebhookEndpoint, failed []Attempt) (string, error) {
	if err := a.q.EndpointFails(ctx, tx, store.EndpointFailsParams{Now: &tx.Now, ID: row.ID}); err != nil {
		return "", err
	}
	if row.DisabledAt != nil {
		return "", nil
	}
	reason := ""
	if row.FailingSince != nil && tx.Now.Sub(*row.FailingSince) >= sale.DeadAfter {
		reason = fmt.Sprintf("No attempt succeeded for %d days. The last one: %s.",
			int(sale.DeadAfter.Hours()/24), failed[len(failed)-1].Answer)
	}
	for _, attempt := range failed {
		if attempt.Answer.Gone() {
			reason = "The endpoint answered 410 Gone."
		}
	}
	if reason == "" {
		return "", nil
	}
	return reason, a.q.DisableEndpoint(ctx, tx, store.DisableEndpointParams{Now: &tx.Now, Reason: reason, ID: row.ID})
}

// tell logs and counts what was recorded.
func (a *RecordAttempts) tell(ctx context.Context, endpoint sale.EndpointID, accepted, failed []Attempt, found verdict) {
	for _, attempt := range accepted {
		a.Meter.DeliveryAttempted(sale.AttemptDelivered)
		a.Log.LogAttrs(ctx, slog.LevelDebug, "webhook.delivered", attempt.attrs()...)
	}
	for i, attempt := range failed {
		a.Meter.DeliveryAttempted(found.results[i])
		if found.results[i] == sale.AttemptGivenUp {
			a.Log.LogAttrs(ctx, slog.LevelError, "webhook.given_up", attempt.attrs()...)
		} else {
			a.Log.LogAttrs(ctx, slog.LevelWarn, "webhook.failed", attempt.attrs()...)
		}
	}
	if found.disabled != "" {
		a.Log.ErrorContext(ctx, "webhook.endpoint_disabled",
			slog.String("endpoint_id", endpoint.String()), slog.String("reason", found.disabled))
	}
}

func (a Attempt) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("endpoint_id", a.EndpointID.String()), slog.String("event_id", a.Message.EventID.String()),
		slog.String("type", string(a.Type)), slog.Int64("attempt", a.Number), slog.String("answer", a.Answer.String()),
	}
}
