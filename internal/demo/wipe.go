// Package demo fills an empty database with products that show what a flash
// sale is about, and writes curl lines that tell their story.
package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Tables are all that the service writes to. What else may live in the database
// is not the demo's to wipe.
func Tables() []string {
	return []string{
		"products", "hold_lines", "orders", "payments", "payment_events", "movements", "idempotency_keys", "outbox",
		"announcements", "webhook_endpoints", "deliveries", "stock_tellings",
	}
}

// Wipe empties every table of a migrated database. A server may run on it.
func Wipe(ctx context.Context, db *sql.DB) (err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to wipe: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, table := range Tables() {
		if _, err := conn.ExecContext(ctx, "TRUNCATE TABLE "+table); err != nil {
			return fmt.Errorf("wiping %s: %w", table, err)
		}
	}
	return nil
}
