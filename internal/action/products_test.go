package action_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func TestNewProductHasItsTermsAndDefaults(t *testing.T) {
	s := setup(t)
	starts, ends := at(longAgo), at(farAhead)
	made := s.product(7, limited(2), func(in *action.CreateProductInput) {
		in.Rules.SaleStartsAt, in.Rules.SaleEndsAt = starts, ends
	})
	read, err := s.GetProduct.Do(s.ctx(), made.ID)
	require.NoError(t, err)
	assert.Equal(t, made, read.Product)
	assert.True(t, read.Hit, "its maker put it into the cache")
	assert.Equal(t, sale.Rules{
		Price: sale.Money{Amount: 1000, Currency: "USD"}, SaleStartsAt: starts, SaleEndsAt: ends,
		PerCustomerLimit: ptr(int64(2)), HoldTTL: 5 * time.Minute, PaymentWindow: 15 * time.Minute,
	}, made.Rules)
	assert.Equal(t, []int64{7, 7, 1, 1}, []int64{made.TotalStock, made.AvailableStock, made.Version, made.StockVersion})
	s.requireUnits(made, 7, 0, 0, 0)
}

func TestUnknownProductIsNotFound(t *testing.T) {
	s := setup(t)
	id := sale.NewProductID()
	_, err := s.GetProduct.Do(s.ctx(), id)
	requireCode(t, err, sale.CodeProductNotFound)
	_, err = s.UpdateProduct.Do(s.ctx(), id, action.ProductPatch{Name: ptr("x")})
	requireCode(t, err, sale.CodeProductNotFound)
	_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: id, Delta: 1, Reason: "x"})
	requireCode(t, err, sale.CodeProductNotFound)
	_, err = s.Audit.Do(s.ctx(), id)
	requireCode(t, err, sale.CodeProductNotFound)
}

func TestSKUIsTakenOnceAndItsCaseCounts(t *testing.T) {
	s := setup(t)
	named := func(sku string) action.CreateProductInput {
		return action.CreateProductInput{SKU: sku, Name: "Thing", Rules: sale.Rules{Price: sale.Money{Currency: "USD"}}}
	}
	_, err := s.CreateProduct.Do(s.ctx(), named("SHOE"))
	require.NoError(t, err)
	_, err = s.CreateProduct.Do(s.ctx(), named("SHOE"))
	requireCode(t, err, sale.CodeSKUTaken)
	_, err = s.CreateProduct.Do(s.ctx(), named("shoe"))
	require.NoError(t, err, "another case is another sku")
	assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM products"))
	assert.Equal(t, int64(2), s.count("SELECT COUNT(*) FROM idempotency_keys"), "a refusal leaves no record")
}

func TestWindowMustEndAfterItsStart(t *testing.T) {
	s := setup(t)
	moment := at(0)
	_, err := s.CreateProduct.Do(s.ctx(), action.CreateProductInput{
		SKU: "x", Name: "x", Rules: sale.Rules{Price: sale.Money{Currency: "USD"}, SaleStartsAt: moment, SaleEndsAt: moment},
	})
	requireCode(t, err, sale.CodeInvalidRequest)
	p := s.product(1)
	_, err = s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{
		SaleStartsAt: action.Change[time.Time]{Given: true, Value: at(farAhead)},
		SaleEndsAt:   action.Change[time.Time]{Given: true, Value: at(longAgo)},
	})
	requireCode(t, err, sale.CodeInvalidRequest)
}

// What the database keeps no trace of makes no window, and no change.
func TestWindowIsOfMicroseconds(t *testing.T) {
	s := setup(t)
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	within := func(nanoseconds time.Duration) *time.Time { return ptr(begin.Add(nanoseconds)) }
	none := sale.Rules{Price: sale.Money{Currency: "USD"}, SaleStartsAt: within(100), SaleEndsAt: within(900)}
	_, err := s.CreateProduct.Do(s.ctx(), action.CreateProductInput{SKU: "x", Name: "x", Rules: none})
	requireCode(t, err, sale.CodeInvalidRequest)
	p := s.product(1)
	patch := func(start, end time.Duration) (sale.Product, error) {
		return s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{
			SaleStartsAt: action.Change[time.Time]{Given: true, Value: within(start)},
			SaleEndsAt:   action.Change[time.Time]{Given: true, Value: within(end)},
		})
	}
	_, err = patch(100, 900)
	requireCode(t, err, sale.CodeInvalidRequest)
	first, err := patch(100, 1900)
	require.NoError(t, err)
	assert.Equal(t, []*time.Time{within(0), within(1000)}, []*time.Time{first.SaleStartsAt, first.SaleEndsAt})
	again, err := patch(100, 1900)
	require.NoError(t, err)
	assert.Equal(t, first, again)
}

