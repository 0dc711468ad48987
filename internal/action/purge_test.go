package action_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const day = 24 * time.Hour

// keeping is what tests keep: keys two days, holds and events ten.
var keeping = action.Retention{Keys: 2 * day, Holds: 10 * day, Events: 10 * day}

// purge walks over all tables once and gives the rows that it deleted, by table.
func (s *shop) purge(keep action.Retention) map[string]int64 {
	s.t.Helper()
	deleted, err := purgeAll(s.ctx(), s.Actions, keep)
	require.NoError(s.t, err)
	return deleted
}

func purgeAll(ctx context.Context, actions *action.Actions, keep action.Retention) (map[string]int64, error) {
	deleted := map[string]int64{}
	var from action.PurgeCursor
	for {
		purged, err := actions.Purge.Do(ctx, keep, from)
		if err != nil {
			return deleted, err
		}
		if purged.Rows > 0 {
			deleted[purged.Table] += purged.Rows
		}
		if from = purged.Next; from == (action.PurgeCursor{}) {
			return deleted, nil
		}
	}
}

// oldHold makes a hold as it would be had it been made so long ago: its id too tells
// that time. Its units are still off sale.
func (s *shop) oldHold(ago time.Duration, customer string, lines ...sale.LineRequest) action.HoldView {
	s.t.Helper()
	id := sale.NewHoldID(lines[0].ProductID)
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(time.Now().Add(-ago).UnixMilli()))
	copy(id[:6], millis[2:])
	result, err := s.CreateHold.Do(s.ctx(), keyedWish(id.String(), customer, lines...))
	require.NoError(s.t, err)
	require.Equal(s.t, id, result.Value.ID)
	return result.Value
}

// grow makes what was written under an id as old as that.
func (s *shop) grow(id sale.HoldID, by time.Duration) {
	s.t.Helper()
	seconds := int64(by / time.Second)
	s.exec(`UPDATE hold_lines SET due_at = due_at - INTERVAL ? SECOND, expires_at = expires_at - INTERVAL ? SECOND,
		created_at = created_at - INTERVAL ? SECOND WHERE id = ?`, seconds, seconds, seconds, id)
	s.exec(`UPDATE orders SET pay_by = pay_by - INTERVAL ? SECOND, created_at = created_at - INTERVAL ? SECOND,
		paid_at = paid_at - INTERVAL ? SECOND WHERE id = ?`, seconds, seconds, seconds, id)
}

// oldEnded is a hold that expired so long ago and was swept.
func (s *shop) oldEnded(ago time.Duration, customer string, lines ...sale.LineRequest) sale.HoldID {
	s.t.Helper()
	id := s.oldHold(ago, customer, lines...).ID
	s.grow(id, ago)
	s.sweep()
	return id
}

func (s *shop) lines(id sale.HoldID) int64 {
	s.t.Helper()
	return s.count("SELECT COUNT(*) FROM hold_lines WHERE id = ?", id)
}

// A caller that makes ids may have a wrong clock; what it made is not kept until that is
// right.
func TestPurgeTakesEndedHoldsWhoseIdsAreOfAFarTime(t *testing.T) {
	s := setup(t)
	p := s.product(3)
	far := s.oldHold(-1000*day, "ann", line(p, 1)).ID
	s.grow(far, 11*day)
	young, held := s.oldHold(-1001*day, "bob", line(p, 1)).ID, s.oldHold(-999*day, "cid", line(p, 1)).ID
	s.pass(young)
	s.sweep()
	s.requireUnits(p, 2, 1, 0, 0)
	assert.Equal(t, map[string]int64{action.PurgedHolds: 1}, s.purge(keeping))
	assert.Zero(t, s.lines(far))
	assert.Equal(t, int64(1), s.lines(young))
	assert.Equal(t, int64(1), s.lines(held))
}

