package budget_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/flashsale-api/flashsale/internal/budget"
)

func TestABudgetBoundsWhatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := budget.Within(t.Context(), 2*time.Second)
		assert.Equal(t, time.Second, budget.Left(ctx, time.Second))
		assert.Equal(t, 2*time.Second, budget.Left(ctx, time.Minute))
		assert.False(t, budget.Spent(ctx))
		time.Sleep(2 * time.Second)
		assert.True(t, budget.Spent(ctx))
		assert.Zero(t, budget.Left(ctx, time.Second))
		assert.NoError(t, ctx.Err(), "what has begun goes on")
	})
}

func TestABudgetWithinAnotherIsTheShorterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := budget.Within(t.Context(), time.Second)
		assert.Equal(t, time.Second, budget.Left(budget.Within(outer, time.Minute), time.Hour))
		assert.Equal(t, time.Millisecond, budget.Left(budget.Within(outer, time.Millisecond), time.Hour))
	})
}

func TestWithoutABudgetOnlyTheWaitsOwnBoundCounts(t *testing.T) {
	spent := budget.Within(t.Context(), 0)
	for name, ctx := range map[string]context.Context{"none": t.Context(), "lifted": budget.Lifted(spent)} {
		t.Run(name, func(t *testing.T) {
			assert.False(t, budget.Spent(ctx))
			assert.Equal(t, time.Minute, budget.Left(ctx, time.Minute))
		})
	}
	assert.True(t, budget.Spent(spent), "lifting makes another context")
}

func TestABudgetOutlivesItsCallersLeaving(t *testing.T) {
	assert.True(t, budget.Spent(context.WithoutCancel(budget.Within(t.Context(), 0))))
}