func TestProductsAreListedInOrderOfIDPageByPage(t *testing.T) {
	s := setup(t)
	made := map[sale.ProductID]bool{}
	for range 5 {
		made[s.product(1).ID] = true
	}
	var listed []sale.ProductID
	var after *sale.ProductID
	for range 3 {
		page, err := s.ListProducts.Do(s.ctx(), 2, after)
		require.NoError(t, err)
		for _, p := range page.Products {
			assert.True(t, made[p.ID])
			listed = append(listed, p.ID)
		}
		after = page.Next
	}
	assert.Nil(t, after, "the last page has no next")
	require.Len(t, listed, 5)
	for i := range listed[1:] {
		assert.Negative(t, listed[i].Compare(listed[i+1]))
	}
	page, err := s.ListProducts.Do(s.ctx(), 5, nil)
	require.NoError(t, err)
	assert.Nil(t, page.Next, "a full last page has no next")
}

func TestPatchRaisesTheVersionOnlyWhenSomethingChanges(t *testing.T) {
	var log bytes.Buffer
	s := setup(t, func(kit *action.Kit) { kit.Log = slog.New(slog.NewJSONHandler(&log, nil)) })
	p := s.product(3, limited(2))
	versions := func(p sale.Product) [2]int64 { return [2]int64{p.Version, p.StockVersion} }
	patch := func(patch action.ProductPatch) sale.Product {
		updated, err := s.UpdateProduct.Do(s.ctx(), p.ID, patch)
		require.NoError(t, err)
		read, err := s.GetProduct.Do(s.ctx(), p.ID)
		require.NoError(t, err)
		assert.Equal(t, updated, read.Product, "the process that changed it shows it at once")
		return updated
	}
	log.Reset()
	assert.Equal(t, [2]int64{1, 1}, versions(patch(action.ProductPatch{})))
	assert.Equal(t, [2]int64{1, 1}, versions(patch(action.ProductPatch{Name: ptr("Thing"), PerCustomerLimit: action.Change[int64]{Given: true, Value: ptr(int64(2))}})))
	assert.Empty(t, log.String(), "nothing was updated")
	assert.Equal(t, [2]int64{2, 1}, versions(patch(action.ProductPatch{Name: ptr("Other")})))
	assert.Equal(t, 1, strings.Count(log.String(), `"msg":"product.updated","product_id":"`+p.ID.String()))
	assert.Equal(t, [2]int64{3, 1}, versions(patch(action.ProductPatch{Price: &sale.Money{Amount: 5, Currency: "USD"}})))
	gone := patch(action.ProductPatch{PerCustomerLimit: action.Change[int64]{Given: true}})
	assert.Equal(t, [2]int64{4, 1}, versions(gone))
	assert.Nil(t, gone.PerCustomerLimit)
	windowed := patch(action.ProductPatch{
		SaleStartsAt: action.Change[time.Time]{Given: true, Value: at(longAgo)}, SaleEndsAt: action.Change[time.Time]{Given: true, Value: at(farAhead)},
		HoldTTL: ptr(time.Minute), PaymentWindow: ptr(time.Hour),
	})
	assert.Equal(t, [2]int64{5, 1}, versions(windowed))
	assert.Equal(t, []time.Duration{time.Minute, time.Hour}, []time.Duration{windowed.HoldTTL, windowed.PaymentWindow})
}

func TestAdjustmentMovesTotalAndAvailableTogetherAndIsNoted(t *testing.T) {
	s := setup(t)
	p := s.product(10)
	s.hold("ann", line(p, 4))
	adjust := func(delta int64) (sale.Product, error) {
		result, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: delta, Reason: "recount"})
		return result.Value, err
	}
	more, err := adjust(5)
	require.NoError(t, err)
	assert.Equal(t, [2]int64{15, 11}, [2]int64{more.TotalStock, more.AvailableStock})
	_, err = adjust(-12)
	refusal := requireCode(t, err, sale.CodeInsufficient)
	assert.Equal(t, []sale.Refusal{{Code: sale.CodeInsufficient, ProductID: p.ID, Requested: 12, Available: 11}}, refusal.Lines)
	less, err := adjust(-11)
	require.NoError(t, err)
	assert.Equal(t, [2]int64{4, 0}, [2]int64{less.TotalStock, less.AvailableStock})
	_, err = adjust(sale.MaxStock)
	requireCode(t, err, sale.CodeInvalidRequest)
	_, err = adjust(sale.MaxStock - 4)
	require.NoError(t, err)
	assert.Equal(t, int64(3), s.count("SELECT COUNT(*) FROM movements WHERE reason = 'adjusted' AND note = 'recount'"))
}

