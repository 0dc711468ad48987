//go:build linux

package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/gen/store"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/httpapi"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/telemetry"
)

// The environment of a process that is one of the contenders.
const (
	envRole   = "FLASHSALE_TEST_BENCH_ROLE"
	envListen = "FLASHSALE_TEST_BENCH_LISTEN"
	envDSN    = "FLASHSALE_TEST_BENCH_DSN"
	envPage   = "FLASHSALE_TEST_BENCH_PAGE"

	roleRawHTTP  = "raw-http"
	roleUnitRows = "unit-rows"
	roleBareRead = "bare-read"

	holdTTL = 24 * time.Hour
)

// TestMain makes this program one of the contenders when it was started as such.
func TestMain(m *testing.M) {
	role := os.Getenv(envRole)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := serveRole(role); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveRole(role string) error {
	app.LetHeapGrow() // as the service does
	var handler http.Handler
	var err error
	switch role {
	case roleRawHTTP:
		handler, err = newAPI(rawHTTP{})
	case roleUnitRows:
		handler, err = newUnitRows(os.Getenv(envDSN))
	case roleBareRead:
		handler, err = newPage(os.Getenv(envPage))
	default:
		err = fmt.Errorf("there is no contender %q", role)
	}
	if err != nil {
		return err
	}
	// The timeouts of the service's own server: they cost a little.
	served := &http.Server{
		Addr: os.Getenv(envListen), Handler: handler, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 90 * time.Second,
	}
	return served.ListenAndServe()
}

// newAPI is the service's own API, with its checks and its metrics, over other
// operations.
func newAPI(operations server.StrictServerInterface) (http.Handler, error) {
	verifier, err := payment.New(payment.Config{StandardSecrets: []string{webhookSecret}})
	if err != nil {
		return nil, err
	}
	log, err := telemetry.NewLogger(os.Stderr, "json", "warn")
	if err != nil {
		return nil, err
	}
	metrics := telemetry.NewMetrics()
	api, err := httpapi.New(httpapi.Config{
		Operations:         operations,
		Verifier:           verifier,
		Budget:             mysql.DefaultTimeout,
		Ready:              func(context.Context) httpapi.Readiness { return httpapi.Readiness{Ready: true} },
		UnknownOrderStatus: http.StatusNotFound,
		Log:                log,
		Meter:              metrics,
	})
	if err != nil {
		return nil, err
	}
	return metrics.TrackInFlight(api), nil
}

// alive answers what a starting contender is asked.
type alive struct{ server.StrictServerInterface }

// GetLiveness says that the process is there.
func (alive) GetLiveness(context.Context, server.GetLivenessRequestObject) (server.GetLivenessResponseObject, error) {
	return server.GetLiveness200JSONResponse{}, nil
}

// rawHTTP makes holds that are kept nowhere: all that HTTP costs, and nothing else.
type rawHTTP struct{ alive }

// CreateHold answers as the service does.
func (rawHTTP) CreateHold(_ context.Context, request server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	_, id, err := wished(request)
	if err != nil {
		return nil, err
	}
	return made(id, time.Now(), request), nil
}

// wished reads what a hold is asked for, and its id to be.
func wished(request server.CreateHoldRequestObject) (product sale.ProductID, id sale.HoldID, err error) {
	product, err = sale.ParseProductID(request.Body.Lines[0].ProductID)
	if err != nil {
		return product, id, err
	}
	if key := request.Params.IdempotencyKey; key != nil {
		if id, err = sale.ParseHoldID(*key); err == nil {
			return product, id, nil
		}
	}
	return product, sale.NewHoldID(product), nil
}

func made(id sale.HoldID, now time.Time, request server.CreateHoldRequestObject) server.CreateHold201JSONResponse {
	line := request.Body.Lines[0]
	money := server.Money{Amount: price, Currency: currency}
	return server.CreateHold201JSONResponse{
		Body: server.Hold{
			ID: id.String(), CustomerID: request.Body.CustomerID, Status: server.HoldStatus(sale.HoldActive),
			Lines: []server.Line{{ProductID: line.ProductID, Quantity: line.Quantity, UnitPrice: money}},
			Total: money, ExpiresAt: now.Add(holdTTL).UTC(), CreatedAt: now.UTC(),
		},
		Headers: server.CreateHold201ResponseHeaders{Location: "/api/holds/" + id.String()},
	}
}

// page is an answer to be given by net/http alone.
type page struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

func newPage(path string) (http.Handler, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var p page
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		for name, values := range p.Header {
			header[name] = values
		}
		_, _ = w.Write(p.Body) // a client that left is no failure
	}), nil
}

