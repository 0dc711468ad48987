package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/gen/server"
)

// usualHold is more than the JSON of most holds has, in bytes.
const usualHold = 512

// holdAnswer is CreateHold's 201, encoded without reflection: a crowd gets hardly
// anything else.
type holdAnswer server.CreateHold201JSONResponse

// encodeHolds makes new holds' answers ones that are encoded without reflection.
func encodeHolds(next server.StrictHandlerFunc, _ string) server.StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		response, err := next(c, request)
		if made, ok := response.(server.CreateHold201JSONResponse); ok {
			return holdAnswer(made), err
		}
		return response, err
	}
}

// VisitCreateHoldResponse writes the answer as the generated one is written.
func (a holdAnswer) VisitCreateHoldResponse(w http.ResponseWriter) error {
	body, err := appendHold(make([]byte, 0, usualHold), a.Body)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", "application/json")
	if a.Headers.IdempotentReplayed != nil {
		header.Set("Idempotent-Replayed", strconv.FormatBool(*a.Headers.IdempotentReplayed))
	}
	header.Set("Location", a.Headers.Location)
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
