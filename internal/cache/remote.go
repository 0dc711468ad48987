package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// retryAfter is how long a failing Redis is left alone.
	retryAfter = 100 * time.Millisecond
	// checkEvery is how often a working Redis is asked whether it is there.
	checkEvery = time.Second
	// checkLimit bounds connecting to Redis, and one answer of a Redis that failed
	// before. Only the background waits that long.
	checkLimit = time.Second
	// batch bounds the products of one call of the script.
	batch = 100
	// wrongType is what Redis's error begins with where a key has another type.
	wrongType = "WRONGTYPE"
	// endless is the life, in milliseconds, of a key that never expires.
	endless = -1
)

// errDisconnected says that Redis failed a moment ago and is not asked now.
var errDisconnected = errors.New("not connected to Redis")

// How setIfNewer treats a product that Redis does not have.
const (
	// putAnew writes it.
	putAnew = "put"
	// replaceOnly leaves it alone: what failed a while ago may be older than what has come
	// and expired since.
	replaceOnly = "replace"
)

// setIfNewer writes products of which Redis has an older version or none. It
// answers with the version of each that is there afterwards. What is of another type
// than ours, or would live longer, is replaced like what is older. Its last command on
// a key reads it, so that Redis will tell the caller of the next write by another.
// ARGV: the life in milliseconds, how to treat what is not there, then a version and an
// encoded product for each key.
//
//nolint:gochecknoglobals // a constant that Go cannot spell
var setIfNewer = rueidis.NewLuaScript(`
local versions = {}
for i, key in ipairs(KEYS) do
  local life = redis.call('PTTL', key)
  local ours = life >= 0 and life <= tonumber(ARGV[1])
  local head = ours and redis.pcall('GETRANGE', key, 0, 19)
  local stored = type(head) == 'string' and tonumber(string.match(head, '^%d+')) or 0
  local version = tonumber(ARGV[2 * i + 1])
  if stored < version and (life ~= -2 or ARGV[2] == 'put') then
    redis.call('SET', key, ARGV[2 * i + 2], 'PX', ARGV[1])
    redis.call('EXISTS', key)
    stored = version
  end
  versions[i] = stored
end
return versions`)

// remote is Redis. Requests use it only while link is set: the first failure
// takes the link away, and the keeper, which runs in the background, restores it
// once Redis answers and has nothing older than what could not be written meanwhile.
// So a Redis that stalls costs nobody anything but those who found out.
type remote struct {
	keys    string // what every key begins with
	limit   time.Duration
	option  rueidis.ClientOption
	local   *local
	log     *slog.Logger
	meter   Meter
	pending pending

	link  atomic.Pointer[rueidis.Client]
	wake  chan struct{} // the keeper has something to do soon
	stop  context.CancelFunc
	ended chan struct{}
}

// CheckURL says why Open would refuse a URL, without repeating it.
func CheckURL(text string) error {
	_, err := parseURL(text)
	return err
}

// parseURL takes fewer URLs than the client does: those of one server, on the network.
func parseURL(text string) (rueidis.ClientOption, error) {
	option, err := rueidis.ParseURL(text)
	if parsed, urlErr := url.Parse(text); err != nil || urlErr != nil ||
		parsed.Scheme != "redis" && parsed.Scheme != "rediss" || parsed.Host == "" {
		return option, errors.New("the Redis URL cannot be read: want redis://user:password@host:port/0")
	}
	return option, nil
}

