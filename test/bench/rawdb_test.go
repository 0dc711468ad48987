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

// run writes batches for warm and window, and counts the members of those of the window.
func (r *rawDB) run(ctx context.Context, warm, window time.Duration, write func(context.Context) error) (*load, error) {
	from := time.Now().Add(warm)
	to := from.Add(window)
	sum := &load{window: map[int]int{}, all: map[int]int{}, took: window}
	var mu sync.Mutex
	var failed error
	var running sync.WaitGroup
	for range rawConnections {
		running.Go(func() {
			for time.Now().Before(to) {
				err := write(ctx)
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

// holds writes a batch of new holds.
func (r *rawDB) holds(ctx context.Context) error {
	return r.tx(ctx, func(tx *sql.Tx, now time.Time) error {
		if r.kind == arbitraryKeys {
			if err := r.writeKeys(ctx, tx, now); err != nil {
				return err
			}
		}
		return r.hold(ctx, tx, r.newIDs(), now)
	})
}

func (r *rawDB) tx(ctx context.Context, work func(*sql.Tx, time.Time) error) (err error) {
	tx, err := r.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error says more
		}
	}()
	if err := work(tx, time.Now().UTC()); err != nil {
		return err
	}
	return tx.Commit()
}

func (r *rawDB) newIDs() []sale.HoldID {
	ids := make([]sale.HoldID, r.batch)
	for i := range ids {
		ids[i] = sale.NewHoldID(r.product.ID)
	}
	slices.SortFunc(ids, sale.HoldID.Compare)
	return ids
}

func (r *rawDB) hold(ctx context.Context, tx *sql.Tx, ids []sale.HoldID, now time.Time) error {
	var lines []any
	for _, id := range ids {
		lines = lineArgs(lines, id, r.product.ID, "buyer-"+word(), now)
	}
	if err := insert(ctx, tx, store.InsertHoldLine, len(ids), lines); err != nil {
		return err
	}
	_, err := r.queries.ReserveStock(ctx, tx, store.ReserveStockParams{
		Quantity: int64(len(ids)), Now: now, ID: r.product.ID,
		PriceAmount: r.product.PriceAmount, Currency: r.product.Currency, PerCustomerLimit: r.product.PerCustomerLimit,
		HoldTtlSeconds: r.product.HoldTtlSeconds, PaymentWindowSeconds: r.product.PaymentWindowSeconds,
	})
	if err != nil {
		return fmt.Errorf("take the units: %w", err)
	}
	_, err = r.queries.RecordMovement(ctx, tx, store.RecordMovementParams{
		Delta: int64(-len(ids)), Reason: sale.MovementHeld, CreatedAt: now, ID: r.product.ID,
	})
	if err != nil {
		return fmt.Errorf("write the movement: %w", err)
	}
	return nil
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
	return insert(ctx, tx, store.InsertIdempotencyKey, len(keys), args)
}

// insert writes so many rows with one statement.
func insert(ctx context.Context, tx *sql.Tx, query string, rows int, args []any) error {
	if _, err := tx.ExecContext(ctx, mysql.ExpandRows(query, rows), args...); err != nil {
		return fmt.Errorf("write %d rows: %w", rows, err)
	}
	return nil
}

func openRawDB(dsn string) (*mysql.DB, error) {
	return mysql.Open(mysql.Config{DSN: dsn, Connections: rawConnections, Log: slog.New(slog.DiscardHandler)})
}
