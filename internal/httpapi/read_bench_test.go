package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/lane"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// oneProduct is a cache that has one product and never asks the database.
type oneProduct struct{ product sale.Product }

func (c oneProduct) Get(
	context.Context, sale.ProductID, func(context.Context) (sale.Product, error),
) (sale.Product, bool, error) {
	return c.product, true, nil
}

func (c oneProduct) Newest(sale.ProductID) (sale.Product, bool) { return c.product, true }

func (oneProduct) Put(context.Context, ...sale.Product) {}

// unmetered is for actions that count nothing and have no lanes.
type unmetered struct{ action.Meter }

func (unmetered) Lane(string) lane.Meter      { return nil }
func (unmetered) Gate(string) lane.QueueMeter { return nil }

func cachedAPI(tb testing.TB) (http.Handler, string) {
	tb.Helper()
	product := sale.Product{
		ID: sale.NewProductID(), SKU: "TICKET-1", Name: "A ticket", Version: 7,
		Rules:      sale.Rules{Price: sale.Money{Amount: 9900, Currency: "USD"}},
		TotalStock: 10, AvailableStock: 4,
	}
	return apiOf(tb, product), "/api/products/" + product.ID.String()
}

// apiOf is an API whose cache has this product.
func apiOf(tb testing.TB, product sale.Product) http.Handler {
	tb.Helper()
	cfg := testConfig(tb)
	cfg.DisableAccessLog = true
	db, err := mysql.Open(mysql.Config{DSN: "nobody@tcp(127.0.0.1:1)/nothing", Log: cfg.Log})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	cfg.Actions = action.New(action.Kit{DB: db, Cache: oneProduct{product}, Meter: unmetered{}})
	return newAPI(tb, cfg)
}

func TestEncodedProductIsThatOfTheVeryProduct(t *testing.T) {
	encoded := newEncodedProducts()
	product := sale.Product{ID: sale.NewProductID(), Version: 1, AvailableStock: 10}
	first, err := encoded.of(product)
	require.NoError(t, err)
	again, err := encoded.of(product)
	require.NoError(t, err)
	require.Same(t, &first.body[0], &again.body[0], "encoded once")
	product.Version, product.AvailableStock = 2, 9
	newer, err := encoded.of(product)
	require.NoError(t, err)
	require.Contains(t, string(newer.body), `"available_stock":9`)
	product.AvailableStock = 8 // Redis had it wrong before
	mended, err := encoded.of(product)
	require.NoError(t, err)
	require.Contains(t, string(mended.body), `"available_stock":8`)
}

// The same version may be another state: of a database that was restored, or in a bad entry of
// Redis.
func TestAnotherStateOfOneVersionHasAnotherTag(t *testing.T) {
	product := sale.Product{ID: sale.NewProductID(), Version: 7, AvailableStock: 4}
	target := "/api/products/" + product.ID.String()
	tag := serve(apiOf(t, product), request(t, http.MethodGet, target, "")).Header().Get("ETag")
	require.Equal(t, http.StatusNotModified, serve(apiOf(t, product), request(t, http.MethodGet, target, "", "If-None-Match", tag)).Code)
	product.AvailableStock = 3
	require.Equal(t, http.StatusOK, serve(apiOf(t, product), request(t, http.MethodGet, target, "", "If-None-Match", tag)).Code)
}

func TestEncodedProductsAreBounded(t *testing.T) {
	encoded := newEncodedProducts()
	for range 3 * maxEncoded {
		_, err := encoded.of(sale.Product{ID: sale.NewProductID()})
		require.NoError(t, err)
		require.LessOrEqual(t, len(encoded.byID), maxEncoded)
	}
}

func BenchmarkGetCachedProduct(b *testing.B) {
	handler, target := cachedAPI(b)
	r := request(b, http.MethodGet, target, "")
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
