package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/worker"
)

// auditMeter remembers what an auditor reported.
type auditMeter struct {
	errs  []error
	units []int64
}

func (m *auditMeter) AuditDone(err error, _ time.Duration) { m.errs = append(m.errs, err) }
func (m *auditMeter) StockImbalance(units int64)           { m.units = append(m.units, units) }

// rounds answers audits in its order and then ends the loop; it remembers the marks
// that it was given.
type rounds struct {
	answers []action.AuditRound
	errs    []error
	known   []map[sale.ProductID]action.AuditMark
	end     context.CancelFunc
}

func (r *rounds) Do(_ context.Context, known map[sale.ProductID]action.AuditMark) (action.AuditRound, error) {
	nth := len(r.known)
	if r.known = append(r.known, known); len(r.known) == len(r.answers) {
		r.end()
	}
	return r.answers[nth], r.errs[nth]
}

func TestAnAuditGoesByTheMarksOfTheOneBeforeAndTellsWhatIsOutOfBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := sale.NewProductID()
		marked := func(imbalance int64) map[sale.ProductID]action.AuditMark {
			return map[sale.ProductID]action.AuditMark{p: {StockVersion: 1, Imbalance: imbalance}}
		}
		broken := sale.Books{ProductID: p, StockVersion: 1, Available: 8, Held: 1, Total: 10, LedgerAvailable: 9}
		script := &rounds{
			answers: []action.AuditRound{
				{Marks: marked(2), Unbalanced: []sale.Books{broken}, Imbalance: 2},
				{Marks: marked(2), Imbalance: 2},
				{Marks: marked(0)},
				{Marks: marked(0)},
			},
			errs: []error{nil, errDown, nil, nil},
			end:  cancel,
		}
		var log bytes.Buffer
		var meter auditMeter
		auditor := worker.NewAuditor(script, time.Minute, slog.New(slog.NewJSONHandler(&log, nil)), &meter)
		require.NoError(t, auditor.Run(ctx))

		assert.Equal(t, []map[sale.ProductID]action.AuditMark{nil, marked(2), marked(2), marked(0)}, script.known)
		assert.Equal(t, []int64{2, 2, 0, 0}, meter.units)
		require.Len(t, meter.errs, 4)
		require.ErrorIs(t, meter.errs[1], errDown)
		lines := events(t, &log)
		require.Len(t, lines, 3)
		assert.Equal(t, []any{"audit.imbalance", "audit.failed", "audit.recovered"},
			[]any{lines[0]["msg"], lines[1]["msg"], lines[2]["msg"]})
		assert.Equal(t, p.String(), lines[0]["product_id"])
		assert.InDelta(t, 2, lines[0]["imbalance"], 0)
		assert.InDelta(t, 9, lines[0]["ledger_available"], 0)
	})
}
