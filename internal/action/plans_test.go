package action_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// handlerReads is how many rows and index entries a connection has read so far.
func handlerReads(t *testing.T, conn *sql.Conn) int64 {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "SHOW SESSION STATUS LIKE 'Handler_read%'")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	var sum int64
	for rows.Next() {
		var name string
		var n int64
		require.NoError(t, rows.Scan(&name, &n))
		sum += n
	}
	require.NoError(t, rows.Err())
	return sum
}

// Each statement of the hot paths reads what it needs, however many other lines
// there are: the bound is a fraction of what a scan of one product would read.
func TestHotStatementsReadAFewRowsAmongManyOthers(t *testing.T) {
	s := setup(t)
	const others, bound = 10_000, 60
	crowded, other, late := s.product(others+100), s.product(others+100), s.product(others+100)
	s.fill(crowded, others, 3600)
	s.fill(other, others, 3600)
	s.fill(late, others, -3600)
	var overdue []sale.HoldID
	for i := range 5 {
		hold := s.hold(fmt.Sprint("late ", i), line(crowded, 1))
		s.pass(hold.ID)
		overdue = append(overdue, hold.ID)
	}
	mine := s.ordered("ann", line(crowded, 2))
	s.exec("ANALYZE TABLE hold_lines, products, orders")

	q := store.New()
	for name, run := range map[string]func(ctx context.Context, db store.DBTX) error{
		"look": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.LookAtProducts(ctx, db, []sale.ProductID{crowded.ID, other.ID})
			assert.Len(t, rows, 2)
			return err
		},
		"overdue lines": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.OverdueLines(ctx, db, store.OverdueLinesParams{
				ProductID: crowded.ID, State: sale.LineHeld, DueAt: time.Now().UTC(), Limit: 1000,
			})
			assert.Len(t, rows, len(overdue))
			return err
		},
		"first of many overdue lines": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.OverdueLines(ctx, db, store.OverdueLinesParams{
				ProductID: late.ID, State: sale.LineHeld, DueAt: time.Now().UTC(), Limit: 10,
			})
			assert.Len(t, rows, 10)
			return err
		},
		"return lines": func(ctx context.Context, db store.DBTX) error {
			n, err := q.ReturnLines(ctx, db, store.ReturnLinesParams{
				Ended: sale.ReturnExpired, Ids: overdue, ProductID: crowded.ID, States: []sale.LineState{sale.LineHeld, sale.LinePending},
			})
			assert.Equal(t, int64(len(overdue)), n)
			return err
		},
		"reserve": func(ctx context.Context, db store.DBTX) error {
			result, err := q.ReserveStock(ctx, db, store.ReserveStockParams{
				Quantity: 1, Now: time.Now().UTC(), ID: crowded.ID,
				PriceAmount: crowded.Price.Amount, Currency: crowded.Price.Currency, PerCustomerLimit: crowded.PerCustomerLimit,
				HoldTtlSeconds: int64(crowded.HoldTTL / time.Second), PaymentWindowSeconds: int64(crowded.PaymentWindow / time.Second),
			})
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			assert.Equal(t, int64(1), n)
			return err
		},
		"record the movement": func(ctx context.Context, db store.DBTX) error {
			_, err := db.ExecContext(ctx, "UPDATE products SET stock_version = stock_version + 1000 WHERE id = ?", crowded.ID)
			if err != nil {
				return err
			}
			n, err := q.RecordMovement(ctx, db, store.RecordMovementParams{ID: crowded.ID, Delta: -1, Reason: sale.MovementHeld, CreatedAt: time.Now().UTC()})
			assert.Equal(t, int64(1), n)
			return err
		},
		"customers' units": func(ctx context.Context, db store.DBTX) error {
			units, err := q.CustomersUnits(ctx, db, store.CustomersUnitsParams{ProductID: crowded.ID, Customers: []string{"ann", "bob"}})
			assert.Len(t, units, 1)
			return err
		},
		"hold": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.GetHolds(ctx, db, []sale.HoldID{mine.HoldID()})
			assert.Len(t, rows, 1)
			return err
		},
		"lock hold": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.LockHold(ctx, db, mine.HoldID())
			assert.Len(t, rows, 1)
			return err
		},
		"sell": func(ctx context.Context, db store.DBTX) error {
			n, err := q.SellLines(ctx, db, mine.HoldID())
			assert.Equal(t, int64(1), n)
			return err
		},
		"overdue lines of customers": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.OverdueLinesOf(ctx, db, store.OverdueLinesOfParams{
				ProductID: crowded.ID, Customers: []string{"late 0", "late 1", "ann"}, Now: time.Now().UTC(), Limit: 1000,
			})
			assert.Len(t, rows, 2)
			return err
		},
		"products with overdue lines": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.OverdueProducts(ctx, db)
			assert.Len(t, rows, 2)
			return err
		},
	} {
		assert.LessOrEqual(t, readsOf(t, s, run), int64(bound), name)
	}
}

