package action_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// keys are the two kinds of keys of a hold: any text, and the id that the hold is to have.
func keys(p sale.Product) map[string]string {
	return map[string]string{"text": "my key", "hold id": sale.NewHoldID(p.ID).String()}
}

// eachKind runs a test for both kinds of keys, each in a shop of its own.
func eachKind(t *testing.T, stock int64, test func(t *testing.T, s *shop, p sale.Product, key string)) {
	t.Helper()
	t.Parallel()
	for _, kind := range []string{"text", "hold id"} {
		t.Run(kind, func(t *testing.T) {
			bothPaths(t, func(t *testing.T, s *shop) {
				t.Helper()
				p := s.product(stock)
				test(t, s, p, keys(p)[kind])
			})
		})
	}
}

func TestOneKeyUsedManyTimesAtOnceMakesOneHold(t *testing.T) {
	eachKind(t, 100, func(t *testing.T, s *shop, p sale.Product, key string) {
		t.Helper()
		branch := s.branch()
		results := make([]action.Result[action.HoldView], 30)
		crowd(len(results), func(i int) {
			actions := s.Actions
			if i%2 == 0 {
				actions = branch
			}
			result, err := actions.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 2)))
			assert.NoError(t, err)
			results[i] = result
		})
		made := 0
		for _, result := range results {
			assert.Equal(t, results[0].Value, result.Value)
			if !result.Replayed {
				made++
			}
		}
		assert.Equal(t, 1, made)
		s.requireUnits(p, 98, 2, 0, 0)
	})
}

func TestKeyForAnotherBodyIsRefused(t *testing.T) {
	eachKind(t, 100, func(t *testing.T, s *shop, p sale.Product, key string) {
		t.Helper()
		_, err := s.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 2)))
		require.NoError(t, err)
		s.refused(sale.CodeKeyReused, keyedWish(key, "bob", line(p, 2)))
		s.refused(sale.CodeKeyReused, keyedWish(key, "ann", line(p, 3)))
		s.refused(sale.CodeKeyReused, keyedWish(key, "ann", line(p, 2), line(s.product(1), 1)))
		s.requireUnits(p, 98, 2, 0, 0)
	})
}

func TestKeyThatIsAHoldIDUsedForOtherProductsIsReused(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(1)
		key := sale.NewHoldID(p.ID).String()
		_, err := s.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 1)))
		require.NoError(t, err)
		s.refused(sale.CodeKeyReused, keyedWish(key, "ann", line(s.product(1), 1)))
	})
}

func TestReplayOfASoldOutProductIsNotRefused(t *testing.T) {
	eachKind(t, 1, func(t *testing.T, s *shop, p sale.Product, key string) {
		t.Helper()
		first, err := s.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 1)))
		require.NoError(t, err)
		for _, actions := range []*action.Actions{s.Actions, s.branch()} {
			again, err := actions.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 1)))
			require.NoError(t, err)
			assert.Equal(t, action.Result[action.HoldView]{Value: first.Value, Replayed: true}, again)
		}
		s.refused(sale.CodeKeyReused, keyedWish(key, "bob", line(p, 1)))
		s.refused(sale.CodeAllHeld, wish("ann", line(p, 1)))
	})
}

func TestReplayIsNotRefusedByRulesThatChanged(t *testing.T) {
	eachKind(t, 9, func(t *testing.T, s *shop, p sale.Product, key string) {
		t.Helper()
		other := s.product(9)
		for other.ID.Compare(p.ID) < 0 { // p is the home that the key was made for
			other = s.product(9)
		}
		in := keyedWish(key, "ann", line(p, 1), line(other, 1))
		_, err := s.CreateHold.Do(s.ctx(), in)
		require.NoError(t, err)
		_, err = s.UpdateProduct.Do(s.ctx(), p.ID, action.ProductPatch{Price: &sale.Money{Amount: 1, Currency: "EUR"}})
		require.NoError(t, err)
		again, err := s.CreateHold.Do(s.ctx(), in)
		require.NoError(t, err)
		assert.True(t, again.Replayed)
	})
}

