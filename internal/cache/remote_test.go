package cache

import (
	"log/slog"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

func TestProcessesShareALoadThroughRedis(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	one, _ := connected(t, url, prefix)
	other, _ := connected(t, url, prefix)
	truth := newTruth()
	require.Equal(t, int64(1), version(t, one, truth))
	require.Eventually(t, func() bool {
		product, hit, err := other.Get(t.Context(), truth.id(), truth.load)
		return err == nil && hit && assert.ObjectsAreEqual(truth.product, product)
	}, patience, pollGap)
}

func TestAPutReachesOtherProcessesByInvalidation(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	one, _ := connected(t, url, prefix)
	other, _ := connected(t, url, prefix)
	truth := newTruth()
	before := time.Now()
	require.Equal(t, int64(1), version(t, other, truth))

	one.Put(t.Context(), truth.commit())
	require.Eventually(t, func() bool { return !freshAt(other, truth.id(), before) }, patience, pollGap)
	assert.Equal(t, int64(2), version(t, other, truth))
}

func TestAProcessIsNotToldOfItsOwnWrites(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	one, _ := connected(t, url, prefix)
	other, _ := connected(t, url, prefix)
	mine, shared := newTruth(), newTruth()
	before := time.Now()
	one.Put(t.Context(), mine.commit(), shared.commit())
	other.Put(t.Context(), shared.commit())
	// Word comes in order: when that of the second write is here, any of the first
	// would be, too.
	require.Eventually(t, func() bool { return !freshAt(one, shared.id(), before) }, patience, pollGap)
	assert.True(t, freshAt(one, mine.id(), before))
}

func TestAPutOfAStateThatAnotherProcessHasReplacedIsNotServed(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	slow, _ := connected(t, url, prefix)
	fast, _ := connected(t, url, prefix)
	truth := newTruth()
	first := truth.commit()
	fast.Put(t.Context(), truth.commit())
	slow.Put(t.Context(), first)
	assert.Equal(t, int64(3), version(t, slow, truth))
}

func TestAnOlderStateInRedisIsNotServedWhereANewerOneWasSeen(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	one, _ := connected(t, url, prefix)
	other, _ := connected(t, url, prefix)
	truth := newTruth()
	one.Put(t.Context(), truth.product)
	// As if the write to Redis had failed and the process had to ask again.
	second := truth.commit()
	other.local.put(&second, time.Time{})
	assert.Equal(t, int64(2), version(t, other, truth))
}

func TestRedisKeepsTheNewestVersionWhateverTheOrderOfWrites(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	one, oneCounts := connected(t, url, prefix)
	other, otherCounts := connected(t, url, prefix)
	failures := func() int {
		return oneCounts.failures(OpPut, OpGet, OpConnect) + otherCounts.failures(OpPut, OpGet, OpConnect)
	}
	rapid.Check(t, func(rt *rapid.T) {
		id := sale.NewProductID()
		versions := rapid.SliceOfN(rapid.Int64Range(1, 1000), 1, 8).Draw(rt, "versions")
		awaitState(t, one, StateOK)
		awaitState(t, other, StateOK)
		before := failures()
		newest := int64(0)
		var writers sync.WaitGroup
		for i, v := range versions {
			newest = max(newest, v)
			writer := []*Cache{one, other}[i%2]
			writers.Go(func() { writer.Put(t.Context(), example(id, v)) })
		}
		writers.Wait()
		// Until it expires, which one stall of the machine may be enough for; and a write
		// that a stall keeps from Redis comes later.
		if product, life, found := one.remote.get(t.Context(), id); found && failures() == before {
			assert.Equal(rt, example(id, newest).AvailableStock, product.AvailableStock)
			assert.Equal(rt, newest, product.Version)
			assert.LessOrEqual(rt, life, redisLife)
		}
		for _, reader := range []*Cache{one, other} {
			product, _, err := reader.Get(t.Context(), id, truthOf(example(id, newest)).load)
			require.NoError(rt, err)
			assert.LessOrEqual(rt, product.Version, newest)
		}
	})
}

func truthOf(product sale.Product) *truth { return &truth{product: product} }

func TestNoReadAfterAPutGivesAnOlderVersionInItsProcess(t *testing.T) {
	t.Parallel()
	const writers, commits = 4, 100
	url, prefix := testenv.Redis(t)
	truth := newTruth()
	var running sync.WaitGroup
	for range 2 {
		process, _ := connected(t, url, prefix)
		for range writers {
			running.Go(func() {
				for range commits {
					committed := truth.commit()
					process.Put(t.Context(), committed)
					product, _, err := process.Get(t.Context(), committed.ID, truth.load)
					if assert.NoError(t, err) {
						assert.GreaterOrEqual(t, product.Version, committed.Version)
					}
				}
			})
		}
	}
	running.Wait()
}

func TestProcessesAgreeOnTheNewestVersionAfterARace(t *testing.T) {
	t.Parallel()
	const commits = 100
	url, prefix := testenv.Redis(t)
	truth := newTruth()
	before := time.Now()
	var processes [3]*Cache
	var running sync.WaitGroup
	for i := range processes {
		process, _ := connected(t, url, prefix)
		processes[i] = process
		running.Go(func() {
			for range commits {
				process.Put(t.Context(), truth.commit())
			}
		})
	}
	running.Wait()
	for _, process := range processes {
		require.Eventually(t, func() bool {
			kept, fresh := process.local.get(truth.id(), before)
			return !fresh || kept.Version == truth.product.Version
		}, patience, pollGap)
		assert.Equal(t, truth.product.Version, version(t, process, truth))
	}
}

func TestAnEmptiedRedisIsFilledFromLoads(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	c, _ := connected(t, server.URL(), "")
	truth := newTruth()
	before := time.Now()
	require.Equal(t, int64(1), version(t, c, truth))
	awaitEntry(t, c, truth.id())
	loads := truth.loads.Load()

	admin := client(t, server.URL())
	require.NoError(t, admin.Do(t.Context(), admin.B().Flushall().Build()).Error())
	require.Eventually(t, func() bool { return !freshAt(c, truth.id(), before) }, patience, pollGap)
	assert.Equal(t, int64(1), version(t, c, truth))
	assert.Greater(t, truth.loads.Load(), loads)
	awaitEntry(t, c, truth.id())
}

func TestAValueOfAnotherTypeIsReplacedAndCostsNobodyRedis(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	c, counted := connected(t, url, prefix)
	admin := client(t, url)
	truth := newTruth()
	spoil := func() {
		key := c.remote.key(truth.id())
		require.NoError(t, admin.Do(t.Context(), admin.B().Del().Key(key).Build()).Error())
		require.NoError(t, admin.Do(t.Context(), admin.B().Lpush().Key(key).Element("x").Build()).Error())
	}

	spoil()
	_, _, found := c.remote.get(t.Context(), truth.id())
	require.False(t, found)
	assert.Equal(t, int64(1), version(t, c, truth))
	awaitEntry(t, c, truth.id())
	spoil()
	c.Put(t.Context(), truth.commit())
	awaitEntry(t, c, truth.id())
	assert.Equal(t, StateOK, c.State())
	assert.Zero(t, counted.failures(OpPut))
}

func TestAnEntryThatNoProductCanBeIsNotServed(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	admin := client(t, url)
	tooLate := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, spoil := range map[string]func(*sale.Product){
		"version 0":                func(p *sale.Product) { p.Version = 0 },
		"a negative version":       func(p *sale.Product) { p.Version = -1 },
		"no version of its stock":  func(p *sale.Product) { p.StockVersion = 0 },
		"no sku":                   func(p *sale.Product) { p.SKU = "" },
		"no name":                  func(p *sale.Product) { p.Name = "" },
		"less than nothing":        func(p *sale.Product) { p.AvailableStock = -1 },
		"more than all":            func(p *sale.Product) { p.AvailableStock = p.TotalStock + 1 },
		"more than there may be":   func(p *sale.Product) { p.TotalStock = sale.MaxStock + 1 },
		"no currency":              func(p *sale.Product) { p.Price.Currency = "" },
		"a currency in lower case": func(p *sale.Product) { p.Price.Currency = "eur" },
		"a negative price":         func(p *sale.Product) { p.Price.Amount = -1 },
		"too high a price":         func(p *sale.Product) { p.Price.Amount = sale.MaxAmount + 1 },
		"no time for a hold":       func(p *sale.Product) { p.HoldTTL = 0 },
		"no time for a payment":    func(p *sale.Product) { p.PaymentWindow = -time.Second },
		"a limit of nothing":       func(p *sale.Product) { p.PerCustomerLimit = new(int64) },
		"a start after all years":  func(p *sale.Product) { p.SaleStartsAt = &tooLate },
		"an end after all years":   func(p *sale.Product) { p.SaleEndsAt = &tooLate },
		"made after all years":     func(p *sale.Product) { p.CreatedAt = tooLate },
		"changed after all years":  func(p *sale.Product) { p.UpdatedAt = tooLate },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := connected(t, url, prefix)
			truth := newTruth()
			bad := truth.product
			spoil(&bad)
			text, err := encode(&bad)
			require.NoError(t, err)
			set := admin.B().Set().Key(c.remote.key(bad.ID)).Value(text).Px(redisLife).Build()
			require.NoError(t, admin.Do(t.Context(), set).Error())

			product, hit, err := c.Get(t.Context(), bad.ID, truth.load)
			require.NoError(t, err)
			assert.False(t, hit)
			assert.Equal(t, truth.product, product)
			assert.Equal(t, StateOK, c.State())
		})
	}
}

