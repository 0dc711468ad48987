package crash

import (
	"net/http"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// price is what each unit costs.
const price = 1000

// play is the story: each kind of request that commits, each sent again until it is
// answered.
func (w *world) play() {
	w.t.Helper()
	low := w.product("low", 10)
	high := w.product("high", 5)
	byID := w.hold(w.holdID(low), "by-id", 2, low)
	byKey := w.hold("key", "by-key", 1, low)
	both := w.hold("key-of-both", "both", 2, high, low)

	paid := w.order(byID)
	w.tell("succeeded", paid, "own", 2*price)
	w.tell("succeeded", paid, "extra", 2*price)
	failed := w.order(byKey)
	w.tell("failed", failed, "late", price)
	w.tell("succeeded", failed, "late", price)
	cancelled := w.order(both)
	w.post("/api/orders/"+cancelled+"/cancel", "cancel", nil)
	w.tell("succeeded", cancelled, "for-nothing", 4*price)
	w.tell("refunded", cancelled, "for-nothing", 4*price)
	w.post("/api/orders/"+paid+"/refund", "refund", map[string]any{"restock": true})
	w.tell("refunded", paid, "own", 2*price)
	w.tell("refunded", paid, "extra", 2*price)

	late := w.hold("key-of-expired", "expired", 3, low, high)
	expired := w.order(late)
	w.expire(late)
	w.sweep()
	w.tell("succeeded", expired, "too-late", 6*price)
	released := w.hold("key-of-released", "released", 1, low)
	w.post("/api/holds/"+released+"/extend", "extend", map[string]any{"seconds": 60})
	w.post("/api/holds/"+released+"/release", "release", nil)
	w.post("/api/products/"+low+"/stock-adjustments", "adjust", map[string]any{"delta": 4, "reason": "found"})
	w.step(http.MethodPatch, "/api/products/"+high, http.Header{}, map[string]any{"name": "Higher"})
	w.expire(w.hold("key-of-overdue", "overdue", 2, high))
	w.hold("key-of-heir", "heir", 2, high)
	w.kill()
}

func (w *world) product(sku string, stock int) string {
	w.t.Helper()
	return w.post("/api/products", sku, map[string]any{
		"sku": sku, "name": "Thing", "stock": stock, "price": map[string]any{"amount": price, "currency": "USD"},
	}).ID
}

// hold holds so many units of each product.
func (w *world) hold(key, customer string, quantity int, products ...string) string {
	w.t.Helper()
	var lines []map[string]any
	for _, product := range products {
		lines = append(lines, map[string]any{"product_id": product, "quantity": quantity})
	}
	return w.post("/api/holds", key, map[string]any{"customer_id": customer, "lines": lines}).ID
}

// holdID is a key that becomes the id of a hold on a product.
func (w *world) holdID(product string) string {
	w.t.Helper()
	home, err := sale.ParseProductID(product)
	require.NoError(w.t, err)
	return sale.NewHoldID(home).String()
}

func (w *world) order(hold string) string {
	w.t.Helper()
	return w.post("/api/orders", "order-of-"+hold, map[string]any{"hold_id": hold}).ID
}

// ledgers are queries that together give all that a story leaves, but for what it
// makes up: ids and times.
var ledgers = []string{
	`SELECT CONCAT_WS(' ', 'product', CONVERT(sku USING utf8mb4), name, 'total', total_stock, 'available', available_stock,
		'versions', stock_version, version) FROM products ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'line', CONVERT(l.customer_id USING utf8mb4), CONVERT(p.sku USING utf8mb4), l.quantity, l.state, NULLIF(l.ended, ''))
		FROM hold_lines l JOIN products p ON p.id = l.product_id ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'order', CONVERT(customer_id USING utf8mb4), total_amount, IF(paid_at IS NULL, NULL, 'paid'),
		IF(failed_at IS NULL, NULL, 'failed'), IF(cancelled_at IS NULL, NULL, 'cancelled'), IF(refund_due_at IS NULL, NULL, 'due'),
		IF(refunded_at IS NULL, NULL, 'refunded'), NULLIF(refund_reason, ''), CONVERT(payment_id USING utf8mb4)) FROM orders ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'payment', CONVERT(p.payment_id USING utf8mb4), CONVERT(o.customer_id USING utf8mb4), p.amount, p.state)
		FROM payments p JOIN orders o ON o.id = p.order_id ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'said', CONVERT(e.event_id USING utf8mb4), CONVERT(o.customer_id USING utf8mb4), e.kind, e.outcome)
		FROM payment_events e JOIN orders o ON o.id = e.order_id ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'moved', CONVERT(p.sku USING utf8mb4), LPAD(m.stock_version, 2, '0'), m.delta, 'to', m.available_after,
		m.reason, NULLIF(m.note, '')) FROM movements m JOIN products p ON p.id = m.product_id ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'told', CONVERT(o.customer_id USING utf8mb4), e.sequence, e.type, e.payload->>'$.payment_id',
		e.payload->>'$.reason') FROM outbox e JOIN orders o ON o.id = e.order_id ORDER BY 1`,
	`SELECT CONCAT_WS(' ', 'keys', COUNT(*)) FROM idempotency_keys`,
	`SELECT CONCAT_WS(' ', 'events', (SELECT COUNT(*) FROM outbox), 'said', (SELECT COUNT(*) FROM payment_events))`,
}

// left is all that the story left.
func (w *world) left() []string {
	w.t.Helper()
	var all []string
	for _, ledger := range ledgers {
		all = append(all, w.rows(ledger)...)
	}
	books, err := w.core.Actions.Audit.Do(w.t.Context())
	require.NoError(w.t, err)
	for _, b := range books {
		assert.True(w.t, b.Balanced(), "books do not balance: %+v", b)
	}
	return all
}
