package action_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop is the core on a database of its own: the actions as one process has them,
// and what a test needs to look behind them. At the test's end the books balance.
type shop struct {
	*action.Actions
	t      *testing.T
	db     *mysql.DB
	kit    action.Kit
	meter  *meter
	prefix string // of the skus
	skus   int
}

// setup opens a shop. Changes are made to its kit before the actions are wired.
func setup(t *testing.T, changes ...func(*action.Kit)) *shop {
	t.Helper()
	t.Parallel()
	return openShop(t, testenv.Database(t), changes...)
}

// bothPaths runs a test for each way of making a hold: with a transaction of its
// own, and merged with what waits for the same product.
func bothPaths(t *testing.T, test func(t *testing.T, s *shop), changes ...func(*action.Kit)) {
	t.Helper()
	t.Parallel()
	for name, coalesce := range map[string]bool{"plain": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			test(t, setup(t, append(slices.Clone(changes), func(kit *action.Kit) { kit.Coalesce = coalesce })...))
		})
	}
}

func openShop(t *testing.T, dsn string, changes ...func(*action.Kit)) *shop {
	t.Helper()
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 32, Timeout: testenv.Timeout, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	counts := newMeter()
	s := &shop{t: t, db: db, meter: counts, kit: action.Kit{
		DB: db, Meter: counts, Log: slog.New(slog.DiscardHandler), LatePayment: sale.LatePaymentRebook,
	}}
	for _, change := range changes {
		change(&s.kit)
	}
	s.Actions = s.branch()
	t.Cleanup(s.verify)
	return s
}

// in is the same shop for a subtest.
func (s *shop) in(t *testing.T) *shop {
	t.Helper()
	inner := *s
	inner.t = t
	inner.prefix = t.Name() + " "
	return &inner
}

// branch is another process on the same database: its own gates, flights and cache,
// so that only the database orders the work of two branches.
func (s *shop) branch() *action.Actions {
	s.t.Helper()
	kit := s.kit
	if kit.Cache == nil {
		products, err := cache.Open(s.t.Context(), cache.Config{Log: kit.Log, Meter: deaf{}})
		require.NoError(s.t, err)
		s.t.Cleanup(products.Close)
		s.t.Cleanup(func() { s.verifySeen(products) })
		kit.Cache = products
	}
	return action.New(kit)
}