func TestAnEntryThatLivesTooLongIsNotServedButReplaced(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	c, counted := connected(t, url, prefix)
	admin := client(t, url)
	for name, life := range map[string]string{"for ever": "PERSIST", "for an hour": "PEXPIRE"} {
		t.Run(name, func(t *testing.T) {
			truth := newTruth()
			key := c.remote.key(truth.id())
			text, err := encode(new(example(truth.id(), 1000)))
			require.NoError(t, err)
			spoil := func() {
				set := admin.B().Set().Key(key).Value(text).Build()
				require.NoError(t, admin.Do(t.Context(), set).Error())
				if life == "PEXPIRE" {
					require.NoError(t, admin.Do(t.Context(), admin.B().Pexpire().Key(key).Milliseconds(time.Hour.Milliseconds()).Build()).Error())
				}
			}
			kept := func() int64 {
				awaitEntry(t, c, truth.id())
				product, _, found := c.remote.get(t.Context(), truth.id())
				require.True(t, found)
				return product.Version
			}

			spoil()
			assert.Equal(t, int64(1), version(t, c, truth))
			assert.Equal(t, int64(1), kept())
			spoil()
			c.Put(t.Context(), truth.commit())
			assert.Equal(t, int64(2), version(t, c, truth))
			assert.Equal(t, int64(2), kept())
		})
	}
	assert.Zero(t, counted.failures(OpPut))
	assert.Equal(t, StateOK, c.State())
}

