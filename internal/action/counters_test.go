package action_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// counted is a shop with merged holds on a server where nobody else is, so that
// the server's own counters tell what the shop costs it.
type counted struct {
	*shop
	queue *queue
}

// queue lets a test wait until batches have begun or requests wait.
type queue struct {
	*meter
	mu      sync.Mutex
	changed *sync.Cond
	waiting int
	begun   int
}

func newQueue() *queue {
	q := &queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

func (q *queue) Lane(string) lane.Meter          { return q }
func (q *queue) QueueChanged(by int)             { q.change(by, 0) }
func (q *queue) BatchStarted(int, time.Duration) { q.change(0, 1) }

func (q *queue) change(waiting, begun int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting += waiting
	q.begun += begun
	q.changed.Broadcast()
}

// batches is how many have begun.
func (q *queue) batches() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.begun
}

// await waits for what takes a moment, and fails rather than to wait for ever: who
// waits in a lane leaves it after a while.
func (q *queue) await(t *testing.T, met func() bool) {
	t.Helper()
	late := false
	timer := time.AfterFunc(30*time.Second, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		late = true
		q.changed.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for !met() && !late {
		q.changed.Wait()
	}
	require.True(t, met(), "%d wait, %d batches have begun", q.waiting, q.begun)
}

func openCounted(t *testing.T, changes ...func(*action.Kit)) *counted {
	t.Helper()
	t.Parallel()
	return openCountedOn(t, testenv.OwnMySQL(t).DSN(), changes...)
}

func openCountedOn(t *testing.T, dsn string, changes ...func(*action.Kit)) *counted {
	t.Helper()
	q := newQueue()
	c := &counted{queue: q}
	c.shop = openShop(t, dsn, func(kit *action.Kit) {
		kit.Coalesce = true
		q.meter = newMeter()
		kit.Meter = q
		for _, change := range changes {
			change(kit)
		}
	})
	c.connect()
	return c
}

// connect opens the connections that a test will need: what a new one is told
// would be counted.
func (c *counted) connect() {
	c.t.Helper()
	const connections = 8
	var open []*sql.Conn
	for range connections {
		conn, err := c.db.SQL().Conn(c.ctx())
		require.NoError(c.t, err)
		open = append(open, conn)
	}
	for _, conn := range open {
		require.NoError(c.t, conn.Close())
	}
}

// counter reads one of the server's counters.
func (c *counted) counter(name string) int64 {
	c.t.Helper()
	var value int64
	require.NoError(c.t, c.db.SQL().QueryRowContext(c.ctx(), "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value))
	return value
}

// statements counts what the server was asked. What a new connection is told does
// not count: when the pool makes one is a matter of time.
func (c *counted) statements() int64 {
	c.t.Helper()
	return c.counter("Questions") - c.counter("Com_set_option")
}

// rush asks for so many holds. One request's batch is held up, and the others wait
// meanwhile. So there are two batches, whatever the machine does.
func (c *counted) rush(n int, p sale.Product) map[sale.Code]int {
	c.t.Helper()
	return c.rushOn("products", n, c.holder(p))
}

// holder asks for holds with keys of their own.
func (c *counted) holder(p sale.Product) func(int) error {
	return func(i int) error {
		_, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), keyedWish(
			sale.NewHoldID(p.ID).String(), "customer-"+strconv.Itoa(i), line(p, 1)))
		return err
	}
}

// rushOn is a rush of any requests, whose first batch waits for a locked table.
func (c *counted) rushOn(table string, n int, ask func(i int) error) map[sale.Code]int {
	c.t.Helper()
	codes, _ := c.rushBeside(table, n, ask)
	return codes
}

// rushBeside is a rush beside operations that take the product's row each for itself.
// It says how many transactions wait for the locked table at once, too.
func (c *counted) rushBeside(
	table string, n int, ask func(i int) error, others ...func() error,
) (outcomes map[sale.Code]int, waiting int64) {
	c.t.Helper()
	codes := newTally(c.t)
	begun := c.queue.batches()
	unlock := c.lockTable(table)
	var running sync.WaitGroup
	running.Go(func() { codes.add(ask(0)) })
	c.queue.await(c.t, func() bool { return c.queue.begun > begun })
	for _, other := range others {
		running.Go(func() { codes.add(other()) })
	}
	for i := range n - 1 {
		running.Go(func() { codes.add(ask(i + 1)) })
	}
	c.queue.await(c.t, func() bool { return c.queue.waiting == n-1 })
	if len(others) > 0 {
		c.awaitStatement("-- name: LockProduct ")
		require.NoError(c.t, c.db.SQL().QueryRowContext(c.ctx(), `SELECT COUNT(*) FROM performance_schema.threads
			WHERE processlist_state = 'Waiting for table metadata lock'`).Scan(&waiting))
	}
	unlock()
	running.Wait()
	return codes.codes, waiting
}

// lockTable keeps all others from a table until unlock is called.
func (s *shop) lockTable(name string) (unlock func()) {
	s.t.Helper()
	conn, err := s.db.SQL().Conn(s.ctx())
	require.NoError(s.t, err)
	execute := func(statement string) {
		_, err := conn.ExecContext(s.ctx(), statement)
		require.NoError(s.t, err)
	}
	execute("LOCK TABLES " + name + " WRITE")
	return func() {
		execute("UNLOCK TABLES")
		require.NoError(s.t, conn.Close())
	}
}

// mostPerThousand is how many commits a thousand holds of a crowd may cost.
const mostPerThousand = 25

func TestAThousandHoldsOfACrowdCostAtMost25Commits(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000)
	const rounds, crowd = 4, 256
	before := c.counter("Com_commit")
	for range rounds {
		codes := c.rush(crowd, p)
		require.Equal(t, map[sale.Code]int{"": crowd}, codes)
	}
	commits := c.counter("Com_commit") - before
	assert.LessOrEqual(t, commits*1000, int64(mostPerThousand*rounds*crowd), "%d commits", commits)
}