// Overdue units are free, swept or not, however many transactions it takes to give them back.
func TestAdjustmentTakesAwayUnitsThatAreOverdue(t *testing.T) {
	s := setup(t)
	p := s.product(2100)
	s.fill(p, 2050, -3600)
	s.hold("ann", line(p, 10))
	ordered := s.ordered("bob", line(p, 40))
	s.pass(ordered.HoldID())
	adjust := func(delta int64) (sale.Product, error) {
		result, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: delta, Reason: "recount"})
		return result.Value, err
	}
	less, err := adjust(-1500)
	require.NoError(t, err)
	assert.Equal(t, int64(600), less.TotalStock)
	_, err = adjust(-591)
	refusal := requireCode(t, err, sale.CodeInsufficient)
	assert.Equal(t, []sale.Refusal{{Code: sale.CodeInsufficient, ProductID: p.ID, Requested: 591, Available: 590}}, refusal.Lines)
	less, err = adjust(-590)
	require.NoError(t, err)
	assert.Equal(t, [2]int64{10, 0}, [2]int64{less.TotalStock, less.AvailableStock})
	s.requireUnits(p, 0, 10, 0, 0)
}

// Whoever works on an overdue line, to pay for its order for example, may keep its units: the
// adjustment does not wait for that.
func TestAdjustmentDoesNotWaitForOverdueUnitsThatSomebodyWorksOn(t *testing.T) {
	s := setup(t)
	p := s.product(3)
	hold := s.hold("ann", line(p, 2))
	s.pass(hold.ID)
	holder := s.lockedLines(hold.ID)
	_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: -2, Reason: "recount"})
	require.NoError(t, holder.Rollback())
	refusal := requireCode(t, err, sale.CodeInsufficient)
	assert.Equal(t, []sale.Refusal{{Code: sale.CodeInsufficient, ProductID: p.ID, Requested: 2, Available: 1}}, refusal.Lines)
	s.requireUnits(p, 1, 2, 0, 0)
}

func TestConcurrentAdjustmentsNeverTakeAwayWhatIsHeld(t *testing.T) {
	s := setup(t)
	p := s.product(20)
	outcomes := newTally(t)
	crowd(20, func(i int) {
		if i%2 == 0 {
			_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: -3, Reason: "recount"})
			outcomes.add(err)
			return
		}
		_, err := s.CreateHold.Do(s.ctx(), wish(fmt.Sprint(i), line(p, 2)))
		outcomes.add(err)
	})
	b := s.books(p)
	assert.GreaterOrEqual(t, b.Available, int64(0))
	assert.Equal(t, b.Total, b.Available+b.Held)
	assert.Empty(t, onlyUnexpected(outcomes, "", sale.CodeInsufficient, sale.CodeAllHeld, sale.CodeSoldOut))
}

// onlyUnexpected are the codes that were met and not expected.
func onlyUnexpected(c *tally, expected ...sale.Code) map[sale.Code]int {
	left := map[sale.Code]int{}
	for code, n := range c.codes {
		left[code] = n
	}
	for _, code := range expected {
		delete(left, code)
	}
	return left
}

// A cache that has other rules under the same version, as after a copy of a database came to the
// Redis of another: MySQL decides what a hold costs and what a customer may have.
func TestTermsThatMySQLDoesNotHaveAreNeverSoldOn(t *testing.T) {
	for name, forge := range map[string]func(*sale.Rules){
		"price":             func(r *sale.Rules) { r.Price.Amount = 0 },
		"currency":          func(r *sale.Rules) { r.Price.Currency = "EUR" },
		"no limit":          func(r *sale.Rules) { r.PerCustomerLimit = nil },
		"another limit":     func(r *sale.Rules) { *r.PerCustomerLimit++ },
		"time to live":      func(r *sale.Rules) { r.HoldTTL = time.Hour },
		"time to pay":       func(r *sale.Rules) { r.PaymentWindow = time.Hour },
		"a limit of no use": func(r *sale.Rules) { r.PerCustomerLimit = ptr(int64(1)) },
	} {
		t.Run(name, func(t *testing.T) {
			bothPaths(t, func(t *testing.T, s *shop) {
				t.Helper()
				limit := int64(2)
				p := s.product(10, func(in *action.CreateProductInput) { in.Rules.PerCustomerLimit = &limit })
				other := s.product(10)
				forged := p
				forged.PerCustomerLimit = ptr(limit)
				forge(&forged.Rules)
				s.kit.Cache = &frozenCache{products: map[sale.ProductID]sale.Product{p.ID: forged}}
				misled := s.branch()
				for _, lines := range [][]sale.LineRequest{{line(p, 1)}, {line(p, 1), line(other, 1)}} {
					result, err := misled.CreateHold.Do(s.ctx(), wish("ann", lines...))
					require.NoError(t, err)
					made := result.Value
					assert.Equal(t, p.Price, made.Lines[0].UnitPrice)
					assert.Equal(t, made.CreatedAt.Add(p.HoldTTL), made.ExpiresAt)
					assert.Equal(t, p.PaymentWindow, made.PaymentWindow)
				}
				_, err := misled.CreateHold.Do(s.ctx(), wish("ann", line(p, 1)))
				requireCode(t, err, sale.CodeLimitReached)
			})
		})
	}
}