func TestRefusalIsNotStored(t *testing.T) {
	eachKind(t, 0, func(t *testing.T, s *shop, p sale.Product, key string) {
		t.Helper()
		s.refused(sale.CodeSoldOut, keyedWish(key, "ann", line(p, 1)))
		_, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{ProductID: p.ID, Delta: 1, Reason: "found"})
		require.NoError(t, err)
		result, err := s.CreateHold.Do(s.ctx(), keyedWish(key, "ann", line(p, 1)))
		require.NoError(t, err)
		assert.False(t, result.Replayed)
	})
}

func TestKeyThatIsAHoldIDBecomesTheHoldsAndNeedsNoRecord(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(1)
		id := sale.NewHoldID(p.ID)
		result, err := s.CreateHold.Do(s.ctx(), keyedWish(id.String(), "ann", line(p, 1)))
		require.NoError(t, err)
		assert.Equal(t, id, result.Value.ID)
		assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM idempotency_keys"), "the product's own only")
	})
}

func TestKeyThatIsAHoldIDOfAnotherHomeIsInvalid(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 5)
		stranger := sale.NewHoldID(low.ID)
		stranger[len(stranger)-1]++
		for _, id := range []sale.HoldID{stranger, sale.NewHoldID(high.ID), {}} {
			if id == sale.NewHoldID(high.ID) || sale.IsHoldIDFor(id, low.ID) {
				continue // both products end alike
			}
			s.refused(sale.CodeInvalidRequest, keyedWish(id.String(), "ann", line(high, 1), line(low, 1)))
		}
		s.requireUnits(low, 5, 0, 0, 0)
	})
}

// The hold's own id is the fastest key of its order, too: the order is its record.
func TestKeyThatIsTheHoldsIDNeedsNoRecordOfItsOrder(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(5, 5)
		free := s.product(1, priced(0, "USD"))
		for _, hold := range []action.HoldView{s.hold("ann", line(high, 1), line(low, 2)), s.hold("ann", line(free, 1))} {
			records := s.count("SELECT COUNT(*) FROM idempotency_keys")
			in := action.CreateOrderInput{Key: hold.ID.String(), HoldID: hold.ID}
			assertOnce(t, s, "create order", func(a *action.Actions) (bool, error) {
				result, err := a.CreateOrder.Do(s.ctx(), in)
				assert.Equal(t, sale.OrderOf(hold.ID), result.Value.ID)
				return result.Replayed, err
			})
			assert.Equal(t, records, s.count("SELECT COUNT(*) FROM idempotency_keys"))
			_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "another", HoldID: hold.ID})
			requireCode(t, err, sale.CodeHoldOrdered)
		}
	})
}

func TestKeyThatIsTheHoldsIDDoesNotReplayWhatAnotherKeyMade(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		hold := s.hold("ann", line(s.product(1), 1))
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: hold.ID})
		require.NoError(t, err)
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: hold.ID.String(), HoldID: hold.ID})
		assert.Equal(t, sale.OrderOf(hold.ID), requireCode(t, err, sale.CodeHoldOrdered).OrderID)
	})
}

func TestKeyThatIsAnotherHoldsIDMakesNoOrder(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2)
		hold, other := s.hold("ann", line(p, 1)), s.hold("ann", line(p, 1))
		strange := action.CreateOrderInput{Key: other.ID.String(), HoldID: hold.ID}
		_, err := s.CreateOrder.Do(s.ctx(), strange)
		requireCode(t, err, sale.CodeInvalidRequest)
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: other.ID.String(), HoldID: other.ID})
		require.NoError(t, err)
		_, err = s.CreateOrder.Do(s.ctx(), strange)
		requireCode(t, err, sale.CodeKeyReused)
		s.requireUnits(p, 0, 1, 1, 0)
	})
}

func TestRecordOlderThanItsLifeCountsAsGone(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(2)
		first, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "ann", line(p, 1)))
		require.NoError(t, err)
		age := func(seconds int64) {
			s.exec("UPDATE idempotency_keys SET created_at = created_at - INTERVAL ? SECOND", seconds)
		}
		const day, minute = 24 * 60 * 60, 60
		age(day - minute)
		again, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "ann", line(p, 1)))
		require.NoError(t, err)
		assert.True(t, again.Replayed)
		age(minute)
		second, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "bob", line(p, 1)))
		require.NoError(t, err)
		assert.False(t, second.Replayed)
		assert.NotEqual(t, first.Value.ID, second.Value.ID)
		age(day)
		s.refused(sale.CodeAllHeld, keyedWish("k", "bob", line(p, 1)))
	})
}

