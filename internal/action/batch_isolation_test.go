package action_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// merging is a shop with merged holds in which a test decides what is one batch.
type merging struct {
	*shop
	queue *queue
	gate  *gatedCache
}

// gatedCache is a cache whose reads wait while it is shut.
type gatedCache struct {
	action.Cache
	open sync.RWMutex // held by a test while the cache is shut
	puts atomic.Int64
}

func (c *gatedCache) Put(ctx context.Context, products ...sale.Product) {
	c.puts.Add(1)
	c.Cache.Put(ctx, products...)
}

func (c *gatedCache) Get(
	ctx context.Context, id sale.ProductID, load func(context.Context) (sale.Product, error),
) (sale.Product, bool, error) {
	c.open.RLock()
	defer c.open.RUnlock()
	return c.Cache.Get(ctx, id, load)
}

func setupMerging(t *testing.T, changes ...func(*action.Kit)) *merging {
	t.Helper()
	t.Parallel()
	return openMerging(t, testenv.Database(t), changes...)
}

func openMerging(t *testing.T, dsn string, changes ...func(*action.Kit)) *merging {
	t.Helper()
	m := &merging{queue: newQueue(), gate: &gatedCache{}}
	changes = append(changes, func(kit *action.Kit) {
		kit.Coalesce = true
		m.queue.meter, _ = kit.Meter.(*meter)
		kit.Meter = m.queue
		m.gate.Cache = kit.Cache
		if kit.Cache == nil {
			products, err := cache.Open(t.Context(), cache.Config{Log: kit.Log, Meter: deaf{}})
			require.NoError(t, err)
			t.Cleanup(products.Close)
			m.gate.Cache = products
		}
		kit.Cache = m.gate
	})
	m.shop = openShop(t, dsn, changes...)
	return m
}

// merged is what becomes of one wish of a batch.
type merged struct {
	action.Result[action.HoldView]
	err error
}

// batch serves wishes for one product as one batch, behind one of a single unit that
// holds up the lane until all the others wait.
func (m *merging) batch(p sale.Product, wishes ...action.CreateHoldInput) []merged {
	m.t.Helper()
	results := make([]merged, len(wishes))
	ask := func(i int) {
		result, err := m.CreateHold.Do(m.ctx(), wishes[i])
		results[i] = merged{result, err}
	}
	begun := m.queue.batches()
	m.gate.open.Lock()
	var running sync.WaitGroup
	running.Go(func() {
		_, err := m.CreateHold.Do(m.ctx(), wish("first", line(p, 1)))
		assert.NoError(m.t, err)
	})
	m.queue.await(m.t, func() bool { return m.queue.begun > begun })
	for i := range wishes {
		running.Go(func() { ask(i) })
		m.queue.await(m.t, func() bool { return m.queue.waiting == i+1 }) // so they wait in this order
	}
	m.gate.open.Unlock()
	running.Wait()
	assert.Equal(m.t, begun+2, m.queue.batches(), "the wishes were one batch")
	return results
}

// movements counts the changes of stock so far: one for each transaction that held.
func (m *merging) movements() int64 { return m.count("SELECT COUNT(*) FROM movements") }

func TestABatchIsOneWriteOfTheCache(t *testing.T) {
	s := setupMerging(t)
	p := s.product(100)
	wishes := make([]action.CreateHoldInput, 20)
	for i := range wishes {
		wishes[i] = wish(fmt.Sprint(i), line(p, 1))
	}
	before := s.gate.puts.Load()
	for _, result := range s.batch(p, wishes...) {
		require.NoError(t, result.err)
	}
	assert.Equal(t, int64(2), s.gate.puts.Load()-before, "of the first one alone and of the others")
}

