package stress

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// Limits of a load.
const (
	MaxRate      = 100_000 // requests a second
	MaxBuyers    = 10_000_000
	MaxProducts  = 1000
	MinDuration  = time.Second
	MaxDuration  = time.Hour
	MaxInFlight  = 4096 // requests that wait for their answer at once
	holdQuantity = 1    // units that each request asks for
)

const (
	// HoldMargin is how much longer than the load its holds last, so that none of
	// them expires before the audit.
	HoldMargin = 15 * time.Minute
	// auditTimeout bounds the audit.
	auditTimeout = 2 * time.Minute
)

// LoadPlan is what is offered to a server. Each request asks for one unit for
// one customer; products and customers take turns.
type LoadPlan struct {
	URL      string
	Rate     int64 // requests a second
	Buyers   int64 // different customers
	Products int   // that are made for the load
	Stock    int64 // of each
	Duration time.Duration
	// Progress is told, by one goroutine, how it goes. It may be nil.
	Progress func(LoadProgress)
}

// Counter reads what became of a product's units.
type Counter interface {
	Count(ctx context.Context, product sale.ProductID) (Count, error)
}

// Load makes products of its own on the server, offers it requests for holds on
// schedule, however slow the answers are, and audits what came of them. audit
// counts the units; nil: the API. When ctx ends, nothing more is sent, but what
// is under way is waited for and audited. The error says that the load could not
// start; books that do not balance are Report.Audit.Passed false.
func Load(ctx context.Context, plan LoadPlan, audit Counter) (LoadReport, error) {
	target, err := newTarget(plan)
	if err != nil {
		return LoadReport{}, err
	}
	defer target.close()
	if audit == nil {
		audit = target.remote
	}
	if err := target.open(ctx, plan, "LOAD-"+rand.Text()); err != nil {
		return LoadReport{}, err
	}
	if _, err := audit.Count(ctx, target.products[0]); err != nil {
		return LoadReport{}, fmt.Errorf("trying the audit on a product that the server has just made: %w", err)
	}
	run := loadRun{
		plan: plan, schedule: schedule{rate: plan.Rate, duration: plan.Duration},
		record: newRecorder(plan.Products), fire: target.fire,
	}
	report := run.do(ctx)
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	report.Audit = auditLoad(late, audit, plan.Stock, target.products, run.record.perProduct)
	return report, nil
}

// loadRun is one load while it runs.
type loadRun struct {
	plan     LoadPlan
	schedule schedule
	record   *recorder
	fire     func(ctx context.Context, n int64) answer
	began    time.Time
}

// do sends all requests and waits for their answers.
func (l *loadRun) do(ctx context.Context) LoadReport {
	requests := context.WithoutCancel(ctx) // what was sent is waited for
	workers := newCrew(MaxInFlight, func(n int64) { l.record.add(l.request(requests, n)) })
	l.began = time.Now()
	done, points := make(chan struct{}), make(chan []LoadPoint, 1)
	go func() { points <- l.watch(done, workers) }()
	l.schedule.pace(ctx, l.began, func(n int64) { l.record.offer(workers.send(n)) })
	workers.finish()
	elapsed := max(time.Since(l.began), 1)
	close(done)
	report := l.record.report(l.plan, elapsed)
	report.Timeline = <-points
	report.Interrupted = report.Offered < l.schedule.count()
	return report
}

// request sends one request. Its time counts from when it was to be sent.
func (l *loadRun) request(ctx context.Context, n int64) answer {
	intended := l.began.Add(l.schedule.due(n))
	lag := time.Since(intended)
	result := l.fire(ctx, n)
	result.lag, result.latency = lag, time.Since(intended)
	return result
}
