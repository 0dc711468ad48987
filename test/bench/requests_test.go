//go:build linux

package bench

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

const (
	price    = 1000
	currency = "USD"
	// webhookSecret is the servers' and the load generator's.
	webhookSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// keyKind is what an Idempotency-Key looks like.
type keyKind int

const (
	holdIDKeys    keyKind = iota // the hold's id to be, as the SDK sends
	arbitraryKeys                // any text, kept in a table of its own
)

func (k keyKind) next(product sale.ProductID) string {
	if k == holdIDKeys {
		return sale.NewHoldID(product).String()
	}
	return word() + word()
}

// word is 16 random digits.
func word() string {
	var raw [8]byte
	for i, n := 0, rand.Uint64(); i < len(raw); i, n = i+1, n>>8 {
		raw[i] = byte(n)
	}
	return hex.EncodeToString(raw[:])
}

// form is a request with gaps of fixed width, which are filled anew for each send.
type form struct {
	bytes []byte
	gaps  [][]byte
}

// newForm makes a POST with JSON. Each run of '#' in it is a gap.
func newForm(path string, headers []string, body string) *form {
	head := []string{"POST " + path + " HTTP/1.1", "Host: bench", "Content-Type: application/json"}
	head = append(head, headers...)
	head = append(head, fmt.Sprintf("Content-Length: %d", len(body)))
	f := &form{bytes: []byte(strings.Join(head, "\r\n") + "\r\n\r\n" + body)}
	for from := 0; ; {
		at := bytes.IndexByte(f.bytes[from:], '#')
		if at < 0 {
			return f
		}
		start := from + at
		end := start
		for end < len(f.bytes) && f.bytes[end] == '#' {
			end++
		}
		f.gaps = append(f.gaps, f.bytes[start:end])
		from = end
	}
}

// fill puts texts of the gaps' width into the gaps, in order.
func (f *form) fill(texts ...string) []byte {
	for i, text := range texts {
		copy(f.gaps[i], text)
	}
	return f.bytes
}

func gap(width int) string { return strings.Repeat("#", width) }

// holdForm asks for one unit; its gaps are the key and the customer.
func holdForm(product sale.ProductID, kind keyKind) *form {
	return newForm("/api/holds", []string{"Idempotency-Key: " + gap(len(kind.next(product)))},
		`{"customer_id":"buyer-`+gap(len(word()))+`","lines":[{"product_id":"`+product.String()+`","quantity":1}]}`)
}

// holdRequests gives requests for one hold after the other, each valid until the next.
func holdRequests(product sale.ProductID, kind keyKind) func() func() []byte {
	return func() func() []byte {
		hold := holdForm(product, kind)
		return func() []byte { return hold.fill(kind.next(product), word()) }
	}
}

// holders make one hold after the other.
func holders(product sale.ProductID, kind keyKind) func(int) buyer {
	return func(int) buyer {
		next := holdRequests(product, kind)()
		return func(w *wire) (int, []byte, error) { return w.ask(next()) }
	}
}

// readers read one product.
func readers(product sale.ProductID) func(int) buyer {
	request := []byte("GET /api/products/" + product.String() + " HTTP/1.1\r\nHost: bench\r\n\r\n")
	return func(int) buyer {
		return func(w *wire) (int, []byte, error) { return w.ask(request) }
	}
}

// payers make a hold, order it and pay for it.
func payers(product sale.ProductID) func(int) buyer {
	return func(int) buyer {
		hold := holdForm(product, holdIDKeys)
		id := gap(len(sale.NewHoldID(product).String()))
		order := newForm("/api/orders", []string{"Idempotency-Key: " + id}, `{"hold_id":"`+id+`"}`)
		payment := newPaidForm()
		return func(w *wire) (int, []byte, error) {
			key := sale.NewHoldID(product)
			if status, body, err := w.ask(hold.fill(key.String(), word())); err != nil || status != http.StatusCreated {
				return status, body, err
			}
			if status, body, err := w.ask(order.fill(key.String(), key.String())); err != nil || status != http.StatusCreated {
				return status, body, err
			}
			return w.ask(payment.fill(sale.OrderOf(key)))
		}
	}
}

// paidForm is what a provider sends when an order was paid.
type paidForm struct {
	*form
	body []byte
	key  []byte
}

// The gaps of a paidForm, in their order.
const (
	gapMessage = iota
	gapTime
	gapSignature
	gapOrder
	gapPayment
)

func newPaidForm() *paidForm {
	key, err := signature.Key(webhookSecret)
	if err != nil {
		panic(err) // the secret is a constant
	}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	headers := []string{
		signature.HeaderID + ": msg_" + gap(len(word())),
		signature.HeaderTimestamp + ": " + gap(len(timestamp)),
		signature.HeaderSignature + ": " + gap(len(signature.Of(key, "", "", nil))),
	}
	body := `{"type":"payment.succeeded","timestamp":"2026-01-01T00:00:00Z","data":{"order_id":"` +
		gap(len(sale.OrderID{}.String())) + `","payment_id":"pay_` + gap(len(word())) +
		`","amount":` + strconv.Itoa(price) + `,"currency":"` + currency + `"}}`
	f := newForm("/api/payments/webhook", headers, body)
	return &paidForm{form: f, body: f.bytes[len(f.bytes)-len(body):], key: key}
}

// fill makes it a new payment of an order, signed now.
func (p *paidForm) fill(order sale.OrderID) []byte {
	message, timestamp := word(), strconv.FormatInt(time.Now().Unix(), 10)
	copy(p.gaps[gapOrder], order.String())
	copy(p.gaps[gapPayment], word())
	copy(p.gaps[gapMessage], message)
	copy(p.gaps[gapTime], timestamp)
	copy(p.gaps[gapSignature], signature.Of(p.key, "msg_"+message, timestamp, p.body))
	return p.bytes
}