// invariants are queries that find nothing in any committed state, named by the law
// that they prove.
var invariants = map[string]string{
	"the ledger has one row for each version of the stock": `
		SELECT COUNT(*) FROM products p WHERE p.stock_version <> (SELECT COUNT(*) FROM movements m WHERE m.product_id = p.id)
		   OR p.stock_version <> (SELECT MAX(m.stock_version) FROM movements m WHERE m.product_id = p.id)`,
	"each change of stock raises the version": `
		SELECT COUNT(*) FROM products WHERE version < stock_version`,
	"each row of the ledger says what was left": `
		SELECT COUNT(*) FROM (SELECT available_after, SUM(delta) OVER (PARTITION BY product_id ORDER BY stock_version) AS running
		                      FROM movements) AS ledger WHERE running <> available_after`,
	"all lines of a paid order are sold, or restocked with its refund": `
		SELECT COUNT(*) FROM orders o JOIN hold_lines l ON l.id = o.id WHERE o.paid_at IS NOT NULL AND l.state <> 'sold'
		   AND NOT (l.state = 'returned' AND l.ended = 'refunded' AND o.refund_reason = 'requested')`,
	"nothing of an order that ended unpaid is off sale": `
		SELECT COUNT(*) FROM orders o JOIN hold_lines l ON l.id = o.id
		WHERE o.paid_at IS NULL AND (o.cancelled_at IS NOT NULL OR o.failed_at IS NOT NULL OR o.refund_due_at IS NOT NULL)
		  AND l.state <> 'returned'`,
	"money that has to go back is reported": `
		SELECT COUNT(*) FROM payments p WHERE p.state = 'refund_due' AND NOT EXISTS (
			SELECT 1 FROM outbox e WHERE e.order_id = p.order_id AND e.type IN ('order.refund_due', 'payment.refund_due')
			   AND e.payload->>'$.payment_id' = CONVERT(p.payment_id USING utf8mb4) AND e.payload->>'$.provider' = p.provider)`,
	"no payment is reported twice": `
		SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE type IN ('order.refund_due', 'payment.refund_due')
			GROUP BY order_id, payload->>'$.provider', payload->>'$.payment_id' HAVING COUNT(*) > 1) AS twice`,
	"what is sold has a paid order": `
		SELECT COUNT(*) FROM hold_lines l LEFT JOIN orders o ON o.id = l.id AND o.paid_at IS NOT NULL
		WHERE l.state = 'sold' AND o.id IS NULL`,
	"the units of an unpaid order are due when it is": `
		SELECT COUNT(*) FROM hold_lines l JOIN orders o ON o.id = l.id WHERE l.state = 'pending' AND l.due_at <> o.pay_by`,
	"what is pending has an order": `
		SELECT COUNT(*) FROM hold_lines l LEFT JOIN orders o ON o.id = l.id WHERE l.state = 'pending' AND o.id IS NULL`,
	"each event of an order is told once": `
		SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE type LIKE 'order.%' GROUP BY order_id, type HAVING COUNT(*) > 1) AS twice`,
	"each paid order was told of": `
		SELECT COUNT(*) FROM orders o WHERE paid_at IS NOT NULL
		   AND NOT EXISTS (SELECT 1 FROM outbox e WHERE e.order_id = o.id AND e.type = 'order.paid')`,
	"each payment that counts is of its order's total": `
		SELECT COUNT(*) FROM payments p JOIN orders o ON o.id = p.order_id WHERE p.amount <> o.total_amount OR p.currency <> o.currency`,
	"an order's money and its payment's are in the same place": `
		SELECT COUNT(*) FROM orders o JOIN payments p ON p.provider = o.provider AND p.payment_id = o.payment_id
		WHERE p.state <> IF(o.refunded_at IS NOT NULL, 'refunded', IF(o.refund_due_at IS NOT NULL, 'refund_due', 'owns'))`,
	"one event is remembered to have paid each order": `
		SELECT COUNT(*) FROM orders o WHERE o.paid_at IS NOT NULL AND o.payment_id <> ''
		   AND 1 <> (SELECT COUNT(*) FROM payment_events e WHERE e.order_id = o.id AND e.outcome IN ('paid', 'rebooked'))`,
	"an order stands on at most one payment": `
		SELECT COUNT(*) FROM (SELECT 1 FROM payments WHERE state = 'owns' GROUP BY order_id HAVING COUNT(*) > 1) AS twice`,
}

// verify proves conservation and the other laws from one snapshot each.
func (s *shop) verify() {
	ctx := context.WithoutCancel(s.t.Context())
	books, err := s.Audit.Do(ctx)
	require.NoError(s.t, err)
	for _, b := range books {
		assert.True(s.t, b.Balanced(), "books do not balance: %+v", b)
	}
	for law, query := range invariants {
		var broken int64
		require.NoError(s.t, s.db.Survey(ctx, func(ctx context.Context, q store.DBTX) error {
			return q.QueryRowContext(ctx, query).Scan(&broken)
		}), law)
		assert.Zero(s.t, broken, law)
	}
}

// verifySeen proves that what a process saw last of each product was committed just so: a hold
// follows from there what it left, and reads that only now and then.
func (s *shop) verifySeen(products *cache.Cache) {
	ctx := context.WithoutCancel(s.t.Context())
	var after *sale.ProductID
	for more := true; more; more = after != nil {
		page, err := s.ListProducts.Do(ctx, 100, after)
		require.NoError(s.t, err)
		for _, row := range page.Products {
			if seen, known := products.Newest(row.ID); known {
				s.verifyCommitted(ctx, seen, row)
			}
		}
		after = page.Next
	}
}

// verifyCommitted finds a state in the ledger, and in the row where that has its version.
func (s *shop) verifyCommitted(ctx context.Context, seen, row sale.Product) {
	var left int64
	require.NoError(s.t, s.db.Survey(ctx, func(ctx context.Context, q store.DBTX) error {
		return q.QueryRowContext(ctx, "SELECT available_after FROM movements WHERE product_id = ? AND stock_version = ?",
			seen.ID, seen.StockVersion).Scan(&left)
	}), "the ledger has version %d of %s", seen.StockVersion, seen.SKU)
	assert.Equal(s.t, left, seen.AvailableStock, "units left by version %d of %s", seen.StockVersion, seen.SKU)
	if seen.Version == row.Version {
		assert.Equal(s.t, row, seen, "a version is one state")
	}
}

func (s *shop) ctx() context.Context { return s.t.Context() }