const (
	// poolCap is how many rows of units there are at most: a longer table would
	// be slower to search.
	poolCap = 1000
	// poolLow is when the pool is filled again.
	poolLow = poolCap / 2
	// searchBack is how far before the newest taken unit the search begins, so
	// that it does not read all that was deleted.
	searchBack = 128
	// unitConnections are the best of 8, 16, 32 and 64 on two processors.
	unitConnections = 16

	createUnits = `CREATE TABLE units (product_id BINARY(16) NOT NULL, number BIGINT UNSIGNED NOT NULL,
		PRIMARY KEY (product_id, number)) ENGINE = InnoDB`
	takeUnit = `SELECT number FROM units WHERE product_id = ? AND number >= ? ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED`
	noteUnit = `INSERT INTO movements (product_id, stock_version, delta, available_after, reason, note, created_at)
		VALUES (?, ?, -1, 0, 'held', '', ?)`
	dropUnit = `DELETE FROM units WHERE product_id = ? AND number = ?`
)

// unitRows is the other design: one row for each unit, of which each buyer locks
// one that nobody else has. It leaves out what it can: it reads no clock, keeps no
// rules, and the product's row is touched only when the pool is filled.
type unitRows struct {
	alive
	pool     *sql.DB
	mu       sync.Mutex
	products map[sale.ProductID]*units
}

// units are the pool of one product.
type units struct {
	filling sync.Mutex
	filled  int64        // the newest number put into the pool
	taken   atomic.Int64 // how many were taken
	newest  atomic.Int64 // the newest number taken
}

var errNoUnit = errors.New("no unit is free")

func newUnitRows(dsn string) (http.Handler, error) {
	db, err := mysql.Open(mysql.Config{DSN: dsn, Connections: unitConnections, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	return newAPI(&unitRows{pool: db.SQL(), products: map[sale.ProductID]*units{}})
}

// CreateHold takes one unit.
func (u *unitRows) CreateHold(ctx context.Context, request server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	product, id, err := wished(request)
	if err != nil {
		return nil, err
	}
	of := u.of(product)
	// Nobody's leaving may end a transaction: the driver would close the connection.
	ctx = context.WithoutCancel(ctx)
	for {
		if of.filling.TryLock() {
			err := u.fill(ctx, product, of)
			of.filling.Unlock()
			if err != nil {
				return nil, err
			}
		}
		now := time.Now().UTC()
		switch err := u.take(ctx, product, of, id, request.Body.CustomerID, now); {
		case err == nil:
			return made(id, now, request), nil
		case !errors.Is(err, errNoUnit):
			return nil, err
		}
		// Units may be left before where the search began: it may have passed over
		// them just before they were free. Whoever is filling the pool is waited for.
		of.newest.Store(0)
		of.filling.Lock()
		of.filling.Unlock() //nolint:staticcheck // nothing is to be done inside
	}
}

func (u *unitRows) of(product sale.ProductID) *units {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.products[product] == nil {
		u.products[product] = &units{}
	}
	return u.products[product]
}

// fill moves units from the product's row into the pool when it runs low. The
// caller holds the pool's lock; the others go on meanwhile.
func (u *unitRows) fill(ctx context.Context, product sale.ProductID, of *units) (err error) {
	room := poolCap - (of.filled - of.taken.Load())
	if room < poolCap-poolLow {
		return nil
	}
	tx, err := u.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error says more
		}
	}()
	args := make([]any, 0, 2*room)
	for n := range room {
		args = append(args, product, of.filled+n+1)
	}
	insert := mysql.ExpandRows(`INSERT INTO units (product_id, number) VALUES (?, ?)`, int(room))
	if _, err := tx.ExecContext(ctx, insert, args...); err != nil {
		return err
	}
	const reserve = `UPDATE products SET available_stock = available_stock - ? WHERE id = ?`
	if _, err := tx.ExecContext(ctx, reserve, room, product); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	of.filled += room
	return nil
}

// take is the whole transaction: a unit, the line, the movement.
func (u *unitRows) take(
	ctx context.Context, product sale.ProductID, of *units, id sale.HoldID, customer string, now time.Time,
) (err error) {
	tx, err := u.pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the first error says more
		}
	}()
	var number int64
	err = tx.QueryRowContext(ctx, takeUnit, product, max(of.newest.Load()-searchBack, 0)).Scan(&number)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoUnit
	}
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, dropUnit, product, number); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, store.InsertHoldLine, lineArgs(nil, id, product, customer, now)...); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, noteUnit, product, number+1, now); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	of.taken.Add(1)
	for newest := of.newest.Load(); newest < number && !of.newest.CompareAndSwap(newest, number); {
		newest = of.newest.Load()
	}
	return nil
}

// lineArgs appends the values of one row of store.InsertHoldLine.
func lineArgs(args []any, id sale.HoldID, product sale.ProductID, customer string, now time.Time) []any {
	seconds := int64(holdTTL / time.Second)
	expires := now.Add(holdTTL)
	return append(args, id, 0, product, customer, 1, price, currency, expires, expires, seconds, seconds, now)
}