// What gives units back takes the product's row in a transaction of its own, a few at a
// time: else each hold would wait for as many commits as are given back beside it.
func TestReleasesAndFailuresBesideACrowdDoNotBreakItUp(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000)
	const rounds, crowd, releases, failures = 4, 256, 10, 10
	const mostWaiting = 2 + 2 // batches that fly, and who is let through the product's gate
	var commits int64
	for round := range rounds {
		others := append(c.releases(releases, p), c.failures(failures, round, p)...)
		before := c.counter("Com_commit")
		codes, waiting := c.rushBeside("products", crowd, c.holder(p), others...)
		commits += c.counter("Com_commit") - before
		require.Equal(t, map[sale.Code]int{"": crowd + releases + failures}, codes)
		assert.LessOrEqual(t, waiting, int64(mostWaiting))
	}
	ofHolds := commits - rounds*(releases+failures)
	assert.LessOrEqual(t, ofHolds*1000, int64(mostPerThousand*rounds*crowd), "%d commits, %d of them of holds", commits, ofHolds)
	c.requireUnits(p, 100_000-rounds*crowd, rounds*crowd, 0, 0)
}

// Orders and payments share no row, only the commit.
func TestOrdersAndPaymentsOfACrowdShareTransactions(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000)
	const (
		crowd       = 64
		mostCommits = 2 // of two batches
	)
	holds := make([]sale.HoldID, crowd)
	for i := range holds {
		holds[i] = c.hold("ann", line(p, 1)).ID
	}
	commits := func(table string, ask func(i int) error) int64 {
		before := c.counter("Com_commit")
		require.Equal(t, map[sale.Code]int{"": crowd}, c.rushOn(table, crowd, ask))
		return c.counter("Com_commit") - before
	}
	orders := make([]action.OrderView, crowd)
	assert.LessOrEqual(t, commits("orders", func(i int) error {
		made, err := c.CreateOrder.Do(context.WithoutCancel(c.ctx()), action.CreateOrderInput{Key: holds[i].String(), HoldID: holds[i]})
		orders[i] = made.Value
		return err
	}), int64(mostCommits), "of orders")
	assert.LessOrEqual(t, commits("payments", func(i int) error {
		name := strconv.Itoa(i)
		_, err := c.ProcessPayment.Do(context.WithoutCancel(c.ctx()), said(sale.PaymentSucceeded, orders[i], name, name))
		return err
	}), int64(mostCommits), "of payments")
	c.requireUnits(p, 100_000-crowd, 0, 0, crowd)
}

