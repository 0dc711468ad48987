package action

import (
	"time"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func productOf(row store.Product) sale.Product {
	return sale.Product{
		ID:   row.ID,
		SKU:  row.Sku,
		Name: row.Name,
		Rules: sale.Rules{
			Price:            sale.Money{Amount: row.PriceAmount, Currency: row.Currency},
			SaleStartsAt:     row.SaleStartsAt,
			SaleEndsAt:       row.SaleEndsAt,
			PerCustomerLimit: row.PerCustomerLimit,
			HoldTTL:          seconds(row.HoldTtlSeconds),
			PaymentWindow:    seconds(row.PaymentWindowSeconds),
		},
		TotalStock:     row.TotalStock,
		AvailableStock: row.AvailableStock,
		StockVersion:   row.StockVersion,
		Version:        row.Version,
		CreatedAt:      row.CreatedAt,
		UpdatedAt:      row.UpdatedAt,
	}
}

// holdOf makes a hold of its lines, in order of position; there is at least one.
func holdOf(rows []store.HoldLine, ordered bool) sale.Hold {
	first := rows[0]
	hold := sale.Hold{
		ID:            first.ID,
		CustomerID:    first.CustomerID,
		Lines:         linesOf(rows),
		CreatedAt:     first.CreatedAt,
		ExpiresAt:     first.ExpiresAt,
		TTL:           seconds(first.TtlSeconds),
		PaymentWindow: seconds(first.PaymentWindowSeconds),
		Ordered:       ordered,
	}
	for _, row := range rows {
		if row.Ended != "" {
			hold.Ended = row.Ended
		}
	}
	return hold
}

// byHold gives each hold its lines, in the order in which they come.
func byHold(rows []store.HoldLine) map[sale.HoldID][]store.HoldLine {
	lines := make(map[sale.HoldID][]store.HoldLine, len(rows))
	for _, row := range rows {
		lines[row.ID] = append(lines[row.ID], row)
	}
	return lines
}

// viewsOf are holds and their statuses, made of all their lines in order.
func viewsOf(rows []store.GetHoldsRow) map[sale.HoldID]HoldView {
	all := make([]store.HoldLine, len(rows))
	for i, row := range rows {
		all[i] = row.HoldLine
	}
	lines := byHold(all)
	views := make(map[sale.HoldID]HoldView, len(lines))
	for _, row := range rows {
		if row.HoldLine.Position == 0 {
			hold := holdOf(lines[row.HoldLine.ID], row.Ordered)
			views[hold.ID] = HoldView{Hold: hold, Status: hold.Status(row.Now)}
		}
	}
	return views
}

func linesOf(rows []store.HoldLine) []sale.Line {
	lines := make([]sale.Line, len(rows))
	for i, row := range rows {
		lines[i] = sale.Line{
			ProductID: row.ProductID,
			Quantity:  row.Quantity,
			UnitPrice: sale.Money{Amount: row.PriceAmount, Currency: row.Currency},
		}
	}
	return lines
}

func orderOf(row store.Order, lines []store.HoldLine) sale.Order {
	return sale.Order{
		ID:           row.ID,
		CustomerID:   row.CustomerID,
		Lines:        linesOf(lines),
		Total:        sale.Money{Amount: row.TotalAmount, Currency: row.Currency},
		CreatedAt:    row.CreatedAt,
		PayBy:        row.PayBy,
		PaidAt:       row.PaidAt,
		FailedAt:     row.FailedAt,
		CancelledAt:  row.CancelledAt,
		RefundDueAt:  row.RefundDueAt,
		RefundedAt:   row.RefundedAt,
		PaymentID:    row.PaymentID,
		Provider:     row.Provider,
		RefundReason: row.RefundReason,
	}
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func inSeconds(d time.Duration) int64 { return int64(d / time.Second) }
