package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// watchSeconds is how long the story watches what does not end by itself.
const watchSeconds = 2

// Options are what the story needs to know of the server that it is told to.
type Options struct {
	BaseURL            string // such as http://localhost:8080, without a path
	AdminURL           string
	WebhookSecret      string // of the Standard Webhooks form
	UnknownOrderStatus int
}

// Chapter is requests that belong together.
type Chapter struct {
	Title    string
	Requests []Request
}

// Tell writes the story of a scene: run from top to bottom, once, right after the
// scene was made, each request answers with its status. The webhooks' signatures
// hold for payment.Tolerance around now. The error says what is wrong with the
// webhook secret.
func Tell(scene Scene, opts Options, now time.Time) ([]Chapter, error) {
	hold := sale.NewHoldID(scene.Hot.ID)
	t := &teller{scene: scene, opts: opts, now: now, hold: hold, order: sale.OrderOf(hold)}
	chapters := []Chapter{
		{"Is it up?", t.health()},
		{"Products", t.products()},
		{"Hold, keep, give back", t.holds()},
		{"Order and pay", t.orders()},
		{"Sell out", t.sellOut()},
		{"Refusals", t.refusals()},
		{"Free of charge", t.free()},
		{"Cancel and refund", t.secondThoughts()},
		{"Tell others", t.endpoints()},
		{"What it says of itself", t.docs()},
	}
	return chapters, t.err
}

// teller writes chapters, and keeps the ids that appear in several.
type teller struct {
	scene Scene
	opts  Options
	now   time.Time
	hold  sale.HoldID  // of two hot units
	order sale.OrderID // of that hold
	err   error
}

func (t *teller) get(title string, status int, path string, headers ...Header) Request {
	return Request{Title: title, Status: status, Method: http.MethodGet, URL: t.opts.BaseURL + path, Headers: headers}
}

// post sends a body, or none when it is nil, under an idempotency key.
func (t *teller) post(title string, status int, path, key string, body any) Request {
	r := t.send(http.MethodPost, title, status, path, body)
	r.Headers = append(r.Headers, Header{"Idempotency-Key", key})
	return r
}

func (t *teller) send(method, title string, status int, path string, body any) Request {
	r := Request{Title: title, Status: status, Method: method, URL: t.opts.BaseURL + path}
	if body == nil {
		return r
	}
	text, err := json.Marshal(body)
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("writing %q: %w", title, err)
	}
	r.Body = string(text)
	r.Headers = []Header{{"Content-Type", "application/json"}}
	return r
}

// webhook signs a success. A fault of the secret is kept for Tell.
func (t *teller) webhook(title string, status int, secret, event string, order sale.OrderID, units int64) Request {
	total := sale.Money{Amount: units * hotPrice, Currency: dollars}
	w := Webhook{EventID: event, Type: WebhookTypes()[0], OrderID: order, Amount: total}
	r, err := w.Sign(t.opts.BaseURL, secret, t.now)
	if err != nil && t.err == nil {
		t.err = err
	}
	r.Title, r.Status = title, status
	return r
}

func (t *teller) health() []Request {
	return []Request{
		t.get("The process lives", http.StatusOK, "/livez"),
		t.get("It is ready: MySQL is reachable and migrated; Redis is reported", http.StatusOK, "/readyz"),
	}
}