// What can be no order costs its batch a constant few statements, and so does a key that was
// used before: no crowd that comes too late takes a transaction for each.
func TestOrdersThatAreNoneCostABatchTheSameStatementsHoweverManyTheyAre(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000)
	holds := func(n int) []sale.HoldID {
		ids := make([]sale.HoldID, n)
		for i := range ids {
			ids[i] = c.hold("ann", line(p, 1)).ID
		}
		return ids
	}
	released := func(n int) []sale.HoldID {
		ids := holds(n)
		for _, id := range ids {
			_, err := c.ReleaseHold.Do(c.ctx(), action.ReleaseHoldInput{HoldID: id})
			require.NoError(t, err)
		}
		return ids
	}
	expired := func(n int) []sale.HoldID {
		ids := holds(n)
		for _, id := range ids {
			c.pass(id)
		}
		return ids
	}
	for name, test := range map[string]struct {
		make func(n int) []sale.HoldID
		want sale.Code
	}{
		"of no hold": {func(n int) []sale.HoldID {
			ids := make([]sale.HoldID, n)
			for i := range ids {
				ids[i] = sale.NewHoldID(p.ID)
			}
			return ids
		}, sale.CodeHoldNotFound},
		"of one hold that is not there": {func(n int) []sale.HoldID {
			return slices.Repeat([]sale.HoldID{sale.NewHoldID(p.ID)}, n)
		}, sale.CodeHoldNotFound},
		"of expired holds": {expired, sale.CodeHoldExpired},
		"of swept holds": {func(n int) []sale.HoldID {
			ids := expired(n)
			_, err := c.ReleaseExpired.Do(c.ctx())
			require.NoError(t, err)
			return ids
		}, sale.CodeHoldExpired},
		"of released holds": {released, sale.CodeHoldNotActive},
	} {
		for kind, key := range map[string]func(sale.HoldID, int) string{
			"own":  func(id sale.HoldID, _ int) string { return id.String() },
			"text": func(id sale.HoldID, i int) string { return fmt.Sprint("key ", id, " ", i) },
		} {
			if name == "of one hold that is not there" && kind == "own" {
				continue // equal keys follow each other
			}
			t.Run(name+", "+kind+" keys", func(t *testing.T) {
				cost := func(n int) int64 {
					ids := test.make(n)
					before := c.statements()
					codes := c.rushOn("hold_lines", n, func(i int) error {
						_, err := c.CreateOrder.Do(context.WithoutCancel(c.ctx()), action.CreateOrderInput{Key: key(ids[i], i), HoldID: ids[i]})
						return err
					})
					require.Equal(t, map[sale.Code]int{test.want: n}, codes)
					return c.statements() - before
				}
				cost(2)
				few := cost(8)
				assert.Equal(t, few, cost(64))
				const mostStatements = 24 // of two batches, and of this test
				assert.LessOrEqual(t, few, int64(mostStatements))
			})
		}
	}
}

// Keys that were used for other orders do not split the batch of those who come with them.
func TestUsedKeysCostABatchOfOrdersTheSameStatementsHoweverManyTheyAre(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000)
	const crowd = 64
	round := 0
	cost := func(used int) int64 {
		round++
		asked := make([]action.CreateOrderInput, crowd)
		for i := range asked {
			asked[i] = action.CreateOrderInput{Key: fmt.Sprint("key ", round, " ", i), HoldID: c.hold("ann", line(p, 1)).ID}
			if i >= crowd-used {
				_, err := c.CreateOrder.Do(c.ctx(), action.CreateOrderInput{Key: asked[i].Key, HoldID: c.hold("bob", line(p, 1)).ID})
				require.NoError(t, err)
			}
		}
		before := c.statements()
		codes := c.rushOn("orders", crowd, func(i int) error {
			_, err := c.CreateOrder.Do(context.WithoutCancel(c.ctx()), asked[i])
			return err
		})
		require.Equal(t, map[sale.Code]int{"": crowd - used, sale.CodeKeyReused: used}, codes)
		return c.statements() - before
	}
	cost(1)
	assert.Equal(t, cost(1), cost(16))
}

