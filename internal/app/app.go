package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/flashsale-api/flashsale/internal/httpapi"
	"github.com/flashsale-api/flashsale/internal/live"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/worker"
)

const (
	// stockInterval is how often changes of stock are told, where somebody listens.
	stockInterval = time.Second
	// upkeepInterval is how often what is on its way is counted, and what was on its
	// way to deleted endpoints forgotten.
	upkeepInterval = 15 * time.Second
)

// App is the service: a Core, its two servers and its loops.
type App struct {
	core     *Core
	live     *live.Hub
	door     *httpapi.Door
	log      *slog.Logger
	delay    time.Duration
	api      *http.Server
	admin    *http.Server
	apiLn    net.Listener
	adminLn  net.Listener
	workers  []func(context.Context) error
	stopping atomic.Bool
	// pause waits between 'not ready' and the drain.
	pause func(time.Duration)
}

// New wires the service, of a version that its metrics show. It neither listens nor needs
// a server to be up.
func New(ctx context.Context, cfg Config, version string, log *slog.Logger) (*App, error) {
	core, err := Open(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	core.metrics.ShowBuild(version)
	a := &App{core: core, log: log, delay: cfg.ShutdownDelay, pause: time.Sleep}
	if err := a.wire(cfg); err != nil { //nolint:contextcheck // wiring waits for nothing
		_ = core.Close() // the first error is the one to tell
		return nil, err
	}
	return a, nil
}

func (a *App) wire(cfg Config) error {
	verifier, err := payment.New(payment.Config{
		StandardSecrets: cfg.WebhookSecrets,
		StripeSecrets:   cfg.StripeWebhookSecrets,
	})
	if err != nil {
		return fmt.Errorf("reading the webhook secrets: %w", err)
	}
	a.live = live.New(live.Config{
		Read: a.core.product, Encode: httpapi.EncodeStock, Log: a.log, Meter: a.core.metrics,
	})
	a.door, err = httpapi.New(httpapi.Config{
		Actions:            a.core.Actions,
		Live:               a.live,
		Verifier:           verifier,
		Budget:             a.core.Actions.Budget,
		Ready:              a.core.ready,
		Draining:           a.stopping.Load,
		UnknownOrderStatus: cfg.UnknownOrderStatus,
		Log:                a.log,
		Meter:              a.core.metrics,
	})
	if err != nil {
		return fmt.Errorf("building the API: %w", err)
	}
	metrics := a.core.metrics
	metrics.WatchPool("mysql", a.core.DB.SQL())
	a.api = newAPIServer(cfg.Addr, a.retire(metrics.TrackInFlight(a.door)), a.log)
	a.admin = newAdminServer(cfg.AdminAddr, a.door, metrics.Handler(), a.log)
	a.workers = a.loops(cfg)
	return nil
}

// loops are what runs beside the API.
func (a *App) loops(cfg Config) []func(context.Context) error {
	metrics, actions := a.core.metrics, a.core.Actions
	loops := append(a.webhookLoops(cfg),
		worker.NewSweeper(actions.ReleaseExpired, cfg.SweepInterval, a.log, metrics).Run)
	if cfg.AuditInterval > 0 {
		metrics.WatchAudits()
		loops = append(loops, worker.NewAuditor(actions.AuditChanged, cfg.AuditInterval, a.log, metrics).Run)
	}
	if cfg.PurgeInterval > 0 {
		loops = append(loops, worker.NewPurger(actions.Purge, cfg.Keep, cfg.PurgeInterval, a.log, metrics).Run)
	}
	return loops
}

// webhookLoops are the loops that tell the world what happened.
func (a *App) webhookLoops(cfg Config) []func(context.Context) error {
	actions, metrics := a.core.Actions, a.core.metrics
	deliverer := worker.NewDeliverer(worker.Deliveries{
		FanOut: actions.FanOutEvents.Do, Due: actions.DueEndpoints.Do,
		Claim: actions.ClaimDeliveries.Do, Send: actions.SendDelivery.Do, Record: actions.RecordAttempts.Do,
	}, cfg.WebhookInterval, a.log, metrics.LoopDone(worker.DeliveryLoop))
	stock := worker.NewLoop(worker.Config{
		Name: "stock_telling", Interval: max(cfg.WebhookInterval, stockInterval), Log: a.log, Done: metrics.LoopDone("stock_telling"),
		Do: func(ctx context.Context) error {
			_, err := actions.TellStock.Do(ctx)
			return err
		},
	})
	upkeep := worker.NewLoop(worker.Config{
		Name: "webhook_upkeep", Interval: max(cfg.WebhookInterval, upkeepInterval), Log: a.log, Done: metrics.LoopDone("webhook_upkeep"),
		Do: func(ctx context.Context) error {
			_, err := actions.SurveyEndpoints.Do(ctx)
			return errors.Join(err, actions.PurgeEndpoints.Do(ctx))
		},
	})
	return []func(context.Context) error{deliverer.Run, stock.Run, upkeep.Run}
}

// Addr is where the API listens. Listen must have returned.
func (a *App) Addr() net.Addr { return a.apiLn.Addr() }

// Close closes the pools. Run must have returned.
func (a *App) Close() error { return a.core.Close() }
