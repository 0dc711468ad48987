package action_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/budget"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestRequestWhoseBudgetIsSpentIsOverloadedAndDoesNothing(t *testing.T) {
	bothPaths(t, refuseSpent)
}

func refuseSpent(t *testing.T, s *shop) {
	t.Helper()
	p, other := s.product(10), s.product(10)
	hold, order := s.hold("ann", line(p, 1)), s.ordered("ann", line(p, 1))
	for name, do := range map[string]func(ctx context.Context) error{
		"create hold": func(ctx context.Context) error {
			_, err := s.CreateHold.Do(ctx, keyedWish("k", "ann", line(p, 1)))
			return err
		},
		"create hold of two": func(ctx context.Context) error {
			_, err := s.CreateHold.Do(ctx, wish("ann", line(p, 1), line(other, 1)))
			return err
		},
		"release hold": func(ctx context.Context) error {
			_, err := s.ReleaseHold.Do(ctx, action.ReleaseHoldInput{Key: "k", HoldID: hold.ID})
			return err
		},
		"create order": func(ctx context.Context) error {
			_, err := s.CreateOrder.Do(ctx, action.CreateOrderInput{Key: "k", HoldID: hold.ID})
			return err
		},
		"cancel order": func(ctx context.Context) error {
			_, err := s.CancelOrder.Do(ctx, action.CancelOrderInput{Key: "k", OrderID: order.ID})
			return err
		},
		"payment": func(ctx context.Context) error {
			_, err := s.ProcessPayment.Do(ctx, said(sale.PaymentSucceeded, order, "e", "p"))
			return err
		},
		"adjust stock": func(ctx context.Context) error {
			_, err := s.AdjustStock.Do(ctx, action.AdjustStockInput{Key: "k", ProductID: p.ID, Delta: 5, Reason: "x"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { requireCode(t, do(budget.Within(s.ctx(), 0)), sale.CodeOverloaded) })
	}
	s.requireUnits(p, 8, 1, 1, 0)
}

// What has begun goes on, and what it did is read and told, whatever the budget.
func TestRequestWhoseBudgetEndsMeanwhileIsToldWhatItDid(t *testing.T) {
	s := setup(t)
	hold := s.hold("ann", line(s.product(10), 1))
	lines := s.lockedLines(hold.ID)
	ctx := budget.Within(s.ctx(), 2*time.Second)
	extended := make(chan action.Result[action.HoldView], 1)
	go func() {
		result, err := s.ExtendHold.Do(ctx, action.ExtendHoldInput{HoldID: hold.ID, By: time.Minute})
		assert.NoError(t, err)
		extended <- result
	}()
	s.awaitStatement("FROM hold_lines")
	require.Eventually(t, func() bool { return budget.Spent(ctx) }, testenv.Timeout, time.Millisecond)
	require.NoError(t, lines.Rollback())
	assert.Equal(t, hold.ExpiresAt.Add(time.Minute), (<-extended).Value.ExpiresAt)
}

// One whose budget is spent asks first for what others, who have time, ask for, too.
func TestReadThatOthersShareHasNoBudget(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	branch := s.branch()
	read, err := branch.GetProduct.Do(budget.Within(s.ctx(), 0), p.ID)
	require.NoError(t, err)
	assert.Equal(t, p.ID, read.Product.ID)
}

func TestEqualKeyIsWaitedForAsLongAsTheBudgetLasts(t *testing.T) {
	s := setup(t)
	hold := s.hold("ann", line(s.product(10), 1))
	lines := s.lockedLines(hold.ID)
	extend := func(ctx context.Context) error {
		_, err := s.ExtendHold.Do(ctx, action.ExtendHoldInput{Key: "k", HoldID: hold.ID, By: time.Minute})
		return err
	}
	first := make(chan error, 1)
	go func() { first <- extend(s.ctx()) }()
	s.awaitStatement("FROM hold_lines")
	requireCode(t, extend(budget.Within(s.ctx(), time.Millisecond)), sale.CodeKeyInProgress)
	require.NoError(t, lines.Rollback())
	require.NoError(t, <-first)
}