// A free order is paid when it is made, and shares its transaction like any other.
func TestFreeOrdersOfACrowdShareTransactions(t *testing.T) {
	c := openCounted(t)
	p := c.product(100_000, func(in *action.CreateProductInput) { in.Rules.Price.Amount = 0 })
	const crowd = 64
	holds := make([]sale.HoldID, crowd)
	for i := range holds {
		holds[i] = c.hold("ann", line(p, 1)).ID
	}
	before := c.counter("Com_commit")
	made := make([]action.OrderView, crowd)
	require.Equal(t, map[sale.Code]int{"": crowd}, c.rushOn("orders", crowd, func(i int) error {
		result, err := c.CreateOrder.Do(context.WithoutCancel(c.ctx()), action.CreateOrderInput{Key: holds[i].String(), HoldID: holds[i]})
		made[i] = result.Value
		return err
	}))
	assert.Equal(t, int64(2), c.counter("Com_commit")-before, "of two batches")
	for _, order := range made {
		read, err := c.GetOrder.Do(c.ctx(), order.ID)
		require.NoError(t, err)
		assert.Equal(t, read, order)
		assert.Equal(t, sale.OrderPaid, order.Status)
	}
	c.requireUnits(p, 100_000-crowd, 0, 0, crowd)
}

// releases prepares to give back so many holds.
func (c *counted) releases(n int, p sale.Product) []func() error {
	c.t.Helper()
	var all []func() error
	for range n {
		hold := c.hold("ann", line(p, 1))
		all = append(all, func() error {
			_, err := c.ReleaseHold.Do(c.ctx(), action.ReleaseHoldInput{HoldID: hold.ID})
			return err
		})
	}
	return all
}

// failures prepares the failed payments of so many orders.
func (c *counted) failures(n, round int, p sale.Product) []func() error {
	c.t.Helper()
	var all []func() error
	for i := range n {
		order, name := c.ordered("bob", line(p, 1)), fmt.Sprint("failure ", round, " ", i)
		all = append(all, func() error {
			_, err := c.ProcessPayment.Do(c.ctx(), said(sale.PaymentFailed, order, name, name))
			return err
		})
	}
	return all
}