func (t *teller) products() []Request {
	hot := "/api/products/" + t.scene.Hot.ID.String()
	poster := "/api/products/" + t.scene.Limited.ID.String()
	limited, movements, audit := poster+"/stock-adjustments", poster+"/stock-movements", poster+"/audit"
	created := map[string]any{"sku": "MUG-1", "name": "Mug", "price": price(1500, dollars), "stock": 40}
	renamed := map[string]any{"sku": "MUG-1", "name": "Cup", "price": price(1500, dollars), "stock": 40}
	invalid := map[string]any{"sku": "", "name": "Mug", "price": price(-1, dollars), "stock": 40}
	watched := t.get(fmt.Sprintf("Watch its stock live, for %d seconds", watchSeconds), http.StatusOK, hot+"/events")
	watched.Seconds = watchSeconds
	return []Request{
		t.get("The ticket that everybody wants: 10 in stock", http.StatusOK, hot),
		t.get("Who has it already gets no body: send the ETag, or * for any", http.StatusNotModified, hot,
			Header{"If-None-Match", "*"}),
		watched,
		t.get("The first products of all", http.StatusOK, "/api/products?limit=3"),
		t.post("Create a product", http.StatusCreated, "/api/products", "demo-create-mug", created),
		t.post("The same request again: its first answer, and no second product", http.StatusCreated,
			"/api/products", "demo-create-mug", created),
		t.post("The same key with another body", http.StatusUnprocessableEntity, "/api/products", "demo-create-mug", renamed),
		t.post("The same SKU under another key", http.StatusConflict, "/api/products", "demo-create-mug-2", created),
		t.post("An invalid product: pointers say what is wrong", http.StatusUnprocessableEntity,
			"/api/products", "demo-create-invalid", invalid),
		t.send(http.MethodPatch, "Rename a product", http.StatusOK, hot, map[string]any{"name": "Front row ticket, seat 1 to 10"}),
		t.post("Put 5 more posters on sale", http.StatusOK, limited, "demo-adjust-1",
			map[string]any{"delta": 5, "reason": "second delivery"}),
		t.post("Take away more posters than there are", http.StatusConflict, limited, "demo-adjust-2",
			map[string]any{"delta": -1000, "reason": "a slip of the pen"}),
		t.get("The ledger of the posters: what changed their stock, newest first", http.StatusOK, movements+"?limit=5"),
		t.get("Every poster is accounted for", http.StatusOK, audit),
		t.get("A product that does not exist", http.StatusNotFound, "/api/products/"+sale.NewProductID().String()),
		t.get("An id that is none", http.StatusUnprocessableEntity, "/api/products/ticket"),
	}
}

func (t *teller) holds() []Request {
	wish := holdOf(firstPlayer, line(t.scene.Hot, 2))
	spare := sale.NewHoldID(t.scene.Hot.ID)
	of := func(id sale.HoldID, verb string) string { return "/api/holds/" + id.String() + verb }
	return []Request{
		t.post("Hold 2 tickets; the key is a new hold id, and becomes the hold's", http.StatusCreated,
			"/api/holds", t.hold.String(), wish),
		t.post("The same hold again: the same answer, and no more units", http.StatusCreated,
			"/api/holds", t.hold.String(), wish),
		t.get("Look at the hold", http.StatusOK, of(t.hold, "")),
		t.post("Extend it by a minute", http.StatusOK, of(t.hold, "/extend"), "demo-extend-1", map[string]any{"seconds": 60}),
		t.post("Somebody else holds a ticket", http.StatusCreated, "/api/holds", spare.String(),
			holdOf(secondPlayer, line(t.scene.Hot, 1))),
		t.post("… and gives it back", http.StatusOK, of(spare, "/release"), "demo-release-1", nil),
		t.post("… twice, but the unit goes back once", http.StatusOK, of(spare, "/release"), "demo-release-2", nil),
		t.post("What was given back cannot be ordered", http.StatusConflict, "/api/orders", "demo-order-released",
			map[string]any{"hold_id": spare}),
		t.get("A hold that does not exist", http.StatusNotFound, of(sale.NewHoldID(t.scene.Hot.ID), "")),
	}
}