func TestKeysOfOtherOperationsAndSubjectsAreOther(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p, other := s.product(9), s.product(9)
		_, err := s.CreateProduct.Do(s.ctx(), action.CreateProductInput{
			Key: "k", SKU: "keyed", Name: "x", Rules: sale.Rules{Price: sale.Money{Currency: "USD"}},
		})
		require.NoError(t, err)
		hold, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "ann", line(p, 1)))
		require.NoError(t, err)
		assert.False(t, hold.Replayed)
		for _, product := range []sale.Product{p, other} {
			adjusted, err := s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{Key: "k", ProductID: product.ID, Delta: 1, Reason: "found"})
			require.NoError(t, err)
			assert.False(t, adjusted.Replayed)
		}
		order, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: hold.Value.ID})
		require.NoError(t, err)
		assert.False(t, order.Replayed)

		subject := s.hold("ann", line(p, 1)).ID // of two operations
		extended, err := s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{Key: "k", HoldID: subject, By: time.Second})
		require.NoError(t, err)
		assert.False(t, extended.Replayed)
		released, err := s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{Key: "k", HoldID: subject})
		require.NoError(t, err)
		assert.False(t, released.Replayed)
	})
}

func TestEveryOperationWithAKeyHasItsEffectOnce(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(100)
		hold, released := s.hold("ann", line(p, 1)), s.hold("ann", line(p, 1))
		for name, do := range map[string]func(a *action.Actions) (bool, error){
			"create product": func(a *action.Actions) (bool, error) {
				result, err := a.CreateProduct.Do(s.ctx(), action.CreateProductInput{
					Key: "k", SKU: "keyed", Name: "x", Rules: sale.Rules{Price: sale.Money{Currency: "USD"}},
				})
				return result.Replayed, err
			},
			"adjust stock": func(a *action.Actions) (bool, error) {
				result, err := a.AdjustStock.Do(s.ctx(), action.AdjustStockInput{Key: "k", ProductID: p.ID, Delta: 5, Reason: "x"})
				return result.Replayed, err
			},
			"extend hold": func(a *action.Actions) (bool, error) {
				result, err := a.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{Key: "k", HoldID: hold.ID, By: time.Second})
				return result.Replayed, err
			},
			"release hold": func(a *action.Actions) (bool, error) {
				result, err := a.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{Key: "k", HoldID: released.ID})
				return result.Replayed, err
			},
		} {
			assertOnce(t, s, name, do)
		}
		assertOnce(t, s, "create order", func(a *action.Actions) (bool, error) {
			result, err := a.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: hold.ID})
			return result.Replayed, err
		})
		read, err := s.GetHold.Do(s.ctx(), hold.ID)
		require.NoError(t, err)
		assert.Equal(t, hold.ExpiresAt.Add(time.Second), read.ExpiresAt)
		s.requireUnits(p, 104, 0, 1, 0)
		assert.Equal(t, int64(1), s.count("SELECT COUNT(*) FROM products WHERE sku = 'keyed'"))
	})
}

// Whoever meets a record that counts has a share in its row until the transaction ends: who wants
// more than that would wait for all others who replay it, and they for each other.
func TestReplaysOfOneKeyDoNotWaitForEachOther(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		low, high := s.twoProducts(9, 9)
		hold, ordered := s.hold("ann", line(low, 1)), s.ordered("ann", line(low, 1))
		for name, do := range map[string]func() (bool, error){
			"create hold": func() (bool, error) {
				result, err := s.CreateHold.Do(s.ctx(), keyedWish("k", "ann", line(low, 1)))
				return result.Replayed, err
			},
			"create hold of two products": func() (bool, error) {
				result, err := s.CreateHold.Do(s.ctx(), keyedWish("both", "ann", line(low, 1), line(high, 1)))
				return result.Replayed, err
			},
			"create order": func() (bool, error) {
				result, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: hold.ID})
				return result.Replayed, err
			},
			"cancel order": func() (bool, error) {
				result, err := s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{Key: "k", OrderID: ordered.ID})
				return result.Replayed, err
			},
		} {
			_, err := do()
			require.NoError(t, err, name)
			other := s.locked("SELECT 1 FROM idempotency_keys FOR SHARE")
			replayed, err := do()
			require.NoError(t, err, name)
			assert.True(t, replayed, name)
			require.NoError(t, other.Rollback())
		}
	})
}