// exec changes the database behind the service's back, mostly its times, on the
// patient connections.
func (s *shop) exec(query string, args ...any) {
	s.t.Helper()
	require.NoError(s.t, s.db.Survey(s.ctx(), func(ctx context.Context, q store.DBTX) error {
		_, err := q.ExecContext(ctx, query, args...)
		return err
	}))
}

// count runs a query for one number.
func (s *shop) count(query string, args ...any) int64 {
	s.t.Helper()
	var n int64
	require.NoError(s.t, s.db.Survey(s.ctx(), func(ctx context.Context, q store.DBTX) error {
		return q.QueryRowContext(ctx, query, args...).Scan(&n)
	}))
	return n
}

// product makes one of so many units at 10.00 USD, without any rule unless a change says so.
func (s *shop) product(stock int64, changes ...func(*action.CreateProductInput)) sale.Product {
	s.t.Helper()
	s.skus++
	in := action.CreateProductInput{
		SKU: fmt.Sprint(s.prefix, s.skus), Name: "Thing", Stock: stock,
		Rules: sale.Rules{Price: sale.Money{Amount: 1000, Currency: "USD"}},
	}
	for _, change := range changes {
		change(&in)
	}
	result, err := s.CreateProduct.Do(s.ctx(), in)
	require.NoError(s.t, err)
	return result.Value
}

// twoProducts gives two, the lower id first.
func (s *shop) twoProducts(stockLow, stockHigh int64, changes ...func(*action.CreateProductInput)) (low, high sale.Product) {
	s.t.Helper()
	low, high = s.product(stockLow, changes...), s.product(stockHigh, changes...)
	for low.ID.Compare(high.ID) > 0 { // ids of one millisecond come in no order
		high = s.product(stockHigh, changes...)
	}
	return low, high
}

func limited(limit int64) func(*action.CreateProductInput) {
	return func(in *action.CreateProductInput) { in.Rules.PerCustomerLimit = &limit }
}

func priced(amount int64, currency string) func(*action.CreateProductInput) {
	return func(in *action.CreateProductInput) { in.Rules.Price = sale.Money{Amount: amount, Currency: currency} }
}

func line(p sale.Product, quantity int64) sale.LineRequest {
	return sale.LineRequest{ProductID: p.ID, Quantity: quantity}
}

func wish(customer string, lines ...sale.LineRequest) action.CreateHoldInput {
	return action.CreateHoldInput{CustomerID: customer, Lines: lines}
}

func keyedWish(key, customer string, lines ...sale.LineRequest) action.CreateHoldInput {
	return action.CreateHoldInput{Key: key, CustomerID: customer, Lines: lines}
}

func (s *shop) hold(customer string, lines ...sale.LineRequest) action.HoldView {
	s.t.Helper()
	result, err := s.CreateHold.Do(s.ctx(), wish(customer, lines...))
	require.NoError(s.t, err)
	require.False(s.t, result.Replayed)
	return result.Value
}

// refused is a hold that must fail with this code.
func (s *shop) refused(code sale.Code, in action.CreateHoldInput) sale.Error {
	s.t.Helper()
	_, err := s.CreateHold.Do(s.ctx(), in)
	return requireCode(s.t, err, code)
}

func (s *shop) order(hold action.HoldView) action.OrderView {
	s.t.Helper()
	result, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{HoldID: hold.ID})
	require.NoError(s.t, err)
	require.False(s.t, result.Replayed)
	return result.Value
}

// ordered is an order of a new hold.
func (s *shop) ordered(customer string, lines ...sale.LineRequest) action.OrderView {
	s.t.Helper()
	return s.order(s.hold(customer, lines...))
}

// said is an event about an order, with the order's own total.
func said(kind sale.PaymentKind, order action.OrderView, event, payment string) sale.PaymentEvent {
	return sale.PaymentEvent{
		Provider: sale.ProviderStandard, ID: event, Kind: kind,
		OrderID: order.ID, PaymentID: payment, Amount: order.Total,
	}
}

// tell gives an event that must be answered.
func (s *shop) tell(event sale.PaymentEvent) action.PaymentResult {
	s.t.Helper()
	result, err := s.ProcessPayment.Do(s.ctx(), event)
	require.NoError(s.t, err)
	return result
}

// succeed tells that an order was paid with a payment of this name.
func (s *shop) succeed(order action.OrderView, payment string) action.PaymentResult {
	s.t.Helper()
	return s.tell(said(sale.PaymentSucceeded, order, "success of "+payment, payment))
}

