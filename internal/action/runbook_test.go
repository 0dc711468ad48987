package action_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// runbook gives the statement of a section of docs/runbook.md.
func runbook(t *testing.T, section string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "runbook.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n### "+section+"\n")
	require.True(t, found, section)
	rest, _, _ = strings.Cut(rest, "\n### ")
	_, rest, found = strings.Cut(rest, "```sql\n")
	require.True(t, found, section)
	statement, _, _ := strings.Cut(rest, "```")
	return statement
}

// ask runs a statement of the runbook and gives what some of its columns say, row by row.
func (s *shop) ask(section string, columns ...string) [][]string {
	s.t.Helper()
	var found [][]string
	require.NoError(s.t, s.db.Survey(s.ctx(), func(ctx context.Context, q store.DBTX) error {
		rows, err := q.QueryContext(ctx, runbook(s.t, section))
		if err != nil {
			return err
		}
		defer func() { assert.NoError(s.t, rows.Close()) }()
		types, err := rows.ColumnTypes()
		require.NoError(s.t, err)
		for rows.Next() {
			found = append(found, pick(s.t, rows, types, columns))
		}
		return rows.Err()
	}), section)
	return found
}

// pick reads a row. What is text is a text column: clients show others in hexadecimal.
func pick(t *testing.T, rows *sql.Rows, types []*sql.ColumnType, columns []string) []string {
	t.Helper()
	values, into := make([]sql.NullString, len(types)), make([]any, len(types))
	for i := range values {
		into[i] = &values[i]
	}
	require.NoError(t, rows.Scan(into...))
	picked := map[string]string{}
	for i, column := range types {
		assert.NotContains(t, column.DatabaseTypeName(), "BINARY", column.Name())
		picked[column.Name()] = values[i].String
	}
	row := make([]string, len(columns))
	for i, column := range columns {
		require.Contains(t, picked, column)
		row[i] = picked[column]
	}
	return row
}

func TestRunbookFindsMismatches(t *testing.T) {
	s := play(t, "paid")
	odd := said(sale.PaymentSucceeded, s.ordered("bob", line(s.low, 1)), "the odd one", "odd")
	odd.Amount.Amount--
	require.Equal(t, sale.OutcomeMismatch, s.tell(odd).Outcome)
	assert.Equal(t, [][]string{{"standard", "the odd one", "succeeded"}}, s.ask("Mismatches", "provider", "event_id", "kind"))
}

func TestRunbookFindsTheMoneyThatIsDueBack(t *testing.T) {
	s := setup(t)
	p := s.product(20)
	asked, twice, late, old := s.ordered("ann", line(p, 1)), s.ordered("bob", line(p, 2)), s.ordered("cid", line(p, 3)), s.ordered("dan", line(p, 4))
	s.succeed(asked, "asked")
	s.refund(asked, true)
	s.succeed(twice, "first")
	s.succeed(twice, "second")
	s.cancel(late)
	s.succeed(late, "late")
	s.succeed(old, "old")
	s.refund(old, false)
	s.exec("DELETE FROM outbox WHERE order_id = ? AND type = 'order.refund_due'", old.ID)
	columns := []string{"order_id", "provider", "payment_id", "amount", "currency", "reason"}
	due := map[string][]string{
		"asked":  {asked.ID.String(), "standard", "asked", "1000", "USD", "requested"},
		"second": {twice.ID.String(), "standard", "second", "2000", "USD", "extra_payment"},
		"late":   {late.ID.String(), "standard", "late", "3000", "USD", "order_cancelled"},
		"old":    {fmt.Sprintf("%X", old.ID[:]), "standard", "old", "4000", "USD", "requested"},
	}
	require.Equal(t, [][]string{due["asked"], due["second"], due["late"], due["old"]}, s.ask("Refunds are due", columns...))
	for payment, order := range map[string]action.OrderView{"asked": asked, "second": twice, "late": late} {
		require.Equal(t, sale.OutcomeRefunded, s.tell(said(sale.PaymentRefunded, order, "refund of "+payment, payment)).Outcome)
	}
	assert.Equal(t, [][]string{due["old"]}, s.ask("Refunds are due", columns...), "what went back leaves the list")
	require.Equal(t, sale.OutcomeRefunded, s.tell(said(sale.PaymentRefunded, old, "refund of old", "old")).Outcome)
	assert.Empty(t, s.ask("Refunds are due"))
}

func TestRunbookFindsWhatIsOverdue(t *testing.T) {
	s := setup(t)
	p := s.product(20)
	for range 2 {
		s.pass(s.hold("ann", line(p, 3)).ID)
	}
	s.pass(s.ordered("bob", line(p, 4)).HoldID())
	s.ordered("cid", line(p, 1))
	assert.ElementsMatch(t, [][]string{{"held", "2", "6"}, {"pending", "1", "4"}}, s.ask("The sweep is late", "state", "lines_overdue", "units"))
}

func TestRunbookFindsWhereALedgerBreaks(t *testing.T) {
	s := setup(t)
	p := s.product(20, func(in *action.CreateProductInput) { in.SKU = "TICKET-1" })
	for range 4 {
		s.hold("ann", line(p, 2))
	}
	assert.Empty(t, s.ask("The audit drifts"))
	s.exec("UPDATE movements SET delta = -1 WHERE product_id = ? AND stock_version = 3", p.ID)
	assert.Equal(t, [][]string{{"3", "18", "-1", "16"}},
		s.ask("The audit drifts", "stock_version", "available_before", "delta", "available_after"))
	s.exec("UPDATE movements SET delta = -2 WHERE product_id = ? AND stock_version = 3", p.ID)
}

func TestRunbookFindsWhoMakesWhomWait(t *testing.T) {
	s := setup(t)
	p := s.product(5)
	holder := s.locked("SELECT CONNECTION_ID() FROM products WHERE id = ? FOR UPDATE", p.ID)
	var blocking string
	require.NoError(t, holder.QueryRowContext(s.ctx(), "SELECT CONNECTION_ID()").Scan(&blocking))
	adjusted := make(chan error, 1)
	go func() {
		_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 1, Reason: "recount"})
		adjusted <- err
	}()
	comes(t, "the one who waits is found", func() bool {
		return slices.ContainsFunc(s.ask("Overloaded", "blocking"), func(row []string) bool { return row[0] == blocking })
	})
	require.NoError(t, holder.Rollback())
	require.NoError(t, <-adjusted)
}

func TestMismatchIsAnErrorInTheLogWithWhatSomebodyHasToLookFor(t *testing.T) {
	var log bytes.Buffer
	s := setup(t, func(kit *action.Kit) { kit.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	odd := said(sale.PaymentSucceeded, s.ordered("ann", line(s.product(5), 1)), "the odd one", "odd")
	odd.Amount.Amount--
	log.Reset()
	require.Equal(t, sale.OutcomeMismatch, s.tell(odd).Outcome)
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("\n")), log.String())
	var told map[string]any
	require.NoError(t, json.Unmarshal(log.Bytes(), &told))
	delete(told, "time")
	assert.Equal(t, map[string]any{
		"level": "ERROR", "msg": "webhook.mismatch", "event_id": "the odd one", "provider": "standard", "kind": "succeeded",
		"order_id": odd.OrderID.String(), "payment_id": "odd", "outcome": "mismatch", "amount": 999.0, "currency": "USD",
	}, told)
}