func openRemote(ctx context.Context, cfg Config, local *local) (*remote, error) {
	option, err := parseURL(cfg.RedisURL)
	if err != nil {
		return nil, err
	}
	r := &remote{
		keys:  cfg.Prefix + namespace,
		limit: cmp.Or(cfg.Limit, defaultLimit),
		local: local,
		log:   cfg.Log,
		meter: cfg.Meter,
		wake:  make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	option.ForceSingleClient = true
	option.DisableRetry = true
	// Redis tells once of each key that this connection has read when another
	// connection writes it, hence a single connection. (Broadcasts would tell of a
	// script's writes its own caller, too.)
	option.ClientTrackingOptions = []string{"NOLOOP"}
	option.PipelineMultiplex = -1
	option.OnInvalidations = r.invalidated
	option.Dialer.Timeout = checkLimit
	option.Dialer.KeepAlive = checkEvery
	option.ConnWriteTimeout = checkLimit
	r.option = option
	ctx, r.stop = context.WithCancel(ctx)
	r.meter.RedisUp(false)
	go r.keep(ctx)
	return r, nil
}

func (r *remote) close() {
	r.stop()
	<-r.ended
}

func (r *remote) up() bool { return r.link.Load() != nil }

// keep is the keeper: it connects, watches, restores the link and writes again
// what failed.
func (r *remote) keep(ctx context.Context) {
	defer close(r.ended)
	var client rueidis.Client
	defer func() {
		r.link.Store(nil)
		if client != nil {
			client.Close()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	due, known, well := time.Now(), false, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			if soon := time.Now().Add(retryAfter); soon.Before(due) {
				due = soon
				timer.Reset(retryAfter)
			}
			continue
		case <-timer.C:
		}
		err := r.check(ctx, &client)
		if ctx.Err() == nil && (!known || well != (err == nil)) {
			known, well = true, err == nil
			r.report(ctx, err)
		}
		wait := retryAfter
		if well {
			wait = checkEvery
		}
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
}

// check finds out how Redis is and sets the link accordingly.
func (r *remote) check(ctx context.Context, client *rueidis.Client) error {
	limit := checkLimit
	if r.up() {
		limit = r.limit // requests may wait for what this does to the connection
	}
	err := r.connect(client)
	if err == nil {
		ping, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err = (*client).Do(ping, (*client).B().Ping().Build()).Error()
	}
	if err == nil {
		err = r.writePending(ctx, *client, limit)
	}
	if err != nil {
		r.failed(OpConnect)
		return err
	}
	r.link.Store(client)
	return nil
}

// report tells operators of a change that the keeper found. What a request found
// is counted only: it may be over by the time the keeper looks.
func (r *remote) report(ctx context.Context, err error) {
	r.meter.RedisUp(err == nil)
	if err == nil {
		r.log.InfoContext(ctx, "redis.reachable")
		return
	}
	r.log.WarnContext(ctx, "redis.unreachable", slog.Any("error", err))
}

func (r *remote) connect(client *rueidis.Client) error {
	if *client != nil {
		return nil // it connects again by itself
	}
	connected, err := rueidis.NewClient(r.option)
	if err != nil {
		return fmt.Errorf("connect to Redis: %w", err)
	}
	*client = connected
	return nil
}

// writePending tries again what failed, where Redis still has what is older.
func (r *remote) writePending(ctx context.Context, client rueidis.Client, limit time.Duration) error {
	for {
		writes := r.pending.take(batch)
		if len(writes) == 0 {
			return nil
		}
		products := make([]sale.Product, len(writes))
		for i := range writes {
			products[i] = writes[i].product
		}
		if err := r.write(ctx, client, products, replaceOnly, limit); err != nil {
			r.pending.add(writes...)
			return err
		}
	}
}

// failed takes the link away and lets the keeper look after Redis.
func (r *remote) failed(op string) {
	r.meter.CacheFailed(op)
	r.link.Store(nil)
	r.rouse()
}

func (r *remote) rouse() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// get gives what Redis has of a product and how long that may be served.
func (r *remote) get(ctx context.Context, id sale.ProductID) (sale.Product, time.Duration, bool) {
	link := r.link.Load()
	if link == nil {
		return sale.Product{}, 0, false
	}
	client := *link
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	key := r.key(id)
	// The life is asked for first: if the entry is replaced in between, it is too
	// short rather than too long.
	answers := client.DoMulti(ctx, client.B().Pttl().Key(key).Build(), client.B().Get().Key(key).Build())
	life, err := answers[0].AsInt64()
	if err != nil {
		r.failed(OpGet)
		return sale.Product{}, 0, false
	}
	text, err := answers[1].ToString()
	if rueidis.IsRedisNil(err) {
		return sale.Product{}, 0, false
	}
	if answer, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(answer.Error(), wrongType) {
		r.meter.CacheFailed(OpGet) // somebody else's: the next write replaces it
		return sale.Product{}, 0, false
	}
	if err != nil {
		r.failed(OpGet)
		return sale.Product{}, 0, false
	}
	product, err := decode(id, text)
	if err != nil || life == endless || life > redisLife.Milliseconds() {
		r.meter.CacheFailed(OpGet) // somebody else's: it expires soon, or the next write replaces it
		return sale.Product{}, 0, false
	}
	return product, time.Duration(life) * time.Millisecond, true
}

// put writes committed states, now or, when that fails, later.
func (r *remote) put(ctx context.Context, products []sale.Product) {
	for len(products) > 0 {
		n := min(batch, len(products))
		if err := r.try(ctx, products[:n]); err != nil {
			r.queue(ctx, products[:n])
		}
		products = products[n:]
	}
}

// fill writes what was loaded. When that fails, the next load does.
func (r *remote) fill(ctx context.Context, product sale.Product) {
	_ = r.try(ctx, []sale.Product{product}) // counted
}

// try writes once, while Redis is well.
func (r *remote) try(ctx context.Context, products []sale.Product) error {
	link := r.link.Load()
	if link == nil {
		return errDisconnected
	}
	if err := r.write(ctx, *link, products, putAnew, r.limit); err != nil {
		r.failed(OpPut)
		return err
	}
	return nil
}

// write runs the script once. Where Redis has a newer version, another process
// has committed it, and what this one keeps is outdated: the word of that write
// may have come before the older version was kept.
func (r *remote) write(
	ctx context.Context, client rueidis.Client, products []sale.Product, absent string, limit time.Duration,
) error {
	keys := make([]string, len(products))
	args := make([]string, 0, 2+2*len(products))
	args = append(args, strconv.FormatInt(redisLife.Milliseconds(), 10), absent)
	for i := range products {
		text, err := encode(&products[i])
		if err != nil {
			return err
		}
		keys[i] = r.key(products[i].ID)
		args = append(args, strconv.FormatInt(products[i].Version, 10), text)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	versions, err := setIfNewer.Exec(ctx, client, keys, args).AsIntSlice()
	if err != nil {
		return fmt.Errorf("write products to Redis: %w", err)
	}
	for i, version := range versions {
		r.local.outdated(products[i].ID, version)
	}
	return nil
}

// queue keeps writes for the keeper.
func (r *remote) queue(ctx context.Context, products []sale.Product) {
	now := time.Now()
	dropped := 0
	for i := range products {
		dropped += r.pending.add(pendingWrite{product: products[i], since: now})
	}
	if dropped > 0 {
		r.meter.CacheFailed(OpQueue)
		r.log.WarnContext(ctx, "cache.writes_dropped", slog.Int("products", dropped))
	}
	r.rouse()
}

// invalidated hears of writes by other processes. Without messages, Redis was
// emptied or the connection was lost, and with it what it would have told.
func (r *remote) invalidated(messages []rueidis.RedisMessage) {
	if messages == nil {
		r.local.allChanged()
		return
	}
	for i := range messages {
		key, err := messages[i].ToString()
		if err != nil {
			continue
		}
		if id, err := sale.ParseProductID(strings.TrimPrefix(key, r.keys)); err == nil {
			r.local.changed(id)
		}
	}
}

func (r *remote) key(id sale.ProductID) string { return r.keys + id.String() }
