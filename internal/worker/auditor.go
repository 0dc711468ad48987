package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// Auditor audits what changed since the marks were made. *action.AuditChanged is one.
type Auditor interface {
	Do(ctx context.Context, known map[sale.ProductID]action.AuditMark) (action.AuditRound, error)
}

// AuditMeter tells operators what audits find. A nil error is a success.
type AuditMeter interface {
	AuditDone(err error, took time.Duration)
	StockImbalance(units int64)
}

// NewAuditor makes the loop that proves the books: of all products at first, then of
// those that changed. A product that is out of balance is logged as audit.imbalance
// in each round until it balances.
func NewAuditor(auditor Auditor, interval time.Duration, log *slog.Logger, meter AuditMeter) *Loop {
	var marks map[sale.ProductID]action.AuditMark
	audit := func(ctx context.Context) error {
		round, err := auditor.Do(ctx, marks)
		marks = round.Marks
		meter.StockImbalance(round.Imbalance)
		for _, books := range round.Unbalanced {
			logImbalance(ctx, log, books)
		}
		if err != nil {
			return fmt.Errorf("auditing what changed: %w", err)
		}
		return nil
	}
	return NewLoop(Config{Name: "audit", Interval: interval, Do: audit, Log: log, Done: meter.AuditDone})
}

func logImbalance(ctx context.Context, log *slog.Logger, books sale.Books) {
	log.ErrorContext(ctx, "audit.imbalance",
		slog.String("product_id", books.ProductID.String()), slog.String("sku", books.SKU),
		slog.Int64("stock_version", books.StockVersion), slog.Int64("imbalance", books.Imbalance()),
		slog.Int64("available", books.Available), slog.Int64("held", books.Held),
		slog.Int64("pending", books.Pending), slog.Int64("sold", books.Sold),
		slog.Int64("total", books.Total), slog.Int64("ledger_available", books.LedgerAvailable))
}