// A write that failed may be tried again long after a newer one has come and gone.
func TestAWriteThatIsTriedAgainReplacesWhatIsThereAndBringsNothingBack(t *testing.T) {
	t.Parallel()
	url, prefix := testenv.Redis(t)
	late, _ := connected(t, url, prefix)
	other, _ := connected(t, url, prefix)
	admin := client(t, url)
	gone, there := newTruth(), newTruth()
	old, err := encode(&there.product)
	require.NoError(t, err)
	set := admin.B().Set().Key(late.remote.key(there.id())).Value(old).Build() // without an end: until it is replaced
	require.NoError(t, admin.Do(t.Context(), set).Error())

	late.remote.queue(t.Context(), []sale.Product{gone.commit(), there.commit()})
	require.Eventually(t, func() bool {
		text, err := admin.Do(t.Context(), admin.B().Get().Key(late.remote.key(there.id())).Build()).ToString()
		return err != nil || text != old
	}, patience, pollGap)
	gone.commit()
	assert.Equal(t, int64(3), version(t, other, gone))
	assert.Equal(t, int64(2), version(t, other, there))
}

// awaitEntry waits until Redis has the product: a load goes there after its
// readers were answered.
func awaitEntry(t *testing.T, c *Cache, id sale.ProductID) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, _, found := c.remote.get(t.Context(), id)
		return found
	}, patience, pollGap)
}

