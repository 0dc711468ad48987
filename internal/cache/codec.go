package cache

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// namespace holds the number of the encoding below: programs of two encodings
// side by side use different keys.
const namespace = "flashsale:p1:"

// entry is a product in Redis, but for its id, which is in the key, and its
// version, which stands before the JSON, where the script reads it. Instants are
// microseconds since 1970, durations nanoseconds.
type entry struct {
	SKU           string `json:"s"`
	Name          string `json:"n"`
	Amount        int64  `json:"a"`
	Currency      string `json:"c"`
	StartsAt      *int64 `json:"f,omitempty"`
	EndsAt        *int64 `json:"t,omitempty"`
	Limit         *int64 `json:"l,omitempty"`
	HoldTTL       int64  `json:"h"`
	PaymentWindow int64  `json:"w"`
	Total         int64  `json:"T"`
	Available     int64  `json:"A"`
	StockVersion  int64  `json:"S"`
	RulesVersion  int64  `json:"R"`
	CreatedAt     int64  `json:"C"`
	UpdatedAt     int64  `json:"U"`
}

func encode(p *sale.Product) (string, error) {
	text, err := json.Marshal(entry{
		SKU:           p.SKU,
		Name:          p.Name,
		Amount:        p.Price.Amount,
		Currency:      p.Price.Currency,
		StartsAt:      micros(p.SaleStartsAt),
		EndsAt:        micros(p.SaleEndsAt),
		Limit:         p.PerCustomerLimit,
		HoldTTL:       int64(p.HoldTTL),
		PaymentWindow: int64(p.PaymentWindow),
		Total:         p.TotalStock,
		Available:     p.AvailableStock,
		StockVersion:  p.StockVersion,
		RulesVersion:  p.RulesVersion,
		CreatedAt:     p.CreatedAt.UnixMicro(),
		UpdatedAt:     p.UpdatedAt.UnixMicro(),
	})
	if err != nil {
		return "", fmt.Errorf("encode product: %w", err)
	}
	return strconv.FormatInt(p.Version, 10) + string(text), nil
}

func decode(id sale.ProductID, text string) (sale.Product, error) {
	digits, _, _ := strings.Cut(text, "{")
	version, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return sale.Product{}, fmt.Errorf("decode a product's version: %w", err)
	}
	var e entry
	if err := json.Unmarshal([]byte(text[len(digits):]), &e); err != nil {
		return sale.Product{}, fmt.Errorf("decode product: %w", err)
	}
	return sale.Product{
		ID:   id,
		SKU:  e.SKU,
		Name: e.Name,
		Rules: sale.Rules{
			Price:            sale.Money{Amount: e.Amount, Currency: e.Currency},
			SaleStartsAt:     instant(e.StartsAt),
			SaleEndsAt:       instant(e.EndsAt),
			PerCustomerLimit: e.Limit,
			HoldTTL:          time.Duration(e.HoldTTL),
			PaymentWindow:    time.Duration(e.PaymentWindow),
		},
		TotalStock:     e.Total,
		AvailableStock: e.Available,
		StockVersion:   e.StockVersion,
		RulesVersion:   e.RulesVersion,
		Version:        version,
		CreatedAt:      time.UnixMicro(e.CreatedAt).UTC(),
		UpdatedAt:      time.UnixMicro(e.UpdatedAt).UTC(),
	}, nil
}

func micros(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	value := t.UnixMicro()
	return &value
}

func instant(micros *int64) *time.Time {
	if micros == nil {
		return nil
	}
	t := time.UnixMicro(*micros).UTC()
	return &t
}