// A key that has its effect at another process while a batch looks took the units that are
// missing: it is replayed, and not refused for what it took itself.
func TestKeyThatHasItsEffectWhileABatchLooksIsReplayed(t *testing.T) {
	for name, mark := range map[string]struct{ table, column string }{
		"any key":   {"idempotency_keys", "target"},
		"a hold id": {"hold_lines", "id"},
	} {
		t.Run(name, func(t *testing.T) {
			s := setupMerging(t)
			p := s.product(1)
			key := "any"
			if mark.table == "hold_lines" {
				key = sale.NewHoldID(p.ID).String()
			}
			in := keyedWish(key, "ann", line(p, 1))
			made, err := s.CreateHold.Do(s.ctx(), in)
			require.NoError(t, err)
			s.exec(fmt.Sprintf("CREATE TABLE hidden AS SELECT * FROM %s WHERE %s = ?", mark.table, mark.column), made.Value.ID)
			s.exec(fmt.Sprintf("DELETE FROM %s WHERE %s = ?", mark.table, mark.column), made.Value.ID)

			unlock := s.lockTable("products")
			answers := make(chan merged, 1)
			go func() {
				result, err := s.CreateHold.Do(s.ctx(), in)
				answers <- merged{result, err}
			}()
			s.awaitStatement("-- name: LookAtProducts ")
			s.exec(fmt.Sprintf("INSERT INTO %s SELECT * FROM hidden", mark.table))
			unlock()
			again := <-answers
			require.NoError(t, again.err)
			assert.True(t, again.Replayed)
			assert.Equal(t, made.Value, again.Value)
		})
	}
}

// What others made between the holds that a batch asks for, little or more than it asks for,
// hides no replay.
func TestReplayIsFoundAmongTheHoldsOfOthers(t *testing.T) {
	for name, between := range map[string]struct {
		others int
		age    time.Duration // of the first id
	}{
		"none": {}, "one": {others: 1}, "ten": {others: 10}, "an hour": {others: 1, age: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := setupMerging(t)
			p, other, third := s.product(2), s.product(10), s.product(10)
			first := sale.NewHoldID(p.ID)
			if between.age > 0 {
				old := sale.HoldIDsUntil(first.Time().Add(-between.age))
				copy(first[:6], old[:6])
			}
			early := keyedWish(first.String(), "ann", line(p, 1))
			for range between.others {
				s.hold("somebody else", line(other, 1), line(third, 1))
			}
			in := keyedWish(sale.NewHoldID(p.ID).String(), "bob", line(p, 1))
			made, err := s.CreateHold.Do(s.ctx(), in)
			require.NoError(t, err)
			results := s.batch(p, early, in)
			requireCode(t, results[0].err, sale.CodeAllHeld)
			require.NoError(t, results[1].err)
			assert.Equal(t, action.Result[action.HoldView]{Value: made.Value, Replayed: true}, results[1].Result)
		})
	}
}

func TestLockedOverdueLineInABatchCostsOnlyThoseWhoNeedItsUnits(t *testing.T) {
	s := setupMerging(t)
	p := s.product(4)
	hold := s.hold("ann", line(p, 2))
	s.pass(hold.ID)
	holder := s.lockedLines(hold.ID)
	results := s.batch(p, wish("bob", line(p, 3)), wish("cid", line(p, 1)), wish("dan", line(p, 4)))
	require.NoError(t, holder.Rollback())
	requireCode(t, results[0].err, sale.CodeAllHeld)
	require.NoError(t, results[1].err)
	requireCode(t, results[2].err, sale.CodeAllHeld)
	s.requireUnits(p, 0, 4, 0, 0)
}

func TestCustomerWhoseOverdueLineIsLockedIsRefusedAloneInABatch(t *testing.T) {
	s := setupMerging(t)
	p := s.product(10, limited(1))
	busy, free := s.hold("ann", line(p, 1)), s.hold("bob", line(p, 1))
	s.pass(busy.ID)
	s.pass(free.ID)
	holder := s.lockedLines(busy.ID)
	results := s.batch(p, wish("ann", line(p, 1)), wish("bob", line(p, 1)), wish("cid", line(p, 1)))
	require.NoError(t, holder.Rollback())
	requireCode(t, results[0].err, sale.CodeLimitReached)
	require.NoError(t, results[1].err)
	require.NoError(t, results[2].err)
	s.requireUnits(p, 6, 4, 0, 0)
}

