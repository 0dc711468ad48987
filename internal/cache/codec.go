package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// namespace holds the number of the encoding below: programs of two encodings
// side by side use different keys.
const namespace = "flashsale:p1:"

// errImpossible says that an entry is none of ours, or was spoiled.
var errImpossible = errors.New("decode product: the database could not have it")

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
		CreatedAt:     p.CreatedAt.UnixMicro(),
		UpdatedAt:     p.UpdatedAt.UnixMicro(),
	})
	if err != nil {
		return "", fmt.Errorf("encode product: %w", err)
	}
	return strconv.FormatInt(p.Version, 10) + string(text), nil
}

// decode reads what Redis has. Anybody may have written it, so what the database could not
// have is an error.
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
	product := sale.Product{
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
		Version:        version,
		CreatedAt:      time.UnixMicro(e.CreatedAt).UTC(),
		UpdatedAt:      time.UnixMicro(e.UpdatedAt).UTC(),
	}
	if !possible(&product) {
		return sale.Product{}, errImpossible
	}
	return product, nil
}

// possible says whether the database could have a product.
func possible(p *sale.Product) bool {
	return min(p.Version, p.StockVersion) >= 1 &&
		p.SKU != "" && p.Name != "" &&
		0 <= p.AvailableStock && p.AvailableStock <= p.TotalStock && p.TotalStock <= sale.MaxStock &&
		possibleRules(&p.Rules) &&
		possibleTime(p.CreatedAt) && possibleTime(p.UpdatedAt)
}

func possibleRules(r *sale.Rules) bool {
	return 0 <= r.Price.Amount && r.Price.Amount <= sale.MaxAmount && isCurrency(r.Price.Currency) &&
		(r.SaleStartsAt == nil || possibleTime(*r.SaleStartsAt)) &&
		(r.SaleEndsAt == nil || possibleTime(*r.SaleEndsAt)) &&
		(r.PerCustomerLimit == nil || *r.PerCustomerLimit >= 1) &&
		min(r.HoldTTL, r.PaymentWindow) > 0
}

func isCurrency(code string) bool {
	return len(code) == 3 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// possibleTime says whether an instant has a year of four digits, as the database keeps it and
// an answer shows it.
func possibleTime(t time.Time) bool { return 1000 <= t.Year() && t.Year() <= 9999 }

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