// cancel ends an order that nobody has paid.
func (s *shop) cancel(order action.OrderView) action.OrderView {
	s.t.Helper()
	result, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{OrderID: order.ID})
	require.NoError(s.t, err)
	return result.Value
}

// refund asks for an order's money to go back.
func (s *shop) refund(order action.OrderView, restock bool) action.OrderView {
	s.t.Helper()
	result, err := s.RefundOrder.Do(s.ctx(), action.RefundOrderInput{OrderID: order.ID, Restock: restock})
	require.NoError(s.t, err)
	return result.Value
}

func (s *shop) status(order action.OrderView) sale.OrderStatus {
	s.t.Helper()
	view, err := s.GetOrder.Do(s.ctx(), order.ID)
	require.NoError(s.t, err)
	return view.Status
}

// pass makes a hold's or order's time be over, as if it had been made a day ago.
func (s *shop) pass(id sale.HoldID) {
	s.t.Helper()
	s.exec(`UPDATE hold_lines SET due_at = due_at - INTERVAL 1 DAY, expires_at = expires_at - INTERVAL 1 DAY,
		created_at = created_at - INTERVAL 1 DAY WHERE id = ?`, id)
	s.exec("UPDATE orders SET pay_by = pay_by - INTERVAL 1 DAY, created_at = created_at - INTERVAL 1 DAY WHERE id = ?", id)
}

// sweep releases all that is overdue.
func (s *shop) sweep() action.Released {
	s.t.Helper()
	released, err := s.ReleaseExpired.Do(s.ctx())
	require.NoError(s.t, err)
	return released
}

func (s *shop) books(p sale.Product) sale.Books {
	s.t.Helper()
	books, err := s.Audit.Do(s.ctx(), p.ID)
	require.NoError(s.t, err)
	require.Len(s.t, books, 1)
	return books[0]
}

// requireUnits says where a product's units have to be.
func (s *shop) requireUnits(p sale.Product, available, held, pending, sold int64) {
	s.t.Helper()
	b := s.books(p)
	require.Equal(s.t, [4]int64{available, held, pending, sold}, [4]int64{b.Available, b.Held, b.Pending, b.Sold},
		"available, held, pending, sold")
}

// events are the types of what the world was told of an order, as a set with counts.
func (s *shop) events(order action.OrderView) map[string]int {
	s.t.Helper()
	rows, err := s.db.SQL().QueryContext(s.ctx(), "SELECT type FROM outbox WHERE order_id = ?", order.ID)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, rows.Close()) }()
	told := map[string]int{}
	for rows.Next() {
		var event string
		require.NoError(s.t, rows.Scan(&event))
		told[event]++
	}
	require.NoError(s.t, rows.Err())
	return told
}

// fill writes n holds of one unit each, all due at an offset from now in seconds,
// with the ledger and the stock that belong to them.
func (s *shop) fill(p sale.Product, n, dueIn int64) {
	s.t.Helper()
	const hundredThousand = `WITH RECURSIVE digits AS (SELECT 0 AS d UNION ALL SELECT d + 1 FROM digits WHERE d < 9)
		SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM digits a, digits b, digits c, digits e, digits f`
	s.exec(`INSERT INTO hold_lines (id, position, product_id, customer_id, quantity, price_amount, currency, state,
			due_at, expires_at, ttl_seconds, payment_window_seconds, created_at)
		SELECT LEFT(UNHEX(SHA2(CONCAT(HEX(?), numbers.n), 256)), 16), 0, ?, CONCAT('filler ', numbers.n), 1, 1000, 'USD', 'held',
			NOW(6) + INTERVAL ? SECOND + INTERVAL numbers.n MICROSECOND, NOW(6) + INTERVAL ? SECOND, 300, 900, NOW(6)
		FROM (`+hundredThousand+`) AS numbers WHERE numbers.n < ?`, p.ID, p.ID, dueIn, dueIn, n)
	s.exec(`UPDATE products SET available_stock = available_stock - ?, stock_version = stock_version + 1, version = version + 1
		WHERE id = ?`, n, p.ID)
	s.exec(`INSERT INTO movements (product_id, stock_version, delta, available_after, reason, created_at)
		SELECT id, stock_version, -?, available_stock, 'held', NOW(6) FROM products WHERE id = ?`, n, p.ID)
}

func requireCode(t *testing.T, err error, code sale.Code) sale.Error {
	t.Helper()
	var failure *sale.Error
	require.ErrorAs(t, err, &failure, "want %s", code)
	require.Equal(t, code, failure.Code, failure.Error())
	return *failure
}