func TestOldKeysDoNotSplitTheirBatch(t *testing.T) {
	s := setupMerging(t)
	p := s.product(1000)
	wishes := make([]action.CreateHoldInput, 300)
	for i := range wishes {
		wishes[i] = keyedWish(fmt.Sprint("key ", i), fmt.Sprint(i), line(p, 1))
	}
	for _, old := range []int{50, 150, 250} {
		_, err := s.CreateHold.Do(s.ctx(), wishes[old])
		require.NoError(t, err)
	}
	s.exec("UPDATE idempotency_keys SET created_at = created_at - INTERVAL 25 HOUR")
	before := s.movements()
	for i, result := range s.batch(p, wishes...) {
		require.NoError(t, result.err, i)
		assert.False(t, result.Replayed, i)
	}
	assert.Equal(t, before+2, s.movements(), "one for the batch, one for that before it")
	s.requireUnits(p, 696, 304, 0, 0)
}

// patience turns what never happens into a failure.
const patience = 30 * time.Second

// awaitStatement waits until the database runs a statement of this test that has
// such a text. One that waits for a lock runs until it has it.
func (s *shop) awaitStatement(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx(), patience)
	defer cancel()
	var own string
	require.NoError(s.t, s.db.SQL().QueryRowContext(ctx, "SELECT DATABASE()").Scan(&own))
	for !s.runs(ctx, own, text) {
		require.NoError(s.t, ctx.Err(), "waiting for %s", text)
	}
}

// runs says whether a statement with such a text runs in a database.
func (s *shop) runs(ctx context.Context, own, text string) bool {
	s.t.Helper()
	rows, err := s.db.SQL().QueryContext(ctx, "SHOW FULL PROCESSLIST")
	require.NoError(s.t, err, "waiting for %s", text)
	defer func() { require.NoError(s.t, rows.Close()) }()
	found := false
	for rows.Next() {
		var ignored any
		var database, statement *string
		require.NoError(s.t, rows.Scan(&ignored, &ignored, &ignored, &database, &ignored, &ignored, &ignored, &statement))
		found = found || database != nil && *database == own && statement != nil && strings.Contains(*statement, text)
	}
	require.NoError(s.t, rows.Err())
	return found
}

// Another process commits a key after a batch looked for it and before it writes it.
func TestKeyTakenBetweenLookAndWriteIsReplayedAndTheOthersGetTheirHolds(t *testing.T) {
	s := setupMerging(t, withFrozenCache)
	p := s.product(0)
	_, err := s.GetProduct.Do(s.ctx(), p.ID) // the cache says sold out, so that a look comes first
	require.NoError(t, err)
	_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 100, Reason: "found"})
	require.NoError(t, err)

	wishes := make([]action.CreateHoldInput, 20)
	for i := range wishes {
		wishes[i] = keyedWish(fmt.Sprint("key ", i), fmt.Sprint(i), line(p, 1))
	}
	const taken = 7
	other, err := s.CreateHold.Do(s.ctx(), wishes[taken])
	require.NoError(t, err)
	var id, fingerprint, target []byte
	require.NoError(t, s.db.SQL().QueryRowContext(s.ctx(),
		"SELECT id, fingerprint, target FROM idempotency_keys WHERE target = ?", other.Value.ID).Scan(&id, &fingerprint, &target))
	s.exec("DELETE FROM idempotency_keys WHERE id = ?", id)
	holder := s.locked("INSERT INTO idempotency_keys (id, fingerprint, target, created_at) VALUES (?, ?, ?, NOW(6))", id, fingerprint, target)

	before := s.movements()
	results := make(chan []merged, 1)
	go func() { results <- s.batch(p, wishes...) }()
	s.awaitStatement("-- name: InsertIdempotencyKey ")
	require.NoError(t, holder.Commit())
	for i, result := range <-results {
		require.NoError(t, result.err, i)
		assert.Equal(t, i == taken, result.Replayed, i)
	}
	assert.LessOrEqual(t, s.movements()-before, int64(3))
	s.requireUnits(p, 79, 21, 0, 0)
}

