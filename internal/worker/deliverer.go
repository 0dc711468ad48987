package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// DeliveryLoop is the name of the loop that delivers events.
const DeliveryLoop = "delivery"

// deliverySlots is how many attempts one process makes at once at one endpoint. Each
// attempt that hangs takes one of them until it ends.
const deliverySlots = 16

// Deliveries are the actions that a Deliverer calls.
type Deliveries struct {
	FanOut func(ctx context.Context) (action.FannedOut, error)
	Due    func(ctx context.Context) ([]sale.EndpointID, error)
	Claim  func(ctx context.Context, endpoint sale.EndpointID, limit int) ([]action.Delivery, error)
	Send   func(ctx context.Context, delivery action.Delivery) action.Attempt
	Record func(ctx context.Context, endpoint sale.EndpointID, attempts []action.Attempt) error
}

// Deliverer sends events to endpoints. Each endpoint that something is due for has a
// goroutine of its own, and each attempt too: one that hangs holds up nobody else.
type Deliverer struct {
	do       Deliveries
	interval time.Duration
	log      *slog.Logger
	loop     *Loop

	running sync.WaitGroup
	mu      sync.Mutex
	busy    map[sale.EndpointID]bool
}

// NewDeliverer makes a Deliverer that does nothing before Run. It looks for new events
// at the interval; while an endpoint has more to get, it is not waited for.
func NewDeliverer(do Deliveries, interval time.Duration, log *slog.Logger, done func(error, time.Duration)) *Deliverer {
	d := &Deliverer{do: do, interval: interval, log: log, busy: map[sale.EndpointID]bool{}}
	d.loop = NewLoop(Config{Name: DeliveryLoop, Interval: interval, Do: d.look, Log: log, Done: done})
	return d
}

// Run delivers until ctx ends. Attempts that are going on are then cut off.
func (d *Deliverer) Run(ctx context.Context) error {
	defer d.running.Wait()
	return d.loop.Run(ctx)
}

// look fans out what is new and sees to it that each endpoint with something due is
// served, after each batch again: however much is new, what is due does not wait for it.
// What cannot be fanned out does not stop what was before.
func (d *Deliverer) look(ctx context.Context) error {
	for {
		fannedOut, fanOutErr := d.do.FanOut(ctx)
		err := errors.Join(fanOutErr, d.begin(ctx))
		if err != nil || !fannedOut.More || ctx.Err() != nil {
			return err
		}
	}
}

// begin serves the endpoints that something is due for and that are not served yet.
func (d *Deliverer) begin(ctx context.Context) error {
	endpoints, err := d.do.Due(ctx)
	for _, id := range endpoints {
		if d.take(id) {
			d.running.Go(func() {
				defer d.end(id)
				d.serve(ctx, id)
			})
		}
	}
	return err
}

func (d *Deliverer) take(id sale.EndpointID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[id] {
		return false
	}
	d.busy[id] = true
	return true
}

func (d *Deliverer) end(id sale.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, id)
}

// serve makes attempts at one endpoint until nothing is due. It claims as many as there
// are free slots, again whenever some ended or the interval has passed. What ended
// meanwhile is recorded together.
func (d *Deliverer) serve(ctx context.Context, id sale.EndpointID) {
	free, ended := deliverySlots, make(chan action.Attempt, deliverySlots)
	timer := time.NewTimer(d.interval)
	defer timer.Stop()
	for ctx.Err() == nil {
		for _, delivery := range d.claim(ctx, id, free) {
			free--
			go func() { ended <- d.send(ctx, delivery) }()
		}
		if free == deliverySlots {
			return
		}
		timer.Reset(d.interval)
		select {
		case first := <-ended:
			free += d.record(ctx, id, first, ended)
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	for free < deliverySlots {
		free += d.record(ctx, id, <-ended, ended)
	}
}

// record records an attempt and those that ended too by now, and gives how many.
func (d *Deliverer) record(ctx context.Context, id sale.EndpointID, first action.Attempt, ended <-chan action.Attempt) int {
	attempts := []action.Attempt{first}
	for more := true; more; {
		select {
		case next := <-ended:
			attempts = append(attempts, next)
		default:
			more = false
		}
	}
	d.report(ctx, id, safely(func() error { return d.do.Record(ctx, id, attempts) }))
	return len(attempts)
}

// send makes an attempt. One that panics is left to its lease.
func (d *Deliverer) send(ctx context.Context, delivery action.Delivery) action.Attempt {
	attempt := action.Attempt{Delivery: delivery, CutOff: true}
	d.report(ctx, delivery.EndpointID, safely(func() error {
		attempt = d.do.Send(ctx, delivery)
		return nil
	}))
	return attempt
}

func (d *Deliverer) claim(ctx context.Context, id sale.EndpointID, limit int) []action.Delivery {
	if limit == 0 {
		return nil
	}
	var claimed []action.Delivery
	err := safely(func() (err error) {
		claimed, err = d.do.Claim(ctx, id, limit)
		return err
	})
	d.report(ctx, id, err)
	return claimed
}

// report tells of what failed on this side. It will be tried again: a claim at the next
// look, an attempt when its lease is over.
func (d *Deliverer) report(ctx context.Context, id sale.EndpointID, err error) {
	if err != nil && ctx.Err() == nil {
		d.log.ErrorContext(ctx, "delivery.failed", slog.String("endpoint_id", id.String()), slog.Any("error", err))
	}
}