func TestPurgeTakesEndedHoldsAndLeavesAllThatTheBooksNeed(t *testing.T) {
	s := setup(t)
	p := s.product(20)
	ended := s.oldEnded(11*day, "ann", line(p, 1))
	young := s.oldEnded(9*day, "bob", line(p, 1))
	held := s.oldHold(11*day, "cid", line(p, 1)).ID // far longer than it could be

	unpaid := s.oldHold(11*day, "dan", line(p, 2))
	s.order(unpaid)
	s.grow(unpaid.ID, 11*day)
	s.sweep()
	bought := s.order(s.oldHold(11*day, "eve", line(p, 3)))
	paid := said(sale.PaymentSucceeded, bought, "event", "payment")
	assert.Equal(t, sale.OutcomePaid, s.tell(paid).Outcome)
	s.grow(bought.HoldID(), 11*day)
	s.exec("UPDATE payment_events SET received_at = received_at - INTERVAL 1000 DAY")

	before := s.books(p)
	movements := s.count("SELECT COUNT(*) FROM movements")
	assert.Equal(t, map[string]int64{action.PurgedHolds: 1}, s.purge(keeping))
	assert.Equal(t, before, s.books(p))
	assert.Equal(t, movements, s.count("SELECT COUNT(*) FROM movements"))
	assert.Zero(t, s.lines(ended))
	_, err := s.GetHold.Do(s.ctx(), ended)
	requireCode(t, err, sale.CodeHoldNotFound)
	for name, id := range map[string]sale.HoldID{"young": young, "held": held, "unpaid": unpaid.ID, "paid": bought.HoldID()} {
		assert.Equal(t, int64(1), s.lines(id), name)
	}
	assert.Equal(t, sale.OrderExpired, s.status(action.OrderView{Order: sale.Order{ID: sale.OrderOf(unpaid.ID)}}))
	assert.Equal(t, sale.OutcomeDuplicate, s.tell(paid).Outcome, "a seen id is never forgotten")
	assert.Equal(t, sale.OutcomeRebooked, s.tell(said(sale.PaymentSucceeded,
		action.OrderView{Order: sale.Order{ID: sale.OrderOf(unpaid.ID), Total: sale.Money{Amount: 2000, Currency: "USD"}}},
		"late", "late payment")).Outcome, "an old order can still be paid late")
	assert.Empty(t, s.purge(keeping))
}

func TestPurgeLeavesAHoldOfSeveralProductsUntilAllOfItIsOver(t *testing.T) {
	s := setup(t)
	low, high := s.twoProducts(5, 5)
	id := s.oldHold(11*day, "ann", line(low, 1), line(high, 1)).ID
	s.grow(id, 11*day)
	holder := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", high.ID)
	_, err := s.ReleaseExpired.Do(s.ctx())
	require.ErrorContains(t, err, high.ID.String())
	require.NoError(t, holder.Rollback())
	assert.Empty(t, s.purge(keeping))
	assert.Equal(t, int64(2), s.lines(id))
	s.sweep()
	assert.Equal(t, map[string]int64{action.PurgedHolds: 2}, s.purge(keeping))
}

// Neither what somebody works on nor its neighbours make a purge wait.
func TestPurgePassesByWhatSomebodyWorksOnAndTakesItLater(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	var ended []sale.HoldID
	for range 5 {
		ended = append(ended, s.oldEnded(11*day, "ann", line(p, 1)))
	}
	active := s.oldHold(11*day, "bob", line(p, 1)).ID
	s.exec("INSERT INTO idempotency_keys VALUES (UNHEX(REPEAT('01', 16)), '', '', NOW(6) - INTERVAL 3 DAY), (UNHEX(REPEAT('02', 16)), '', '', NOW(6) - INTERVAL 3 DAY)")
	holder := s.locked("SELECT 1 FROM hold_lines WHERE id IN (?, ?) FOR UPDATE", ended[2], active)
	_, err := holder.ExecContext(s.ctx(), "SELECT 1 FROM idempotency_keys WHERE id = UNHEX(REPEAT('02', 16)) FOR UPDATE")
	require.NoError(t, err)
	assert.Equal(t, map[string]int64{action.PurgedHolds: 4, action.PurgedKeys: 1}, s.purge(keeping))
	require.NoError(t, holder.Rollback())
	assert.Equal(t, map[string]int64{action.PurgedHolds: 1, action.PurgedKeys: 1}, s.purge(keeping))
	assert.Equal(t, int64(1), s.lines(active))
}