func TestABatchCostsTheSameStatementsHoweverManyAreInIt(t *testing.T) {
	c := openCounted(t, withFrozenCache) // the real one reads a product again each second
	const most = 256
	stocked, soldOut, ordered := c.product(100_000), c.product(1), c.product(2*most)
	c.hold("first", line(soldOut, 1))
	early := c.product(100_000, func(in *action.CreateProductInput) { in.Rules.SaleStartsAt = at(farAhead) })
	free, full := c.product(100_000, limited(1)), c.product(100_000, limited(1))
	require.Equal(t, map[sale.Code]int{"": most}, c.rush(most, full))
	var texts, customers, baskets atomic.Int64
	others := make([]sale.Product, 8)
	for i := range others {
		others[i] = c.product(100_000, limited(int64(most)))
		c.hold("first", line(others[i], 1))
	}
	c.refused(sale.CodeSaleNotStarted, wish("first", line(early, 1)))
	// basket asks for some product beside one that cannot be had.
	basket := func(key func() string, lacking sale.Product) func(int) error {
		return func(int) error {
			n := baskets.Add(1)
			other := others[n%int64(len(others))]
			_, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), keyedWish(
				key(), fmt.Sprint("customer ", n), line(other, 1), line(lacking, 2)))
			return err
		}
	}
	tests := map[string]struct {
		ask  func(int) error
		want sale.Code
	}{
		"holds":    {c.holder(stocked), ""},
		"refusals": {c.holder(soldOut), sale.CodeAllHeld},
		"refusals of texts": {func(int) error {
			_, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), keyedWish(fmt.Sprint("late ", texts.Add(1)), "ann", line(soldOut, 1)))
			return err
		}, sale.CodeAllHeld},
		"holds within a limit": {func(int) error {
			_, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), wish(fmt.Sprint("customer ", customers.Add(1)), line(free, 1)))
			return err
		}, ""},
		"refusals by a limit": {c.holder(full), sale.CodeLimitReached},
		"refusals of baskets": {basket(func() string { return fmt.Sprint("basket ", texts.Add(1)) }, soldOut), sale.CodeAllHeld},
		"baskets too early":   {basket(func() string { return "" }, early), sale.CodeSaleNotStarted},
		"replays":             {c.replayer(most, ordered, func(int) string { return sale.NewHoldID(ordered.ID).String() }), ""},
		"replays of texts":    {c.replayer(most, ordered, func(i int) string { return fmt.Sprint("key ", i) }), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cost := func(crowd int) int64 {
				before := c.statements()
				codes := c.rushOn("products", crowd, test.ask)
				require.Equal(t, map[sale.Code]int{test.want: crowd}, codes)
				return c.statements() - before
			}
			cost(2) // reads the product into the cache
			few := cost(16)
			assert.Equal(t, few, cost(most))
			const mostStatements = 24 // of two batches, and of this test
			assert.LessOrEqual(t, few, int64(mostStatements))
		})
	}
}

// Those who come too early are refused like those who come too late: by a look.
func TestACrowdOutsideOfTheSaleWritesNothing(t *testing.T) {
	c := openCounted(t)
	for name, test := range map[string]struct {
		rules func(*action.CreateProductInput)
		want  sale.Code
	}{
		"before its start": {func(in *action.CreateProductInput) { in.Rules.SaleStartsAt = at(farAhead) }, sale.CodeSaleNotStarted},
		"after its end":    {func(in *action.CreateProductInput) { in.Rules.SaleEndsAt = at(longAgo) }, sale.CodeSaleEnded},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.product(100_000, test.rules)
			const crowd = 64
			before := c.counter("Innodb_rows_inserted")
			assert.Equal(t, map[sale.Code]int{test.want: crowd}, c.rush(crowd, p))
			assert.Equal(t, before, c.counter("Innodb_rows_inserted"))
		})
	}
}

// Nobody reads what a hold left while its process knows what was there before.
func TestAHoldOfAProductThatItsProcessKnowsReadsNothing(t *testing.T) {
	c := openCounted(t, withEternalCache)
	p := c.product(100)
	cost := func() int64 {
		before := c.statements()
		c.hold("ann", line(p, 1))
		return c.statements() - before
	}
	cost() // reads the product into the cache
	const (
		each = 6 // BEGIN, the clock, the line, the stock, the movement, COMMIT
		own  = 2 // of this test
	)
	for range 3 {
		assert.Equal(t, int64(each+own), cost())
	}
}

// replayer makes holds, of which every other one is ordered, and asks again with their keys.
func (c *counted) replayer(n int, p sale.Product, key func(i int) string) func(int) error {
	c.t.Helper()
	wishes, views := make([]action.CreateHoldInput, n), make([]action.HoldView, n)
	for i := range wishes {
		wishes[i] = keyedWish(key(i), "customer-"+strconv.Itoa(i), line(p, 1))
		made, err := c.CreateHold.Do(c.ctx(), wishes[i])
		require.NoError(c.t, err)
		views[i] = made.Value
		if i%2 == 0 {
			c.order(views[i])
			views[i].Status, views[i].Ordered = sale.HoldOrdered, true
		}
	}
	return func(i int) error {
		again, err := c.CreateHold.Do(context.WithoutCancel(c.ctx()), wishes[i])
		assert.True(c.t, again.Replayed)
		assert.Equal(c.t, views[i], again.Value)
		return err
	}
}