func TestTheLogTellsOfAnEffectOnceHoweverOftenItIsReplayed(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]bool{"plain": false, "merged": true} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s := setup(t, func(kit *action.Kit) {
				kit.Coalesce, kit.Log = coalesce, slog.New(slog.NewJSONHandler(&log, nil))
			})
			p := s.product(9)
			released, ordered, cancelled := s.hold("ann", line(p, 1)), s.hold("ann", line(p, 1)), s.ordered("ann", line(p, 1))
			log.Reset()
			for range 3 {
				_, err := s.CreateProduct.Do(s.ctx(), action.CreateProductInput{
					Key: "k", SKU: "keyed", Name: "x", Rules: sale.Rules{Price: sale.Money{Currency: "USD"}},
				})
				require.NoError(t, err)
				_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{Key: "k", ProductID: p.ID, Delta: 5, Reason: "x"})
				require.NoError(t, err)
				_, err = s.CreateHold.Do(s.ctx(), keyedWish("k", "ann", line(p, 1)))
				require.NoError(t, err)
				_, err = s.ReleaseHold.Do(s.ctx(), action.ReleaseHoldInput{Key: "k", HoldID: released.ID})
				require.NoError(t, err)
				_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: ordered.ID})
				require.NoError(t, err)
				_, err = s.CancelOrder.Do(s.ctx(), action.CancelOrderInput{Key: "k", OrderID: cancelled.ID})
				require.NoError(t, err)
			}
			for event, times := range map[string]int{
				"product.created": 1, "stock.adjusted": 1, "hold.created": 1, "hold.replayed": 2, "hold.released": 1,
				"order.created": 1, "order.changed": 1,
			} {
				assert.Equal(t, times, strings.Count(log.String(), `"msg":"`+event+`"`), event)
			}
			assert.Equal(t, 8, strings.Count(log.String(), "\n"), log.String())
		})
	}
}

// assertOnce runs an operation eight times at once in two processes: one has the
// effect, all others replay it.
func assertOnce(t *testing.T, s *shop, name string, do func(a *action.Actions) (replayed bool, err error)) {
	t.Helper()
	branch := s.branch()
	replays := make([]bool, 8)
	crowd(len(replays), func(i int) {
		actions := s.Actions
		if i%2 == 0 {
			actions = branch
		}
		replayed, err := do(actions)
		assert.NoError(t, err, name)
		replays[i] = replayed
	})
	first := 0
	for _, replayed := range replays {
		if !replayed {
			first++
		}
	}
	assert.Equal(t, 1, first, name)
}

func TestKeyedOperationsRefuseAnotherBody(t *testing.T) {
	bothPaths(t, func(t *testing.T, s *shop) {
		t.Helper()
		p := s.product(9)
		one, other := s.hold("ann", line(p, 1)), s.hold("ann", line(p, 1))
		_, err := s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: one.ID})
		require.NoError(t, err)
		_, err = s.CreateOrder.Do(s.ctx(), action.CreateOrderInput{Key: "k", HoldID: other.ID})
		requireCode(t, err, sale.CodeKeyReused)
		_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{Key: "k", ProductID: p.ID, Delta: 1, Reason: "x"})
		require.NoError(t, err)
		_, err = s.AdjustStock.Do(s.ctx(), action.AdjustStockInput{Key: "k", ProductID: p.ID, Delta: 1, Reason: "y"})
		requireCode(t, err, sale.CodeKeyReused)
		_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{Key: "k", HoldID: other.ID, By: time.Second})
		require.NoError(t, err)
		_, err = s.ExtendHold.Do(s.ctx(), action.ExtendHoldInput{Key: "k", HoldID: other.ID, By: 2 * time.Second})
		requireCode(t, err, sale.CodeKeyReused)
	})
}
