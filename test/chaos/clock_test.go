//go:build linux

package chaos

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/signature"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// clockOffset is the variable that sets a process's clock wrong, by seconds.
	clockOffset = "WALL_CLOCK_OFFSET"
	wrongBy     = time.Hour

	// The standard library's clock, before and after it can be set wrong.
	rightClock = "sec, nsec, mono := runtimeNow()\n"
	wrongClock = rightClock + "\tsec += wallClockOffset\n"
	// wrongClockFile is one more file of package time.
	wrongClockFile = `package time

import "syscall"

var wallClockOffset = func() int64 {
	text, _ := syscall.Getenv("` + clockOffset + `")
	seconds, _ := atoi(text)
	return int64(seconds)
}()
`
	// halfOff is less than the clocks are off, so that they would answer otherwise.
	halfOff    = wrongBy / 2
	windowOpen = 600 // seconds
)

// buildWithClock compiles the program, unchanged, with a standard library whose wall
// clock can be set wrong for the whole process, all libraries in it included.
func buildWithClock(tb testing.TB) string {
	tb.Helper()
	goroot, err := exec.CommandContext(tb.Context(), "go", "env", "GOROOT").Output()
	require.NoError(tb, err)
	library := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time")
	source, err := os.ReadFile(filepath.Join(library, "time.go"))
	require.NoError(tb, err)
	require.Equal(tb, 1, strings.Count(string(source), rightClock), "this Go reads its clock in another way")
	folder := tb.TempDir()
	replaced := map[string]string{
		"time.go":        strings.Replace(string(source), rightClock, wrongClock, 1),
		"wall_offset.go": wrongClockFile,
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for name, content := range replaced {
		path := filepath.Join(folder, name)
		require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
		overlay["Replace"][filepath.Join(library, name)] = path
	}
	document, err := json.Marshal(overlay)
	require.NoError(tb, err)
	path := filepath.Join(folder, "overlay.json")
	require.NoError(tb, os.WriteFile(path, document, 0o600))
	return build(tb, "-overlay", path)
}

// clocks is three processes on one database: one with the right clock, one that is an
// hour ahead and one that is an hour behind. Only the wrong ones sweep.
type clocks struct {
	*testing.T
	*fleet
	right, ahead, behind *process
	core                 *app.Core
}

// Processes whose clocks are an hour wrong, either way, work beside one whose clock is
// right: what lives, lives as long as the database's clock says, whoever made, reads,
// sweeps or orders it; sales start and end by it; no id is given twice; lists miss
// nothing. All that a wrong clock breaks is that payment events are refused.
func TestProcessWithAWrongClockMovesNoTime(t *testing.T) {
	f := fleetOn(t, testenv.OwnMySQL(t), buildWithClock(t))
	c := &clocks{T: t, fleet: f}
	c.right = f.add("FLASHSALE_SWEEP_INTERVAL=1h")
	c.ahead = f.add("FLASHSALE_SWEEP_INTERVAL=100ms", clockOffset+"="+seconds(wrongBy))
	c.behind = f.add("FLASHSALE_SWEEP_INTERVAL=100ms", clockOffset+"="+seconds(-wrongBy))
	c.open()
	c.clocksAreWrong()
	hold := c.lifetimes()
	c.salesGoByTheDatabase()
	c.sweepsGoByTheDatabase(hold)
	c.paymentsAreRefusedByWrongClocks()
	c.listsMissNothing()
	books, err := c.core.Actions.Audit.Do(t.Context())
	require.NoError(t, err)
	for _, b := range books {
		assert.True(t, b.Balanced(), "%+v", b)
	}
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// open looks at the database from beside the processes.
func (c *clocks) open() {
	c.Helper()
	cfg, err := app.LoadConfig([]string{app.EnvMySQLDSN + "=" + c.mysql.DSN(), app.EnvOperationTimeout + "=5s"})
	require.NoError(c, err)
	c.core, err = app.Open(c.Context(), cfg, testenv.Logger(c))
	require.NoError(c, err)
	c.Cleanup(func() { assert.NoError(c, c.core.Close()) })
}

// now is the database's clock.
func (c *clocks) now() time.Time {
	c.Helper()
	var now time.Time
	require.NoError(c, c.core.DB.SQL().QueryRowContext(c.Context(), "SELECT NOW(6)").Scan(&now))
	return now
}

// clocksAreWrong makes sure that the test is one: an answer's Date is net/http's own look
// at the clock.
func (c *clocks) clocksAreWrong() {
	c.Helper()
	for p, offset := range map[*process]time.Duration{c.right: 0, c.ahead: wrongBy, c.behind: -wrongBy} {
		answer, err := p.api.Send(c.Context(), http.MethodGet, "/livez", "")
		require.NoError(c, err)
		date, err := http.ParseTime(answer.Header.Get("Date"))
		require.NoError(c, err)
		assert.WithinDuration(c, time.Now().Add(offset), date, halfOff)
	}
}

// product is one whose holds and orders live for ten minutes.
func (c *clocks) product(p *process, change ...func(*client.CreateProductRequest)) client.Product {
	c.Helper()
	return p.api.Product(c, 100, append(change, func(r *client.CreateProductRequest) {
		r.PaymentWindowSeconds = new(int64(windowOpen))
		if r.HoldTTLSeconds == nil {
			r.HoldTTLSeconds = new(int64(windowOpen))
		}
	})...)
}

// lifetimes makes a hold at each process, and orders it at the next.
func (c *clocks) lifetimes() (hold client.Hold) {
	c.Helper()
	product := c.product(c.ahead)
	for i, p := range c.processes {
		before := c.now()
		hold = p.api.Hold(c, 1, product)
		after := c.now()
		c.requireBetween(before, hold.CreatedAt, after)
		assert.Equal(c, windowOpen*time.Second, hold.ExpiresAt.Sub(hold.CreatedAt))
		other := c.processes[(i+1)%len(c.processes)].api
		read, err := other.GetHoldWithResponse(c.Context(), hold.ID)
		require.NoError(c, err)
		assert.Equal(c, client.HoldStatusActive, read.JSON200.Status)
		assert.Equal(c, hold.ExpiresAt, read.JSON200.ExpiresAt)

		before = c.now()
		order, err := other.CreateOrderWithResponse(c.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
		require.NoError(c, err)
		require.NotNil(c, order.JSON201, string(order.Body))
		c.requireBetween(before.Add(windowOpen*time.Second), order.JSON201.PayBy, c.now().Add(windowOpen*time.Second))
	}
	return c.right.api.Hold(c, 1, product)
}

func (c *clocks) requireBetween(from, at, to time.Time) {
	c.Helper()
	require.False(c, at.Before(from), "%v is before %v", at, from)
	require.False(c, at.After(to), "%v is after %v", at, to)
}

// salesGoByTheDatabase has sales that a wrong clock would begin too soon, end too late,
// or not find open.
func (c *clocks) salesGoByTheDatabase() {
	c.Helper()
	from, to := c.now().Add(-halfOff), c.now().Add(halfOff)
	window := func(starts, ends *time.Time) client.Product {
		return c.product(c.right, func(r *client.CreateProductRequest) { r.SaleStartsAt, r.SaleEndsAt = starts, ends })
	}
	open, early, late := window(&from, &to), window(&to, nil), window(nil, &from)
	for _, p := range c.processes {
		p.api.Hold(c, 1, open)
		c.refused(p, early, client.ProblemCodeSaleNotStarted)
		c.refused(p, late, client.ProblemCodeSaleEnded)
	}
}

func (c *clocks) refused(p *process, product client.Product, code client.ProblemCode) {
	c.Helper()
	reply, err := p.api.CreateHoldWithResponse(c.Context(), nil, apitest.Wish("customer", 1, product))
	require.NoError(c, err)
	require.NotNil(c, reply.ApplicationProblemJSONDefault, string(reply.Body))
	assert.Equal(c, code, reply.ApplicationProblemJSONDefault.Code)
}

// sweepsGoByTheDatabase lets each of the wrong processes be the only one that sweeps: it
// gives back what is overdue, and nothing that is not.
func (c *clocks) sweepsGoByTheDatabase(living client.Hold) {
	c.Helper()
	for _, pair := range [][2]*process{{c.ahead, c.behind}, {c.behind, c.ahead}} {
		sweeper, other := pair[0], pair[1]
		c.kill(other)
		short := c.product(c.right, func(r *client.CreateProductRequest) { r.HoldTTLSeconds = new(int64(1)) })
		hold := c.right.api.Hold(c, 1, short)
		eventually(c, func() bool { return c.right.api.Stock(c, short) == short.AvailableStock }, "an overdue hold is never given back")
		require.True(c, c.now().After(hold.ExpiresAt), "a hold was given back before its end")
		order, err := sweeper.api.CreateOrderWithResponse(c.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
		require.NoError(c, err)
		assert.Equal(c, client.ProblemCodeHoldExpired, order.ApplicationProblemJSONDefault.Code)
		read, err := sweeper.api.GetHoldWithResponse(c.Context(), living.ID)
		require.NoError(c, err)
		assert.Equal(c, client.HoldStatusActive, read.JSON200.Status)
		c.launch(other)
		c.awaitReady(other)
	}
}

// paymentsAreRefusedByWrongClocks: who is more than five minutes off takes a true event
// for an old one, has no effect, and leaves it to be sent again, to a process that is
// right.
func (c *clocks) paymentsAreRefusedByWrongClocks() {
	c.Helper()
	order := c.right.api.Order(c, 1, c.product(c.right))
	event := apitest.NewEvent(apitest.Succeeded, order)
	body, header, err := c.right.api.Standard(event)
	require.NoError(c, err)
	for _, p := range []*process{c.ahead, c.behind, c.right} {
		reply, err := p.api.Webhook(c.Context(), body, header)
		require.NoError(c, err)
		if p == c.right {
			require.NotNil(c, reply.JSON200, string(reply.Body))
			assert.Equal(c, client.PaymentOutcomePaid, reply.JSON200.Outcome)
			continue
		}
		require.NotNil(c, reply.ApplicationProblemJSONDefault, string(reply.Body))
		assert.Equal(c, client.ProblemCodeInvalidSignature, reply.ApplicationProblemJSONDefault.Code)
	}
	// One whose sender and server are wrong by the same counts as true: the clock that
	// the signature is checked by is the process's own.
	header, err = signature.Header(event.ID, time.Now().Add(wrongBy), body, c.secret)
	require.NoError(c, err)
	reply, err := c.ahead.api.Webhook(c.Context(), bytes.Clone(body), header)
	require.NoError(c, err)
	require.NotNil(c, reply.JSON200, string(reply.Body))
	assert.Equal(c, client.PaymentOutcomeDuplicate, reply.JSON200.Outcome)
}

// listsMissNothing: ids begin with the time of the process that made them, and so do
// those of one customer's orders. Every process lists all of them, page by page.
func (c *clocks) listsMissNothing() {
	c.Helper()
	product, customer, want := c.product(c.behind), "customer-"+rand.Text(), map[string]bool{}
	for _, p := range c.processes {
		for range 3 {
			hold, err := p.api.CreateHoldWithResponse(c.Context(), nil, apitest.Wish(customer, 1, product))
			require.NoError(c, err)
			order, err := p.api.CreateOrderWithResponse(c.Context(), nil, client.CreateOrderRequest{HoldID: hold.JSON201.ID})
			require.NoError(c, err)
			want[order.JSON201.ID] = true
		}
	}
	require.Len(c, want, 3*len(c.processes), "an id was given twice")
	for _, p := range c.processes {
		got := map[string]bool{}
		params := &client.ListOrdersParams{CustomerID: &customer, Limit: new(2)}
		for more := true; more; more = params.Cursor != nil {
			page, err := p.api.ListOrdersWithResponse(c.Context(), params)
			require.NoError(c, err)
			require.NotNil(c, page.JSON200, string(page.Body))
			for _, order := range page.JSON200.Data {
				got[order.ID] = true
			}
			params.Cursor = page.JSON200.NextCursor
		}
		assert.Equal(c, want, got)
	}
}