// crowd runs do n times at once, all let go together, and waits for all.
func crowd(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			do(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// tally counts by code what came of many tries; an error that no client may see
// fails the test.
type tally struct {
	mu    sync.Mutex
	t     *testing.T
	codes map[sale.Code]int // "" for success
}

func newTally(t *testing.T) *tally {
	t.Helper()
	return &tally{t: t, codes: map[sale.Code]int{}}
}

func (c *tally) add(err error) {
	var failure *sale.Error
	code := sale.Code("")
	switch {
	case err == nil:
	case errors.As(err, &failure):
		code = failure.Code
	default:
		c.t.Errorf("an error that no client may see: %v", err)
		code = "internal"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[code]++
}

// meter counts what the actions say.
type meter struct {
	mu       sync.Mutex
	created  int64
	restored int64
	returned map[sale.ReturnReason][2]int64 // lines, units
	waiting  map[string]int                 // at the kinds of gates
	rejected map[sale.Code]int
	outcomes map[sale.PaymentOutcome]int
	attempts map[sale.AttemptResult]int
}

func (m *meter) HoldCreated(units int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.created += units
}

func (m *meter) HoldRejected(code sale.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rejected[code]++
}

func (m *meter) PaymentReceived(outcome sale.PaymentOutcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes[outcome]++
}

func newMeter() *meter {
	return &meter{
		returned: map[sale.ReturnReason][2]int64{}, waiting: map[string]int{}, rejected: map[sale.Code]int{},
		outcomes: map[sale.PaymentOutcome]int{}, attempts: map[sale.AttemptResult]int{},
	}
}

func (m *meter) StockRestored(reason sale.ReturnReason, lines, units int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restored += units
	sum := m.returned[reason]
	m.returned[reason] = [2]int64{sum[0] + lines, sum[1] + units}
}

func (m *meter) DeliveryAttempted(result sale.AttemptResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts[result]++
}

func (m *meter) EndpointsSurveyed(int64, time.Duration, int64) {}

func (m *meter) Lane(string) lane.Meter           { return m }
func (m *meter) Gate(kind string) lane.QueueMeter { return &turns{m, kind} }

// turns counts who waits at one kind of gate.
type turns struct {
	*meter
	kind string
}

func (w *turns) QueueChanged(by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[w.kind] += by
}

func (m *meter) waitingAt(kind string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.waiting[kind]
}

func (m *meter) BatchStarted(int, time.Duration) {}
func (m *meter) BatchEnded(time.Duration)        {}
func (m *meter) QueueChanged(int)                {}
func (m *meter) Overloaded()                     {}

// deaf is a cache's meter that nobody reads.
type deaf struct{}

func (deaf) CacheRead(string)   {}
func (deaf) CacheFailed(string) {}
func (deaf) RedisUp(bool)       {}

// frozenCache never hears of a change: each product stays as it was read first, as
// in a process whose cache is behind.
type frozenCache struct {
	mu       sync.Mutex
	products map[sale.ProductID]sale.Product
}

func (c *frozenCache) Get(
	ctx context.Context, id sale.ProductID, load func(context.Context) (sale.Product, error),
) (sale.Product, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if product, found := c.products[id]; found {
		return product, true, nil
	}
	product, err := load(ctx)
	if err == nil {
		c.products[id] = product
	}
	return product, false, err
}

func (c *frozenCache) Newest(sale.ProductID) (sale.Product, bool) { return sale.Product{}, false }

func (c *frozenCache) Put(context.Context, ...sale.Product) {}

func withFrozenCache(kit *action.Kit) {
	kit.Cache = &frozenCache{products: map[sale.ProductID]sale.Product{}}
}

// eternalCache is one in which nothing grows old.
type eternalCache struct{ frozenCache }

func (c *eternalCache) Newest(id sale.ProductID) (sale.Product, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	product, found := c.products[id]
	return product, found
}

func (c *eternalCache) Put(_ context.Context, products ...sale.Product) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, product := range products {
		c.products[product.ID] = product
	}
}

func withEternalCache(kit *action.Kit) {
	kit.Cache = &eternalCache{frozenCache{products: map[sale.ProductID]sale.Product{}}}
}

func ptr[T any](value T) *T { return &value }

const longAgo, farAhead = -time.Hour, time.Hour

func at(offset time.Duration) *time.Time {
	return ptr(time.Now().Add(offset).UTC().Truncate(time.Microsecond))
}
