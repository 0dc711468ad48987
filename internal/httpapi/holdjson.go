package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/flashsale-api/flashsale/gen/server"
)

// usualHold is more than the JSON of most holds has, in bytes.
const usualHold = 512

// holdAnswer is CreateHold's 201, encoded without reflection: a crowd gets hardly
// anything else.
type holdAnswer server.CreateHold201JSONResponse

// bindHold is runtime.BindJSONValue without reflection for the body that a crowd sends. It is
// false, and body to be filled by that, for a value with anything else in it.
func bindHold(value any, body *server.CreateHoldJSONRequestBody) bool {
	members, _ := value.(map[string]any)
	customer, named := members["customer_id"].(string)
	lines, listed := members["lines"].([]any)
	if !named || !listed || len(members) != 2 {
		return false
	}
	wanted := make([]server.HoldLineRequest, len(lines))
	for i, line := range lines {
		members, _ := line.(map[string]any)
		product, named := members["product_id"].(string)
		quantity, counted := members["quantity"].(int64)
		if !named || !counted || len(members) != 2 {
			return false
		}
		wanted[i] = server.HoldLineRequest{ProductID: product, Quantity: quantity}
	}
	body.CustomerID, body.Lines = customer, wanted
	return true
}

// encodedHolds are operations whose new holds are encoded without reflection.
type encodedHolds struct{ server.StrictServerInterface }

// CreateHold answers POST /api/holds.
func (e encodedHolds) CreateHold(ctx context.Context, request server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	response, err := e.StrictServerInterface.CreateHold(ctx, request)
	if made, ok := response.(server.CreateHold201JSONResponse); ok {
		return holdAnswer(made), err
	}
	return response, err //nolint:wrapcheck // it is the operation's own
}

// VisitCreateHoldResponse writes the answer as the generated one is written.
func (a holdAnswer) VisitCreateHoldResponse(w http.ResponseWriter) error {
	body, err := appendHold(make([]byte, 0, usualHold), a.Body)
	if err != nil {
		return err
	}
	header := w.Header()
	setHeaders(header, "Content-Type", "application/json", "Location", a.Headers.Location)
	if a.Headers.IdempotentReplayed != nil {
		setHeaders(header, "Idempotent-Replayed", strconv.FormatBool(*a.Headers.IdempotentReplayed))
	}
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(append(body, '\n'))
	return err
}

// appendHold appends a hold as encoding/json would.
func appendHold(to []byte, hold server.Hold) ([]byte, error) {
	to = appendTime(append(to, `{"created_at":`...), hold.CreatedAt)
	to, err := appendText(append(to, `,"customer_id":`...), hold.CustomerID)
	if err != nil {
		return nil, err
	}
	to = appendTime(append(to, `,"expires_at":`...), hold.ExpiresAt)
	to = appendWord(append(to, `,"id":`...), hold.ID)
	to = append(to, `,"lines":[`...)
	for i, line := range hold.Lines {
		if i > 0 {
			to = append(to, ',')
		}
		to = appendWord(append(to, `{"product_id":`...), line.ProductID)
		to = strconv.AppendInt(append(to, `,"quantity":`...), line.Quantity, 10)
		to = appendMoney(append(to, `,"unit_price":`...), line.UnitPrice)
		to = append(to, '}')
	}
	to = append(to, ']')
	if hold.OrderID != nil {
		to = appendWord(append(to, `,"order_id":`...), *hold.OrderID)
	}
	to = appendWord(append(to, `,"status":`...), string(hold.Status))
	to = appendMoney(append(to, `,"total":`...), hold.Total)
	return append(to, '}'), nil
}

func appendMoney(to []byte, money server.Money) []byte {
	to = strconv.AppendInt(append(to, `{"amount":`...), money.Amount, 10)
	to = appendWord(append(to, `,"currency":`...), money.Currency)
	return append(to, '}')
}

func appendTime(to []byte, t time.Time) []byte {
	to = t.AppendFormat(append(to, '"'), time.RFC3339Nano)
	return append(to, '"')
}

// appendWord appends a text of the service's own, which has nothing to escape.
func appendWord(to []byte, word string) []byte {
	return append(append(append(to, '"'), word...), '"')
}

// appendText appends any text.
func appendText(to []byte, text string) ([]byte, error) {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(text)
			if err != nil {
				return nil, fmt.Errorf("encode a text: %w", err)
			}
			return append(to, quoted...), nil
		}
	}
	return appendWord(to, text), nil
}