// The statistics of a table that fills quickly are those of an empty one for a while,
// and a sweep comes every second.
func TestSweepFindsWhatIsOverdueWithoutReadingATableThatHasJustFilled(t *testing.T) {
	s := setup(t)
	const others, bound = 10_000, 60
	crowded, late := s.product(others), s.product(1)
	s.pass(s.hold("ann", line(late, 1)).ID)
	s.exec("ANALYZE TABLE hold_lines, products")
	s.fill(crowded, others, 3600)
	read := readsOf(t, s, func(ctx context.Context, db store.DBTX) error {
		ids, err := store.New().OverdueProducts(ctx, db)
		assert.Equal(t, []sale.ProductID{late.ID}, ids)
		return err
	})
	assert.LessOrEqual(t, read, int64(bound))
}

// Statements for many holds go by their ids, however many these are and whatever the
// statistics say: of eq_range_index_dive_limit ids and more MySQL believes its statistics,
// and by those of an empty table it reads, and locks, all that came since.
func TestStatementsForManyHoldsReadNoOthersInATableThatHasJustFilled(t *testing.T) {
	s := setup(t)
	const others, each = 10_000, 5
	crowded := s.product(others)
	for _, table := range []string{"hold_lines", "orders", "payments"} {
		s.exec("ALTER TABLE " + table + " STATS_AUTO_RECALC = 0")
		s.exec("ANALYZE TABLE " + table)
	}
	s.fill(crowded, others, 3600)
	s.fillOrders(crowded)
	s.fillPayments(crowded)
	var customers []string
	for i := range 500 {
		customers = append(customers, fmt.Sprint("filler ", i))
	}
	q := store.New()
	for _, many := range []int{20, 200, 201, 500} {
		holds := make([]sale.HoldID, 0, many)
		orders := make([]sale.OrderID, 0, many)
		s.each(fmt.Sprint("SELECT id FROM hold_lines ORDER BY id LIMIT ", many), func(rows *sql.Rows) error {
			var id sale.HoldID
			err := rows.Scan(&id)
			holds, orders = append(holds, id), append(orders, sale.OrderOf(id))
			return err
		})
		for name, run := range map[string]func(ctx context.Context, db store.DBTX) (int, error){
			"lock holds": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.LockHolds(ctx, db, holds)
				return len(rows), err
			},
			"lines of holds": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.LinesOfHolds(ctx, db, holds)
				return len(rows), err
			},
			"get holds": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.GetHolds(ctx, db, holds)
				return len(rows), err
			},
			"holds there": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.HoldsThere(ctx, db, holds)
				return len(rows), err
			},
			"holds between": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.HoldsBetween(ctx, db, store.HoldsBetweenParams{First: holds[0], Last: holds[len(holds)-1], Limit: int32(many) + 1})
				return len(rows), err
			},
			"holds between any, so many at most": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.HoldsBetween(ctx, db, store.HoldsBetweenParams{Last: sale.HoldID(sale.LastOrderID()), Limit: int32(many)})
				return len(rows), err
			},
			"order holds": func(ctx context.Context, db store.DBTX) (int, error) {
				if _, err := db.ExecContext(ctx, "UPDATE hold_lines SET state = 'held' WHERE id <= ?", holds[many-1]); err != nil {
					return 0, err
				}
				n, err := q.OrderHolds(ctx, db, store.OrderHoldsParams{Now: time.Now().UTC(), Ids: holds})
				return int(n), err
			},
			"sell holds": func(ctx context.Context, db store.DBTX) (int, error) {
				n, err := q.SellHolds(ctx, db, holds)
				return int(n), err
			},
			"lock orders": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.LockOrders(ctx, db, orders)
				return len(rows), err
			},
			"customers' units": func(ctx context.Context, db store.DBTX) (int, error) {
				units, err := q.CustomersUnits(ctx, db, store.CustomersUnitsParams{ProductID: crowded.ID, Customers: customers[:many]})
				return len(units), err
			},
			"overdue lines of customers": func(ctx context.Context, db store.DBTX) (int, error) {
				rows, err := q.OverdueLinesOf(ctx, db, store.OverdueLinesOfParams{
					ProductID: crowded.ID, Customers: customers[:many], Now: time.Now().UTC().Add(2 * time.Hour), Limit: int32(others),
				})
				return len(rows), err
			},
			"ended holds": func(ctx context.Context, db store.DBTX) (int, error) {
				if _, err := db.ExecContext(ctx, "DELETE FROM orders WHERE id <= ?", orders[many-1]); err != nil {
					return 0, err
				}
				rows, err := q.EndedHolds(ctx, db, store.EndedHoldsParams{Ids: holds, Before: time.Now().UTC().Add(2 * time.Hour)})
				return len(rows), err
			},
			"mark all paid": func(ctx context.Context, db store.DBTX) (int, error) {
				now := time.Now().UTC()
				n, err := q.MarkAllPaid(ctx, db, store.MarkAllPaidParams{PaidAt: &now, Ids: orders, Provider: sale.ProviderStandard})
				return int(n), err
			},
		} {
			read := readsOf(t, s, func(ctx context.Context, db store.DBTX) error {
				n, err := run(ctx, db)
				assert.Equal(t, many, n, name)
				return err
			})
			assert.LessOrEqual(t, read, int64(each*many+10), "%s, %d", name, many)
		}
	}
}