func TestReplaysWithinADayWorkAfterAPurgeHoweverLittleIsKept(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	keyed := keyedWish("k", "ann", line(p, 1))
	first, err := s.CreateHold.Do(s.ctx(), keyed)
	require.NoError(t, err)
	own := keyedWish(s.oldHold(23*time.Hour, "bob", line(p, 1)).ID.String(), "bob", line(p, 1))
	s.exec("UPDATE hold_lines SET created_at = created_at - INTERVAL 23 HOUR, due_at = NOW(6), expires_at = NOW(6)")
	s.exec("UPDATE idempotency_keys SET created_at = created_at - INTERVAL 23 HOUR")
	s.sweep()
	assert.Empty(t, s.purge(action.Retention{}))
	again, err := s.CreateHold.Do(s.ctx(), keyed)
	require.NoError(t, err)
	assert.True(t, again.Replayed)
	assert.Equal(t, first.Value.ID, again.Value.ID)
	again, err = s.CreateHold.Do(s.ctx(), own)
	require.NoError(t, err)
	assert.True(t, again.Replayed)

	s.exec("UPDATE idempotency_keys SET created_at = created_at - INTERVAL 2 HOUR")
	assert.Positive(t, s.purge(action.Retention{})[action.PurgedKeys])
	assert.Equal(t, int64(0), s.count("SELECT COUNT(*) FROM idempotency_keys"))
}

func TestPurgeTakesOldEventsAndLeavesTheYoung(t *testing.T) {
	s := setup(t, withSender(t))
	p := s.product(10)
	endpoint := s.endpoint(receive(t, nil).URL)
	old, young := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 1))
	s.exec(`UPDATE announcements JOIN outbox ON outbox.id = announcements.events
		SET outbox.id = CONCAT(UNHEX('0170000000007000'), SUBSTR(outbox.id, 9)), outbox.created_at = outbox.created_at - INTERVAL 11 DAY,
			announcements.events = CONCAT(UNHEX('0170000000007000'), SUBSTR(announcements.events, 9)),
			announcements.created_at = announcements.created_at - INTERVAL 11 DAY
		WHERE outbox.order_id = ?`, old.ID)
	assert.Empty(t, s.purge(keeping), "it was not fanned out")
	s.fanOut()
	assert.Empty(t, s.purge(keeping), "it is on its way")
	assert.Equal(t, 2, s.deliver(endpoint))
	assert.Equal(t, map[string]int64{action.PurgedEvents: 1}, s.purge(keeping))
	assert.Equal(t, int64(1), s.deliveries(endpoint, sale.DeliveryDelivered), "what became of it is forgotten")
	assert.Empty(t, s.events(old))
	assert.Equal(t, map[string]int{string(sale.EventOrderCreated): 1}, s.events(young))
}