func (t *teller) orders() []Request {
	event, unknown := sale.NewEventID().String(), sale.OrderOf(sale.NewHoldID(t.scene.Hot.ID))
	secret := t.opts.WebhookSecret
	path := "/api/orders/" + t.order.String()
	return []Request{
		t.post("Order the 2 tickets", http.StatusCreated, "/api/orders", "demo-order-1", map[string]any{"hold_id": t.hold}),
		t.get("The order waits for its payment", http.StatusOK, path),
		t.post("A hold is ordered once", http.StatusConflict, "/api/orders", "demo-order-2", map[string]any{"hold_id": t.hold}),
		t.webhook("A payment that somebody else signed", http.StatusUnauthorized, signature.NewSecret(), event, t.order, 2),
		t.webhook("The payment, rightly signed: paid", http.StatusOK, secret, event, t.order, 2),
		t.webhook("The same event again: a duplicate, without effect", http.StatusOK, secret, event, t.order, 2),
		t.webhook("A payment for an order that does not exist", t.opts.UnknownOrderStatus, secret,
			sale.NewEventID().String(), unknown, 1),
		t.get("The order is paid", http.StatusOK, path),
		t.get("An order that does not exist", http.StatusNotFound, "/api/orders/"+unknown.String()),
	}
}

func (t *teller) sellOut() []Request {
	rest := sale.NewHoldID(t.scene.Hot.ID)
	left := int64(hotStock - 2)
	more := holdOf(thirdPlayer, line(t.scene.Hot, 1))
	return []Request{
		t.post("Ask for more tickets than are left: insufficient_stock", http.StatusConflict, "/api/holds", "demo-hold-many",
			holdOf(thirdPlayer, line(t.scene.Hot, left+1))),
		t.post("Hold the 8 tickets that are left", http.StatusCreated, "/api/holds", rest.String(),
			holdOf(secondPlayer, line(t.scene.Hot, left))),
		t.post("None is available, but some may come back: all_held", http.StatusConflict, "/api/holds", "demo-hold-more", more),
		t.post("Order the 8 tickets", http.StatusCreated, "/api/orders", "demo-order-rest", map[string]any{"hold_id": rest}),
		t.webhook("Pay for them", http.StatusOK, t.opts.WebhookSecret, sale.NewEventID().String(), sale.OrderOf(rest), left),
		t.post("Nothing will come back: sold_out", http.StatusConflict, "/api/holds", "demo-hold-more", more),
		t.get("The ticket, with none available", http.StatusOK, "/api/products/"+t.scene.Hot.ID.String()),
	}
}

func (t *teller) refusals() []Request {
	s := t.scene
	refuse := func(title string, status int, key string, body map[string]any) Request {
		return t.post(title, status, "/api/holds", key, body)
	}
	return []Request{
		refuse("The only guitar is in a hold: all_held", http.StatusConflict, "demo-refuse-1", holdOf(firstPlayer, line(s.Held, 1))),
		refuse("The only drum is sold: sold_out", http.StatusConflict, "demo-refuse-2", holdOf(firstPlayer, line(s.Gone, 1))),
		refuse("The sale starts tomorrow: sale_not_started", http.StatusConflict, "demo-refuse-3",
			holdOf(firstPlayer, line(s.Presale, 1))),
		refuse("Two posters for each customer", http.StatusCreated, "demo-limit-1",
			holdOf(limitedHoarder, line(s.Limited, limitedUnits))),
		refuse("… and not one more: limit_reached", http.StatusConflict, "demo-limit-2", holdOf(limitedHoarder, line(s.Limited, 1))),
		refuse("All or nothing: one line that cannot be held refuses the hold", http.StatusConflict, "demo-refuse-4",
			holdOf(firstPlayer, line(s.Limited, 1), line(s.Gone, 1))),
		refuse("Dollars and euros in one hold: mixed_currency", http.StatusUnprocessableEntity, "demo-refuse-5",
			holdOf(firstPlayer, line(s.Limited, 1), line(s.Presale, 1))),
		refuse("No lines and no customer: invalid_request", http.StatusUnprocessableEntity, "demo-refuse-6",
			map[string]any{"customer_id": "", "lines": []any{}}),
	}
}

func (t *teller) free() []Request {
	hold := sale.NewHoldID(t.scene.Free.ID)
	return []Request{
		t.post("Hold a sticker", http.StatusCreated, "/api/holds", hold.String(), holdOf(firstPlayer, line(t.scene.Free, 1))),
		t.post("Order it: paid at once, since there is nothing to pay", http.StatusCreated, "/api/orders", "demo-order-free",
			map[string]any{"hold_id": hold}),
	}
}

