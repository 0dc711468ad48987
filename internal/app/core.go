// Package app wires everything by hand: configuration, the pools, the actions,
// the servers and the loops, and the order in which they start and stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/telemetry"
	"github.com/flashsale-api/flashsale/internal/webhook"
)

// meter is the metrics as actions see them.
type meter struct{ *telemetry.Metrics }

// Lane is the meter of the lanes of one kind of request.
func (m meter) Lane(kind string) lane.Meter { return m.Metrics.Lane(kind) }

// Gate is the meter of the gates of one kind of request.
func (m meter) Gate(kind string) lane.QueueMeter { return m.Metrics.Gate(kind) }

// Core is the actions and what they stand on, without anything that listens or
// loops: all that a command needs.
type Core struct {
	Actions *action.Actions
	DB      *mysql.DB

	cache     *cache.Cache
	metrics   *telemetry.Metrics
	sender    *webhook.Sender
	readiness readiness
}

// Open wires a Core. It needs no server to be up: pools connect when they are
// used. The error says which part of the configuration is wrong.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Core, error) {
	metrics := telemetry.NewMetrics()
	db, err := mysql.Open(mysql.Config{
		DSN: cfg.MySQLDSN, Connections: cfg.MySQLConnections, Timeout: cfg.OperationTimeout, Log: log,
		Committed: metrics.Committed,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the MySQL pool: %w", err)
	}
	products, err := cache.Open(ctx, cache.Config{RedisURL: cfg.RedisURL, Prefix: "flashsale:", Log: log, Meter: metrics})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the cache: %w", err), db.Close())
	}
	sender := webhook.NewSender(webhook.Config{AllowPrivate: cfg.WebhookAllowPrivate, Log: log})
	kit := action.Kit{
		DB: db, Cache: products, Meter: meter{metrics}, Sender: sender, Log: log, LatePayment: cfg.LatePayment, Coalesce: cfg.Coalesce,
	}
	return &Core{Actions: action.New(kit), DB: db, cache: products, metrics: metrics, sender: sender}, nil
}

// Close closes the pools. Nothing may use the Core any more.
func (c *Core) Close() error {
	c.cache.Close()
	c.sender.Close()
	if err := c.DB.Close(); err != nil {
		return fmt.Errorf("closing the MySQL pool: %w", err)
	}
	return nil
}

// product reads one as the API's clients see it: through the cache.
func (c *Core) product(ctx context.Context, id sale.ProductID) (sale.Product, error) {
	read, err := c.Actions.GetProduct.Do(ctx, id)
	return read.Product, err
}