// busy makes wishes whose keys another process, which hangs, is just writing.
func (s *shop) busy(p sale.Product) (text, byID action.CreateHoldInput, holder *sql.Tx) {
	s.t.Helper()
	text = keyedWish("busy", "ann", line(p, 1))
	id := sale.NewHoldID(p.ID)
	byID = keyedWish(id.String(), "bob", line(p, 1))
	made, err := s.CreateHold.Do(s.ctx(), text)
	require.NoError(s.t, err)
	var key []byte
	require.NoError(s.t, s.db.SQL().QueryRowContext(s.ctx(),
		"SELECT id FROM idempotency_keys WHERE target = ?", made.Value.ID).Scan(&key))
	s.exec("DELETE FROM idempotency_keys WHERE id = ?", key)
	holder = s.locked("INSERT INTO idempotency_keys (id, fingerprint, target, created_at) VALUES (?, ?, ?, NOW(6))", key, key, key)
	_, err = holder.ExecContext(s.ctx(), `INSERT INTO hold_lines (id, position, product_id, customer_id, quantity, price_amount, currency,
		state, due_at, expires_at, ttl_seconds, payment_window_seconds, created_at)
		VALUES (?, 0, ?, 'bob', 1, 1000, 'USD', 'held', NOW(6), NOW(6), 300, 900, NOW(6))`, id, p.ID)
	require.NoError(s.t, err)
	return text, byID, holder
}

// The first batch with one of them waits as long as the server lets anybody wait for a lock,
// and those that come after do not wait at all.
func TestKeysThatAnotherProcessIsWritingHoldUpOneBatchAndFailNoneOfTheirNeighbours(t *testing.T) {
	t.Parallel()
	s := openMerging(t, testenv.OwnMySQL(t).DSN())
	p := s.product(100)
	text, byID, holder := s.busy(p)
	for round := range 3 {
		wishes := []action.CreateHoldInput{text, byID}
		for i := range 10 {
			wishes = append(wishes, keyedWish(fmt.Sprint("key ", round, i), "cid", line(p, 1)),
				keyedWish(sale.NewHoldID(p.ID).String(), "dan", line(p, 1)))
		}
		before := s.movements()
		results := s.batch(p, wishes...)
		for _, result := range results[:2] {
			requireCode(t, result.err, sale.CodeKeyInProgress)
		}
		for i, result := range results[2:] {
			require.NoError(t, result.err, i)
		}
		assert.Equal(t, before+2, s.movements(), "one for the others together, one for that before them")
	}
	assert.Equal(t, int64(1), s.count(`SELECT sum_error_raised FROM performance_schema.events_errors_summary_global_by_error
		WHERE error_name = 'ER_LOCK_WAIT_TIMEOUT'`))
	require.NoError(t, holder.Rollback())
	for _, result := range s.batch(p, text, byID) {
		require.NoError(t, result.err)
		assert.False(t, result.Replayed)
	}
}

// The server may end a wait for a lock a second later than it says, after the operation's own
// end: the batch is undone by then all the same.
func TestKeysThatAnotherProcessIsWritingFailNobodyElseWhereTheServerWaitsForLonger(t *testing.T) {
	t.Parallel()
	dsn := testenv.Database(t)
	s := openMerging(t, dsn, func(kit *action.Kit) {
		db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 32, Timeout: 900 * time.Millisecond, Log: kit.Log})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, db.Close()) })
		kit.DB = db
	})
	p := s.product(100)
	text, byID, holder := s.busy(p)
	wishes := []action.CreateHoldInput{text, byID}
	for i := range 10 {
		wishes = append(wishes, keyedWish(fmt.Sprint("key ", i), "cid", line(p, 1)))
	}
	results := s.batch(p, wishes...)
	for _, result := range results[:2] {
		requireCode(t, result.err, sale.CodeKeyInProgress)
	}
	for i, result := range results[2:] {
		require.NoError(t, result.err, i)
	}
	require.NoError(t, holder.Rollback())
}

func TestWishWhoseKeyAnotherProcessIsWritingIsToldSo(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(10, 10)
		text, byID, holder := s.busy(low)
		for range 2 {
			s.refused(sale.CodeKeyInProgress, keyedWish(text.Key, "ann", line(low, 1), line(high, 1)))
			s.refused(sale.CodeKeyInProgress, byID)
		}
		row := s.locked("SELECT 1 FROM products WHERE id = ? FOR UPDATE", high.ID)
		s.refused(sale.CodeOverloaded, keyedWish("another", "ann", line(low, 1), line(high, 1)))
		require.NoError(t, row.Rollback())
		require.NoError(t, holder.Rollback())
		_, err := s.CreateHold.Do(s.ctx(), keyedWish(text.Key, "ann", line(low, 1), line(high, 1)))
		require.NoError(t, err)
	})
}