func (t *teller) secondThoughts() []Request {
	hold := sale.NewHoldID(t.scene.Free.ID)
	paid, sticker := "/api/orders/"+t.order.String(), "/api/orders/"+sale.OrderOf(hold).String()
	hold2 := sale.NewHoldID(t.scene.Limited.ID)
	poster := "/api/orders/" + sale.OrderOf(hold2).String()
	return []Request{
		t.post("Hold a poster", http.StatusCreated, "/api/holds", hold2.String(), holdOf(secondPlayer, line(t.scene.Limited, 1))),
		t.post("Order it", http.StatusCreated, "/api/orders", "demo-order-poster", map[string]any{"hold_id": hold2}),
		t.post("Cancel the order: the poster is back on sale", http.StatusOK, poster+"/cancel", "demo-cancel-1", nil),
		t.post("A cancelled order has no money to give back", http.StatusConflict, poster+"/refund", "demo-refund-1",
			map[string]any{"restock": true}),
		t.post("A paid order cannot be cancelled", http.StatusConflict, paid+"/cancel", "demo-cancel-2", nil),
		t.post("Ask for its refund; the 2 tickets are back on sale", http.StatusOK, paid+"/refund", "demo-refund-2",
			map[string]any{"restock": true}),
		t.post("Hold a sticker", http.StatusCreated, "/api/holds", hold.String(), holdOf(secondPlayer, line(t.scene.Free, 1))),
		t.post("Order it", http.StatusCreated, "/api/orders", "demo-order-sticker", map[string]any{"hold_id": hold}),
		t.post("Nothing was paid for it, so it is refunded at once", http.StatusOK, sticker+"/refund", "demo-refund-3",
			map[string]any{"restock": false}),
		t.get("Whose money has to go back", http.StatusOK, "/api/orders?status=refund_due"),
		t.get("One customer's orders", http.StatusOK, "/api/orders?customer_id="+secondPlayer+"&limit=5"),
	}
}

func (t *teller) endpoints() []Request {
	const all = "/api/webhook-endpoints"
	one := all + "/" + t.scene.Endpoint.ID.String()
	wish := map[string]any{"url": endpointURL, "types": []sale.EventType{sale.EventPaymentMismatch}}
	inside := map[string]any{"url": "https://127.0.0.1/events"}
	remove := Request{Title: "Delete an endpoint", Status: http.StatusNoContent, Method: http.MethodDelete, URL: t.opts.BaseURL + one}
	return []Request{
		t.post("Have events sent to a URL; the secret is in this answer alone", http.StatusCreated, all, "demo-endpoint-1", wish),
		t.post("Have them sent to the inside of this network: refused", http.StatusUnprocessableEntity, all, "demo-endpoint-2", inside),
		t.get("The endpoints", http.StatusOK, all),
		t.get("One of them", http.StatusOK, one),
		t.post("Give it a new secret; the one before signs too for a day", http.StatusOK, one+"/rotate-secret", "demo-rotate-1", nil),
		remove,
		t.get("It is gone", http.StatusNotFound, one),
	}
}

func (t *teller) docs() []Request {
	metrics := Request{Title: "Metrics", Status: http.StatusOK, Method: http.MethodGet, URL: t.opts.AdminURL + "/metrics"}
	return []Request{
		t.get("The contract", http.StatusOK, "/openapi.yaml"),
		t.get("The contract as JSON", http.StatusOK, "/openapi.json"),
		t.get("The contract to try out in a browser", http.StatusOK, "/docs/"),
		t.get("What sold_out means", http.StatusOK, "/problems/sold_out"),
		metrics,
	}
}

func price(amount int64, currency string) map[string]any {
	return map[string]any{"amount": amount, "currency": currency}
}

func line(product sale.Product, units int64) map[string]any {
	return map[string]any{"product_id": product.ID, "quantity": units}
}

func holdOf(customer string, lines ...map[string]any) map[string]any {
	return map[string]any{"customer_id": customer, "lines": lines}
}
