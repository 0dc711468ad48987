package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/stress"
)

// theLoad offers 400 requests for 50 units.
func theLoad(api string, more ...string) []string {
	return append(strings.Fields("stress load --rate 200 --duration 2s --stock 50 --buyers 30 --url "+api), more...)
}

func TestALoadGetsNoMoreThanThereIsAndTheBooksBalance(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	api, _, _ := server(t, settings)
	plot := filepath.Join(t.TempDir(), "load.svg")
	r := run(t, settings, theLoad(api, "--json", "--plot", plot)...)
	require.Equal(t, exitFine, r.code, r.err+r.out)
	assert.Empty(t, r.err, "no progress where nobody looks")
	report := decode[stress.LoadReport](t, r)
	assert.Equal(t, int64(400), report.Offered)
	assert.Equal(t, report.Offered, report.Sent+report.NotSent)
	assert.LessOrEqual(t, report.Accepted, int64(50))
	assert.Positive(t, report.Accepted)
	assert.Equal(t, report.Sent, report.Accepted+report.Refused["all_held"]+report.Unavailable["overloaded"])
	assert.Equal(t, "sql", report.Audit.Source)
	assert.True(t, report.Audit.Passed)
	var held, keys int64
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT SUM(quantity), COUNT(DISTINCT id) FROM hold_lines WHERE state = 'held'").Scan(&held, &keys))
	assert.Equal(t, []int64{report.Accepted, report.Accepted}, []int64{held, keys})
	requireXML(t, plot)
}

func requireXML(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, file.Close()) }()
	for decoder := xml.NewDecoder(file); ; {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			require.Positive(t, decoder.InputOffset())
			return
		}
		require.NoError(t, err)
	}
}

func TestALoadOnSeveralProductsIsAuditedThroughTheAPIWithoutADatabase(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	api, _, _ := server(t, settings)
	r := run(t, nil, theLoad(api, "--products", "3", "--stock", "10")...)
	require.Equal(t, exitFine, r.code, r.err+r.out)
	assert.Contains(t, r.out, "audit by the API: 30 of 30 units held, 30 acknowledged: balanced\n")
}

// Units that are neither on sale nor in a hold show to an owner without a database, too.
func TestTheAuditThroughTheAPISeesLinesThatAreGone(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	api, _, _ := server(t, settings)
	shop, err := stress.NewRemote(api)
	require.NoError(t, err)
	product, err := shop.CreateProduct(t.Context(), "TICKET", 10)
	require.NoError(t, err)
	for _, customer := range []string{"ann", "bob", "cid"} {
		require.NoError(t, shop.Hold(t.Context(), "key-of-"+customer, product, customer))
	}
	count, err := shop.Count(t.Context(), product)
	require.NoError(t, err)
	assert.True(t, count.Books.Balanced())
	assert.Equal(t, []int64{7, 3}, []int64{count.Books.Available, count.Books.Held})
	_, err = db.ExecContext(t.Context(), "DELETE FROM hold_lines WHERE customer_id = 'bob'")
	require.NoError(t, err)
	count, err = shop.Count(t.Context(), product)
	require.NoError(t, err)
	assert.False(t, count.Books.Balanced())
	assert.Equal(t, int64(2), count.Books.Held)
}

func TestALoadDoesNotStartWhereItCouldNotBeAudited(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	another, _ := database(t)
	api, _, _ := server(t, settings)
	r := run(t, another, theLoad(api)...)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.err, "product_not_found")
	assert.Empty(t, r.out)
	nobody := run(t, nil, theLoad("http://127.0.0.1:1")...)
	assert.Equal(t, exitFailed, nobody.code)
	assert.Contains(t, nobody.err, "making product 1 of 1")
}

func TestALoadThatIsOutOfBoundsExitsWith2(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"--rate 0", "--rate 100001", "--buyers 0", "--products 0", "--products 1001", "--stock -1",
		"--duration 999ms", "--duration 61m", "--duration long", "--url localhost:8080", "--plot /nowhere/at/all.svg", "now",
	} {
		r := run(t, nil, append([]string{"stress", "load"}, strings.Fields(args)...)...)
		assert.Equal(t, exitUsage, r.code, args+": "+r.err)
		assert.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
		assert.Empty(t, r.out)
	}
}

func TestBooksThatDoNotBalanceAndAnInterruptionAreFailures(t *testing.T) {
	t.Parallel()
	fine := stress.LoadReport{Audit: stress.LoadAudit{Passed: true}}
	require.NoError(t, loadFailure(fine))
	fine.Interrupted = true
	require.ErrorContains(t, loadFailure(fine), "interrupted")
	require.ErrorContains(t, loadFailure(stress.LoadReport{}), "what was acknowledged is not what is held")
}

func TestTheProgressLineHasRatesAndLatencyOnceThereAreAny(t *testing.T) {
	t.Parallel()
	p50, p99 := 1.23, 45.6
	now := stress.LoadProgress{
		Elapsed: 2500 * time.Millisecond, InFlight: 3,
		Now: stress.LoadPoint{Offered: 200, Accepted: 50, Refused: 148, Failed: 2, P50: &p50, P99: &p99},
	}
	assert.Equal(t, "2.5/10 s  offered 200/s  201 50/s  p50 1.2 p99 45.6 ms  refused 148/s  failed 2/s  waiting 3",
		progressLine(now, 10*time.Second))
	now.Now.P50 = nil
	assert.Contains(t, progressLine(now, 10*time.Second), "p50 - p99 -")
}
