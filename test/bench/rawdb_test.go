//go:build linux

package bench

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// rawConnections are as many batches as the engine has under way: one commits,
// the next one writes its rows.
const rawConnections = 2

// rawDB writes the rows that the engine writes, in batches of the same size, from
// a bare loop over the driver: what the database can do, and nothing else.
type rawDB struct {
	pool    *sql.DB
	queries *store.Queries
	product store.Product // as it was made
	batch   int
	kind    keyKind
	pids    pids
}

// run writes batches for warm and window, and counts those of the window.
func (r *rawDB) run(ctx context.Context, warm, window time.Duration) (*load, error) {
	from := time.Now().Add(warm)
	to := from.Add(window)
	sum := &load{window: map[int]int{}, all: map[int]int{}, took: window}
	var mu sync.Mutex
	var failed error
	var running sync.WaitGroup
	for range rawConnections {
		running.Go(func() {
			for time.Now().Before(to) {
				err := r.write(ctx)
				ended := time.Now()
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
					mu.Unlock()
					return
				}
				sum.all[http.StatusCreated] += r.batch
				if ended.After(from) && !ended.After(to) {
					sum.window[http.StatusCreated] += r.batch
				}
				mu.Unlock()
			}
		})
	}
	time.Sleep(time.Until(from))
	before := r.pids.usage()
	time.Sleep(time.Until(to))
	sum.processor = r.pids.usage().since(before)
	running.Wait()
	return sum, failed
}

func (r *rawDB) write(ctx context.Context) (err error) {
	tx, err := r.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error says more
		}
	}()
	now := time.Now().UTC()
	if r.kind == arbitraryKeys {
		if err := r.writeKeys(ctx, tx, now); err != nil {
			return err
		}
	}
	ids := make([]sale.HoldID, r.batch)
	for i := range ids {
		ids[i] = sale.NewHoldID(r.product.ID)
	}
	slices.SortFunc(ids, sale.HoldID.Compare)
	var args []any
	for _, id := range ids {
		args = lineArgs(args, id, r.product.ID, "buyer-"+word(), now)
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertHoldLine, r.batch), args...); err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	_, err = r.queries.ReserveStock(ctx, tx, store.ReserveStockParams{
		Quantity: int64(r.batch), Now: now, ID: r.product.ID, RulesVersion: r.product.RulesVersion,
		PriceAmount: r.product.PriceAmount, Currency: r.product.Currency, PerCustomerLimit: r.product.PerCustomerLimit,
		HoldTtlSeconds: r.product.HoldTtlSeconds, PaymentWindowSeconds: r.product.PaymentWindowSeconds,
	})
	if err != nil {
		return fmt.Errorf("take the units: %w", err)
	}
	_, err = r.queries.RecordMovement(ctx, tx, store.RecordMovementParams{
		Delta: int64(-r.batch), Reason: sale.MovementHeld, CreatedAt: now, ID: r.product.ID,
	})
	if err != nil {
		return fmt.Errorf("write the movement: %w", err)
	}
	return tx.Commit()
}

func (r *rawDB) writeKeys(ctx context.Context, tx *sql.Tx, now time.Time) error {
	keys := make([][]byte, r.batch)
	for i := range keys {
		keys[i] = []byte(word())
	}
	slices.SortFunc(keys, bytes.Compare)
	var args []any
	for _, key := range keys {
		args = append(args, key, key, key, now)
	}
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(store.InsertIdempotencyKey, r.batch), args...); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	return nil
}

func openRawDB(dsn string) (*mysql.DB, error) {
	return mysql.Open(mysql.Config{DSN: dsn, Connections: rawConnections, Log: slog.New(slog.DiscardHandler)})
}
