package contract

import (
	"database/sql"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	hit  = "flashsale; hit"
	miss = "flashsale; fwd=miss"
)

func read(t *testing.T, api *apitest.API, id client.ProductID, tag *string) *client.GetProductResponse {
	t.Helper()
	reply, err := api.GetProductWithResponse(t.Context(), id, &client.GetProductParams{IfNoneMatch: tag})
	require.NoError(t, err)
	return reply
}

func TestReadIsHitAfterItsMissAndNotModifiedForItsTag(t *testing.T) {
	t.Parallel()
	settings := apitest.Settings{Record: seen, DSN: testenv.Database(t), RedisURL: apitest.NoRedis}
	product := apitest.Start(t, settings).Product(t, 5)
	api := apitest.Start(t, settings) // another process, which knows nothing yet
	assert.Equal(t, miss, read(t, api, product.ID, nil).Headers200.CacheStatus)
	var after *client.GetProductResponse
	eventually(t, func() bool {
		// On a busy machine an entry may be too old by the time it is asked for.
		after = read(t, api, product.ID, nil)
		return after.Headers200.CacheStatus == hit
	})
	tag := after.Headers200.ETag
	for _, given := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		same := read(t, api, product.ID, &given)
		require.Equal(t, http.StatusNotModified, same.StatusCode(), given)
		assert.Equal(t, tag, same.Headers304.ETag)
	}
	assert.Equal(t, http.StatusOK, read(t, api, product.ID, new(`"other"`)).StatusCode())
}

func TestReadRightAfterAWriteShowsIt(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]string{"with Redis": "", "without Redis": apitest.NoRedis} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api := apitest.Start(t, apitest.Settings{Record: seen, RedisURL: redis})
			product := api.Product(t, 1000)
			tag := read(t, api, product.ID, nil).Headers200.ETag
			for i := range int64(50) {
				api.Hold(t, 1, product)
				reply := read(t, api, product.ID, &tag)
				require.NotNil(t, reply.JSON200, "a change makes another tag")
				require.Equal(t, 999-i, reply.JSON200.AvailableStock)
				tag = reply.Headers200.ETag
			}
			for amount := range int64(10) {
				_, err := api.UpdateProductWithResponse(t.Context(), product.ID, client.UpdateProductRequest{Price: &client.Price{Amount: amount, Currency: "USD"}})
				require.NoError(t, err)
				require.Equal(t, amount, read(t, api, product.ID, &tag).JSON200.Price.Amount)
			}
		})
	}
}

func TestHitCostsMySQLNothing(t *testing.T) {
	t.Parallel()
	const hits = 50
	api := start(t)
	product := api.Product(t, 5)
	count := statements(t, api)
	row := 0
	eventually(t, func() bool {
		// The sweep at the start may come in between: then the row starts anew.
		before := count()
		status := read(t, api, product.ID, nil).Headers200.CacheStatus
		switch after := count(); {
		case status == hit && before == after:
			row++
		case status == hit:
			row = 0
		}
		return row == hits
	})
	eventually(t, func() bool {
		// The counter counts; what a connection has run is lost with it.
		before := count()
		_, err := api.GetHoldWithResponse(t.Context(), strangeHold)
		require.NoError(t, err)
		return count() > before
	})
}

// statements counts what MySQL has run so far for the connections of the
// database, the counting ones aside.
func statements(t *testing.T, api *apitest.API) func() int64 {
	t.Helper()
	conn, err := api.Other.DB.SQL().Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return func() int64 {
		var total sql.NullInt64
		require.NoError(t, conn.QueryRowContext(t.Context(), "SELECT SUM(s.COUNT_STAR) "+
			"FROM performance_schema.events_statements_summary_by_thread_by_event_name s JOIN performance_schema.threads t USING (THREAD_ID) "+
			"WHERE t.PROCESSLIST_DB = DATABASE() AND t.PROCESSLIST_ID <> CONNECTION_ID()").Scan(&total))
		return total.Int64
	}
}
