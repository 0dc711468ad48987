package sale_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestRetriesTripleUpToHalfADayAndStayWithinAFifth(t *testing.T) {
	t.Parallel()
	want := 5 * time.Second
	for attempts := int64(1); attempts <= 40; attempts++ {
		assert.Equal(t, want*4/5, sale.RetryWait(attempts, 0), attempts)
		assert.Equal(t, want, sale.RetryWait(attempts, 0.5), attempts)
		assert.Equal(t, want*6/5, sale.RetryWait(attempts, 1), attempts)
		want = min(3*want, 12*time.Hour)
	}
}

func TestRetriesCoverThreeDaysWithAFewAttempts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var passed time.Duration
		attempts := int64(1)
		for ; passed < sale.DeadAfter; attempts++ {
			passed += sale.RetryWait(attempts, rapid.Float64Range(0, 1).Draw(t, "chance"))
		}
		assert.GreaterOrEqual(t, attempts, int64(13))
		assert.LessOrEqual(t, attempts, int64(18))
		assert.Less(t, passed, sale.DeadAfter+15*time.Hour)
	})
}

func TestAnEndpointWantsWhatItNamedAndEverythingWhenItNamedNothing(t *testing.T) {
	t.Parallel()
	some := sale.Endpoint{Types: []sale.EventType{sale.EventOrderPaid}}
	for _, name := range sale.EventTypes() {
		assert.True(t, sale.Endpoint{}.Wants(name))
		assert.Equal(t, name == sale.EventOrderPaid, some.Wants(name))
	}
}

func TestOnlyATwoHundredIsAcceptance(t *testing.T) {
	t.Parallel()
	for status, accepted := range map[int]bool{
		0: false, 199: false, 200: true, 204: true, 299: true, 300: false, 301: false, 304: false, 410: false, 500: false,
	} {
		assert.Equal(t, accepted, sale.Answer{Status: status}.Accepted(), status)
		assert.Equal(t, status == 410, sale.Answer{Status: status}.Gone(), status)
	}
	assert.Equal(t, "503", sale.Answer{Status: 503}.String())
	assert.Equal(t, "timeout", sale.Answer{Failure: "timeout"}.String())
}

func TestAStockEventHasOneIDForEachVersionOfAProduct(t *testing.T) {
	t.Parallel()
	one, other := sale.NewProductID(), sale.NewProductID()
	first := sale.StockEventID(one, 7)
	require.Equal(t, first, sale.StockEventID(one, 7))
	assert.NotEqual(t, first, sale.StockEventID(one, 8))
	assert.NotEqual(t, first, sale.StockEventID(other, 7))
}