// Each table has two batches and a part, some of it to be kept.
func TestPurgeWalksInBatchesOverAllThereIs(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	const rows = 2500
	const numbers = `WITH RECURSIVE digits AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM digits WHERE d < 9)
		SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d AS n FROM digits a, digits b, digits c, digits e`
	s.exec(`INSERT INTO idempotency_keys SELECT LEFT(UNHEX(SHA2(n, 256)), 16), '', '', NOW(6) - INTERVAL IF(n % 5 = 0, 1, 3) DAY
		FROM (`+numbers+`) AS numbers WHERE n < ?`, rows)
	s.exec(`INSERT INTO hold_lines (id, position, product_id, customer_id, quantity, price_amount, currency, state, ended,
			due_at, expires_at, ttl_seconds, payment_window_seconds, created_at)
		SELECT CONCAT(UNHEX('017000000000'), LEFT(UNHEX(SHA2(n, 256)), 10)), 0, ?, 'filler', 1, 1000, 'USD', 'returned', 'expired',
			expires, expires, 300, 900, expires
		FROM (SELECT n, NOW(6) - INTERVAL IF(n % 5 = 0, 1, 30) DAY AS expires FROM (`+numbers+`) AS numbers WHERE n < ?) AS ages`, p.ID, rows)
	s.exec(`INSERT INTO outbox (id, type, order_id, sequence, payload, created_at)
		SELECT CONCAT(UNHEX('017000000000'), LEFT(UNHEX(SHA2(n, 256)), 10)), 'order.created',
			LEFT(UNHEX(SHA2(n, 256)), 16), 1, '{}', NOW(6) - INTERVAL IF(n % 5 = 0, 1, 30) DAY
		FROM (`+numbers+`) AS numbers WHERE n < ?`, rows)
	s.exec("DELETE FROM idempotency_keys WHERE created_at > NOW(6) - INTERVAL 1 HOUR") // the product's own

	var from action.PurgeCursor
	var tables []string
	for first := true; first || from != (action.PurgeCursor{}); first = false {
		purged, err := s.Purge.Do(s.ctx(), keeping, from)
		require.NoError(t, err)
		tables, from = append(tables, purged.Table), purged.Next
	}
	assert.Equal(t, []string{
		action.PurgedKeys, action.PurgedKeys, action.PurgedKeys, action.PurgedHolds, action.PurgedHolds, action.PurgedHolds,
		action.PurgedHolds, // none of a time far ahead
		action.PurgedEvents, action.PurgedEvents, action.PurgedEvents,
		action.PurgedEvents, // none of a time far ahead
	}, tables)
	for _, table := range []string{action.PurgedKeys, action.PurgedHolds, action.PurgedEvents} {
		assert.Equal(t, int64(rows/5), s.count("SELECT COUNT(*) FROM "+table), table)
	}
}

func TestPurgesAtTheSameTimeAsSalesAndEachOtherLeaveTheBooksBalanced(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(30)
		var ended []sale.HoldID
		for range 10 {
			ended = append(ended, s.oldEnded(11*day, "ann", line(p, 1)))
		}
		other := s.branch()
		crowd(22, func(i int) {
			if i < 2 {
				_, err := purgeAll(s.ctx(), other, keeping)
				assert.NoError(t, err)
				return
			}
			_, err := s.CreateHold.Do(s.ctx(), wish("bob", line(p, 1)))
			assert.NoError(t, err)
		})
		for _, id := range ended {
			assert.Zero(t, s.lines(id))
		}
		s.requireUnits(p, 10, 20, 0, 0)
	})
}

// A purge reads what it looks at and no more, however much there is beside it.
func TestPurgeStatementsGoByPrimaryKey(t *testing.T) {
	s := setup(t)
	const others, bound = 10_000, 60
	p := s.product(others + 10)
	s.fill(p, others, 3600)
	var ended []sale.HoldID
	for range 5 {
		ended = append(ended, s.oldEnded(11*day, "ann", line(p, 1)))
	}
	s.exec("ANALYZE TABLE hold_lines")
	q := store.New()
	before := time.Now().Add(-day).UTC()
	for name, run := range map[string]func(ctx context.Context, db store.DBTX) error{
		"walk": func(ctx context.Context, db store.DBTX) error {
			_, err := q.HoldAges(ctx, db, store.HoldAgesParams{Below: sale.HoldIDsUntil(before), Limit: 5})
			return err
		},
		"lock": func(ctx context.Context, db store.DBTX) error {
			ids, err := q.LockReturnedLines(ctx, db, ended)
			assert.Len(t, ids, len(ended))
			return err
		},
		"ended": func(ctx context.Context, db store.DBTX) error {
			rows, err := q.EndedHolds(ctx, db, store.EndedHoldsParams{Ids: ended, Before: before})
			assert.Len(t, rows, len(ended))
			return err
		},
		"delete": func(ctx context.Context, db store.DBTX) error {
			n, err := q.PurgeHolds(ctx, db, ended)
			assert.Equal(t, int64(len(ended)), n)
			return err
		},
	} {
		assert.LessOrEqual(t, readsOf(t, s, run), int64(bound), name)
	}
}