func client(t *testing.T, url string) rueidis.Client {
	t.Helper()
	option, err := rueidis.ParseURL(url)
	require.NoError(t, err)
	option.ForceSingleClient, option.DisableCache = true, true
	c, err := rueidis.NewClient(option)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestReadsAndWritesGoOnWhileRedisIsStoppedAndReachItAfterwards(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	c, _ := connected(t, server.URL(), "")
	other, _ := connected(t, server.URL(), "")
	truth := newTruth()
	require.Equal(t, int64(1), version(t, c, truth))

	server.Stop()
	awaitState(t, c, StateUnreachable)
	c.Put(t.Context(), truth.commit())
	assert.Equal(t, int64(2), version(t, c, truth))
	require.Eventually(t, func() bool { return version(t, other, truth) == 2 }, patience, pollGap)
	unknown := sale.NewProductID()
	_, _, err := c.Get(t.Context(), unknown, noLoad)
	require.ErrorIs(t, err, errNotLoaded)

	server.Start()
	awaitState(t, c, StateOK)
	c.Put(t.Context(), truth.commit())
	require.Eventually(t, func() bool {
		product, hit, err := other.Get(t.Context(), truth.id(), truth.load)
		return err == nil && hit && product.Version == 3
	}, patience, pollGap)
}

func TestAStalledRedisIsAskedOnceNotByEveryRequest(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	c, meter := openWithin(t, 0, server.URL(), "")
	awaitState(t, c, StateOK)
	server.Pause()
	for range 200 {
		truth := newTruth()
		assert.Equal(t, int64(1), version(t, c, truth))
		c.Put(t.Context(), truth.commit())
		assert.Equal(t, int64(2), version(t, c, truth))
		assert.LessOrEqual(t, truth.loads.Load(), int64(1))
	}
	assert.Equal(t, StateUnreachable, c.State())
	assert.LessOrEqual(t, meter.failures(OpGet, OpPut), 1)
	server.Unpause()
	awaitState(t, c, StateOK)
}

func TestACacheOpensWithoutRedisAndFindsItLater(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	server.Stop()
	c, _ := open(t, server.URL(), "")
	truth := newTruth()
	assert.Equal(t, int64(1), version(t, c, truth))
	assert.Equal(t, StateUnreachable, c.State())
	server.Start()
	awaitState(t, c, StateOK)
}

func TestAnURLThatCannotBeReadIsRefusedWithoutRepeatingIt(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{RedisURL: "http://:secret@redis", Log: slog.New(slog.DiscardHandler), Meter: newCounts()})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}

// The client's own pings aside, nothing is said to Redis while a product is fresh.
func TestAHitCostsRedisNoCommand(t *testing.T) {
	t.Parallel()
	server := testenv.OwnRedis(t)
	c, meter := connected(t, server.URL(), "hits:")
	truth := newTruth()
	commands := commandsOf(t, server.URL())
	const hits = 10 // in a row
	row := 0
	require.Eventually(t, func() bool {
		// The state may grow old, or be written late, in between: then the row starts anew.
		before, local := commands(), meter.of(ReadLocal)
		version(t, c, truth)
		row++
		if commands() != before || meter.of(ReadLocal) == local {
			row = 0
		}
		return row == hits
	}, patience, time.Millisecond)
	before := commands()
	c.Put(t.Context(), truth.commit())
	require.Greater(t, commands(), before, "the counter counts")
}

// commandsOf counts what clients have asked of a Redis, pings and the counting itself aside.
func commandsOf(t *testing.T, url string) func() int64 {
	t.Helper()
	admin := client(t, url)
	calls := regexp.MustCompile(`cmdstat_([a-z|]+):calls=(\d+)`)
	return func() (sum int64) {
		stats, err := admin.Do(t.Context(), admin.B().Info().Section("commandstats").Build()).ToString()
		require.NoError(t, err)
		for _, stat := range calls.FindAllStringSubmatch(stats, -1) {
			n, err := strconv.ParseInt(stat[2], 10, 64)
			require.NoError(t, err)
			if stat[1] != "ping" && stat[1] != "info" {
				sum += n
			}
		}
		return sum
	}
}