// Of a small table MySQL may rather read all rows than look a few up, and what changes or
// locks rows would wait for all that others work on: a first sale, or what is done as
// soon as it comes, would stand still. The half of a table that a statement does not name
// is somebody else's here.
func TestStatementsForManyRowsWaitForNoOthersInASmallTable(t *testing.T) {
	t.Parallel()
	q, now := store.New(), time.Now().UTC().Add(time.Hour)
	for _, half := range []int{1, 2, 10, 255} {
		s := openShop(t, testenv.Database(t))
		p := s.product(1000)
		s.fill(p, int64(2*half), -1)
		s.fillOrders(p)
		s.fillPayments(p)
		s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
			SELECT id, 'order.created', id, 1, '{}', created_at - INTERVAL 1 YEAR FROM orders`)
		s.announceAll(1)
		s.exec("DELETE FROM idempotency_keys")
		s.exec("INSERT INTO idempotency_keys SELECT id, '', '', created_at - INTERVAL 1 YEAR FROM orders")
		var ids [][]byte
		s.each("SELECT id FROM orders ORDER BY RAND(1)", func(rows *sql.Rows) error {
			var id []byte
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		})
		mine, theirs := ids[:half], ids[half:]
		holds, orders, events := make([]sale.HoldID, half), make([]sale.OrderID, half), make([]sale.EventID, half)
		for i, id := range mine {
			holds[i], orders[i], events[i] = sale.HoldID(id), sale.OrderID(id), sale.EventID(id)
		}
		for name, test := range map[string]struct {
			table string
			state string // of the lines, where that matters
			run   func(ctx context.Context, db store.DBTX) (int64, error)
		}{
			"lock holds": {"hold_lines", "held", func(ctx context.Context, db store.DBTX) (int64, error) {
				rows, err := q.LockHolds(ctx, db, holds)
				return int64(len(rows)), err
			}},
			"order holds": {"hold_lines", "held", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.OrderHolds(ctx, db, store.OrderHoldsParams{Now: now, Ids: holds})
			}},
			"sell holds": {"hold_lines", "pending", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.SellHolds(ctx, db, holds)
			}},
			"return lines": {"hold_lines", "pending", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.ReturnLines(ctx, db, store.ReturnLinesParams{
					Ended: sale.ReturnExpired, Ids: holds, ProductID: p.ID, States: []sale.LineState{sale.LinePending},
				})
			}},
			"purge holds": {"hold_lines", "returned", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.PurgeHolds(ctx, db, holds)
			}},
			"lock orders": {"orders", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				rows, err := q.LockOrders(ctx, db, orders)
				return int64(len(rows)), err
			}},
			"mark all paid": {"orders", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.MarkAllPaid(ctx, db, store.MarkAllPaidParams{PaidAt: &now, Ids: orders, Provider: sale.ProviderStandard})
			}},
			"keep events": {"outbox", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				rows, err := q.KeepEvents(ctx, db, events)
				return int64(len(rows)), err
			}},
			"purge events": {"outbox", "", func(ctx context.Context, db store.DBTX) (int64, error) { return q.PurgeEvents(ctx, db, events) }},
			"delete announcements": {"announcements", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				return int64(half), q.DeleteAnnouncements(ctx, db, events)
			}},
			"purge keys": {"idempotency_keys", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.PurgeIdempotencyKeys(ctx, db, mine)
			}},
			"delete old keys": {"idempotency_keys", "", func(ctx context.Context, db store.DBTX) (int64, error) {
				return q.DeleteOldIdempotencyKeys(ctx, db, store.DeleteOldIdempotencyKeysParams{Ids: mine, Before: now})
			}},
		} {
			if test.state != "" {
				s.exec("UPDATE hold_lines SET state = ?, ended = IF(state = 'returned', 'expired', '')", test.state)
			}
			s.exec("ANALYZE TABLE " + test.table)
			others := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", p.ID)
			for _, id := range theirs {
				_, err := others.ExecContext(t.Context(), "UPDATE "+test.table+" SET created_at = created_at + INTERVAL 1 SECOND WHERE id = ?", id)
				require.NoError(t, err)
			}
			readsOf(t, s, func(ctx context.Context, db store.DBTX) error {
				n, err := test.run(ctx, db)
				assert.Equal(t, int64(half), n, "%s, %d of %d", name, half, 2*half)
				return err
			})
			require.NoError(t, others.Rollback())
		}
		s.exec("UPDATE hold_lines SET state = 'pending', ended = ''") // as the books have them
	}
}

// An audit reads each line's entry in an index that has all it needs, and no row.
func TestAuditReadsOnlyTheProductsOwnEntriesOfCoveringIndexes(t *testing.T) {
	s := setup(t)
	const others, mine, bound = 10_000, 10, 60
	crowded, p := s.product(others), s.product(mine)
	s.fill(crowded, others, 3600)
	for i := range mine {
		s.hold(fmt.Sprint("customer ", i), line(p, 1))
	}
	s.exec("ANALYZE TABLE hold_lines, products, movements")
	reads := readsOf(t, s, func(ctx context.Context, db store.DBTX) error {
		books, err := store.New().AuditProduct(ctx, db, p.ID)
		assert.Equal(t, int64(mine), books.Held)
		return err
	})
	assert.LessOrEqual(t, reads, int64(bound))
	for _, id := range []sale.ProductID{crowded.ID, p.ID} {
		var plan string
		require.NoError(t, s.db.SQL().QueryRowContext(t.Context(), "EXPLAIN FORMAT=TREE "+store.AuditProduct, id).Scan(&plan))
		assert.Equal(t, 3, strings.Count(plan, "Covering index lookup on l using hold_lines_due"), plan)
		assert.Contains(t, plan, "Index lookup on m using PRIMARY")
	}
}

// readsOf runs a statement in a transaction that is undone, and counts its reads.
func readsOf(t *testing.T, s *shop, run func(ctx context.Context, db store.DBTX) error) int64 {
	t.Helper()
	conn, err := s.db.SQL().Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	tx, err := conn.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback()) }()
	before := handlerReads(t, conn)
	require.NoError(t, run(t.Context(), tx))
	return handlerReads(t, conn) - before
}
