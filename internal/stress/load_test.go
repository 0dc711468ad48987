package stress

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// loadOf is a run without a server.
func loadOf(rate int64, duration time.Duration, fire func(context.Context, int64) answer) *loadRun {
	return &loadRun{
		plan:     LoadPlan{Rate: rate, Duration: duration, Products: 1},
		schedule: schedule{rate: rate, duration: duration}, record: newRecorder(1), fire: fire,
	}
}

func TestRequestsAreSentWhenTheyAreDueHoweverSlowTheAnswersAre(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := map[int64]time.Duration{}
		began := time.Now()
		report := loadOf(8, 2*time.Second, func(_ context.Context, n int64) answer {
			mu.Lock()
			sent[n] = time.Since(began)
			mu.Unlock()
			time.Sleep(10 * time.Second)
			return answer{verdict: accepted}
		}).do(t.Context())
		require.Len(t, sent, 16)
		for n, at := range sent {
			assert.Equal(t, time.Duration(n)*125*time.Millisecond, at)
		}
		assert.Equal(t, []int64{16, 16, 0}, []int64{report.Offered, report.Sent, report.NotSent})
		assert.InDelta(t, 10_000, report.Good.P50, 0)
		assert.Zero(t, report.Late.Max)
		assert.False(t, report.Interrupted)
	})
}

func TestATimeCountsFromWhenTheRequestWasToBeSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		run := loadOf(10, time.Second, func(context.Context, int64) answer {
			time.Sleep(time.Second)
			return answer{}
		})
		run.began = time.Now().Add(-3 * time.Second)
		result := run.request(t.Context(), 5)
		assert.Equal(t, 2500*time.Millisecond, result.lag)
		assert.Equal(t, 3500*time.Millisecond, result.latency)
	})
}

func TestWhatIsOverdueIsSentAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, sent := time.Now(), 0
		schedule{rate: 100, duration: time.Second}.pace(t.Context(), now.Add(-500*time.Millisecond), func(n int64) {
			if n <= 50 {
				assert.Zero(t, time.Since(now))
			}
			sent++
		})
		assert.Equal(t, 100, sent)
		assert.Equal(t, 490*time.Millisecond, time.Since(now))
	})
}

func TestWhatIsBeyondTheBoundIsReportedAsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		report := loadOf(MaxInFlight+100, time.Second, func(context.Context, int64) answer {
			time.Sleep(time.Minute)
			return answer{verdict: refused, label: "sold_out"}
		}).do(t.Context())
		assert.Equal(t, []int64{MaxInFlight + 100, MaxInFlight, 100}, []int64{report.Offered, report.Sent, report.NotSent})
		assert.Equal(t, map[string]int64{"sold_out": MaxInFlight}, report.Refused)
	})
}

func TestAnInterruptedLoadWaitsForWhatItHasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1050*time.Millisecond)
		defer cancel()
		report := loadOf(10, time.Minute, func(ctx context.Context, _ int64) answer {
			time.Sleep(5 * time.Second)
			assert.NoError(t, ctx.Err())
			return answer{verdict: accepted}
		}).do(ctx)
		assert.True(t, report.Interrupted)
		assert.Equal(t, []int64{11, 11}, []int64{report.Sent, report.Accepted})
	})
}

func TestAScheduleIsEvenAndEndsInTime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := schedule{
			rate:     rapid.Int64Range(1, MaxRate).Draw(t, "rate"),
			duration: time.Duration(rapid.Int64Range(int64(MinDuration), int64(MaxDuration)).Draw(t, "duration")),
		}
		count := s.count()
		require.Positive(t, count)
		require.Less(t, s.due(count-1), s.duration)
		n := rapid.Int64Range(1, count).Draw(t, "n")
		gap := time.Second / time.Duration(s.rate)
		require.InDelta(t, gap, s.due(n)-s.due(n-1), 1)
	})
}

func TestAQuantileIsThatOfTheSortedDataOrAtMostABucketMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(MaxDuration)), 1, 300).Draw(t, "values")
		var h histogram
		for _, value := range values {
			h.add(time.Duration(value))
		}
		slices.Sort(values)
		for _, percent := range []int{1, 50, 90, 99, 100} {
			exact := time.Duration(values[(len(values)*percent+99)/100-1])
			found := h.quantile(float64(percent) / 100)
			require.GreaterOrEqual(t, found, exact)
			require.LessOrEqual(t, found, exact+exact/subBuckets+time.Microsecond)
		}
		require.Equal(t, time.Duration(values[len(values)-1]), h.max)
	})
}

func TestEveryDurationHasABucketThatEndsAfterIt(t *testing.T) {
	t.Parallel()
	last := -1
	for value := uint64(0); value < 1<<valueBits; value += 1 + value/200 {
		d := time.Duration(value) * time.Microsecond
		bucket := bucketOf(d)
		require.GreaterOrEqual(t, bucket, last)
		require.GreaterOrEqual(t, bucketEnd(bucket), d)
		last = bucket
	}
	assert.Equal(t, buckets-1, bucketOf(1<<62), "what is too long counts as the longest")
	assert.Zero(t, bucketOf(-1))
	assert.Zero(t, new(histogram).quantile(0.5))
}

func TestAPieceOfAHistogramHasOnlyWhatCameThen(t *testing.T) {
	t.Parallel()
	var h histogram
	h.add(time.Second)
	earlier := h
	h.add(time.Millisecond)
	diff := h.since(&earlier)
	assert.Equal(t, uint64(1), diff.total)
	assert.InDelta(t, time.Millisecond, diff.quantile(1), float64(10*time.Microsecond))
}

func TestAnAnswerIsSortedByStatusAndCode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status    int
		code      string
		kind      verdict
		label     string
		undecided bool
	}{
		{201, "", accepted, "", false},
		{409, "sold_out", refused, "sold_out", false},
		{409, "idempotency_in_progress", refused, "idempotency_in_progress", true},
		{422, "invalid_request", refused, "invalid_request", false},
		{429, "gateway", other, "429", false},
		{503, "overloaded", unavailable, "overloaded", false},
		{503, "unavailable", unavailable, "unavailable", false},
		{503, "outcome_unknown", unavailable, "outcome_unknown", true},
		{503, "gateway", unavailable, "no code", true},
		{500, "internal_error", other, "500", true},
		{302, "", other, "302", true},
		{200, "", other, "200", true},
	}
	for _, test := range tests {
		kind, label, undecided := judgeAnswer(test.status, fmt.Appendf(nil, `{"code":%q}`, test.code))
		assert.Equal(t, test.kind, kind, test)
		assert.Equal(t, test.label, label, test)
		assert.Equal(t, test.undecided, undecided, test)
	}
	_, label, _ := judgeAnswer(http.StatusConflict, []byte("<html>"))
	assert.Equal(t, "409", label)
}

func TestEveryRequestIsCountedOnceUnderWhatCameOfIt(t *testing.T) {
	t.Parallel()
	record := newRecorder(2)
	answers := []answer{
		{verdict: accepted, product: 1, latency: time.Millisecond},
		{verdict: accepted, latency: 3 * time.Millisecond},
		{verdict: refused, label: "sold_out", latency: time.Second},
		{verdict: unavailable, label: "overloaded"},
		{verdict: unavailable, label: "outcome_unknown", undecided: true},
		{verdict: broken, err: errors.New("reset"), undecided: true, product: 1},
		{verdict: broken, err: errors.New("reset"), undecided: true, product: 1},
		{verdict: other, label: "500", undecided: true},
	}
	for _, a := range answers {
		record.offer(true)
		record.add(a)
	}
	record.offer(false)
	report := record.report(LoadPlan{Rate: 5}, 2*time.Second)
	assert.Equal(t, []int64{9, 8, 1, 2, 2}, []int64{
		report.Offered, report.Sent, report.NotSent, report.Accepted, report.TransportErrors,
	})
	assert.Equal(t, map[string]int64{"sold_out": 1}, report.Refused)
	assert.Equal(t, map[string]int64{"overloaded": 1, "outcome_unknown": 1}, report.Unavailable)
	assert.Equal(t, map[string]int64{"500": 1}, report.Other)
	assert.Equal(t, []string{"reset"}, report.Errors)
	assert.Equal(t, []tally{{accepted: 1, undecided: 2}, {accepted: 1, undecided: 2}}, record.perProduct)
	assert.InDelta(t, 3, report.AnsweredPerSecond, 0)
	assert.InDelta(t, 1, report.AcceptedPerSecond, 0)
	assert.InDelta(t, 1000, report.All.Max, 0)
	assert.InDelta(t, 3, report.Good.Max, 0)
}

func TestTheTimelineIsCompleteAndBounded(t *testing.T) {
	t.Parallel()
	for _, whole := range []time.Duration{MinDuration, 10 * time.Second, 7 * time.Minute, MaxDuration} {
		line := newTimeline(whole)
		var now moment
		for now.at < whole {
			now.at += lookEach
			now.offered += 3
			next := now
			line.add(&next)
		}
		now.at += time.Millisecond
		points := line.end(&now)
		require.LessOrEqual(t, len(points), maxPoints, whole)
		offered, end := 0.0, 0.0
		for _, point := range points {
			require.InDelta(t, end, point.From, 1e-9)
			offered, end = offered+point.Offered*(point.To-point.From), point.To
		}
		assert.InDelta(t, now.offered, offered, 1e-3, whole)
		assert.InDelta(t, now.at.Seconds(), end, 1e-9, whole)
	}
}

func TestOnlyBooksThatTellWhatWasAcknowledgedPass(t *testing.T) {
	t.Parallel()
	books := func(held, ledger int64) sale.Books {
		left := 10 - held
		return sale.Books{Available: left, Held: held, Total: 10, LedgerAvailable: left + ledger}
	}
	tests := map[string]struct {
		told  tally
		books sale.Books
		fault string
	}{
		"all sold":                  {tally{10, 0}, books(10, 0), ""},
		"an unknown outcome, held":  {tally{4, 1}, books(5, 0), ""},
		"an unknown outcome, not":   {tally{4, 1}, books(4, 0), ""},
		"more told than there was":  {tally{11, 0}, books(10, 0), "11 units were acknowledged of 10"},
		"more held than there was":  {tally{10, 1}, books(11, 0), "11 units are held of 10"},
		"one was lost":              {tally{5, 0}, books(4, 0), "4 units are held, but 5 were acknowledged"},
		"lines are gone":            {tally{5, 0}, sale.Books{Available: 5, Held: 3, Total: 10, LedgerAvailable: 5}, "3 units are held, but 5"},
		"sold lines are gone":       {tally{5, 0}, sale.Books{Available: 4, Held: 5, Total: 10, LedgerAvailable: 4}, "the books do not balance"},
		"one that nobody asked for": {tally{4, 1}, books(6, 0), "6 units are held, but at most 5"},
		"a ledger of its own":       {tally{4, 0}, books(4, 1), "the books do not balance"},
	}
	for name, test := range tests {
		fault := judgeProduct(10, test.told, test.books)
		if test.fault == "" {
			assert.Empty(t, fault, name)
			continue
		}
		assert.Contains(t, fault, test.fault, name)
	}
}

// busyCounter counts only when it was asked a number of times.
type busyCounter struct{ busy, held int64 }

func (c *busyCounter) Count(context.Context, sale.ProductID) (Count, error) {
	if c.busy > 0 {
		c.busy--
		return Count{}, fmt.Errorf("auditing: %w", &sale.Error{Code: sale.CodeOverloaded, RetryAfter: time.Second})
	}
	left := 10 - c.held
	return Count{Source: sourceAPI, Books: sale.Books{Available: left, Held: c.held, Total: 10, LedgerAvailable: left}}, nil
}

func TestTheAuditWaitsForAServerThatIsBusyAndNotForever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		products, told := []sale.ProductID{sale.NewProductID()}, []tally{{accepted: 3}}
		audit := auditLoad(t.Context(), &busyCounter{busy: 4, held: 3}, 10, products, told)
		assert.Equal(t, LoadAudit{Source: sourceAPI, Units: 10, Acknowledged: 3, Held: 3, Passed: true}, audit)
		began := time.Now()
		audit = auditLoad(t.Context(), &busyCounter{busy: 1 << 40}, 10, products, told)
		assert.False(t, audit.Passed)
		assert.Len(t, audit.Faults, 1)
		assert.Equal(t, auditPatience, time.Since(began))
	})
}

type brokenCounter struct{}

func (brokenCounter) Count(context.Context, sale.ProductID) (Count, error) {
	return Count{}, errors.New("gone away")
}

func TestAnAuditThatCannotReadDoesNotPass(t *testing.T) {
	t.Parallel()
	audit := auditLoad(t.Context(), brokenCounter{}, 10, []sale.ProductID{sale.NewProductID()}, make([]tally, 1))
	assert.False(t, audit.Passed)
	assert.Contains(t, audit.Faults[0], "gone away")
}

func TestEveryRequestHasItsOwnKeyAndTrafficStaysOnTheHost(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	keys, customers := map[string]bool{}, map[string]int{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a redirect was followed")
	}))
	defer elsewhere.Close()
	home := sale.NewProductID()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := sale.ParseHoldID(r.Header.Get("Idempotency-Key"))
		assert.NoError(t, err)
		assert.True(t, sale.IsHoldIDFor(id, home))
		var body struct {
			CustomerID string `json:"customer_id"`
		}
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		mu.Lock()
		defer mu.Unlock()
		keys[id.String()] = true
		customers[body.CustomerID]++
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	target, err := newTarget(LoadPlan{URL: server.URL, Buyers: 4})
	require.NoError(t, err)
	defer target.close()
	target.products = []sale.ProductID{home, home}
	for n := range int64(6) {
		result := target.fire(t.Context(), n)
		assert.Equal(t, "307", result.label)
	}
	assert.Len(t, keys, 6)
	assert.Equal(t, map[string]int{"load-1": 2, "load-2": 2, "load-3": 1, "load-4": 1}, customers)
}

func TestNoAnswerIsATransportErrorWithAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer server.Close()
	target, err := newTarget(LoadPlan{URL: server.URL, Buyers: 1})
	require.NoError(t, err)
	defer target.close()
	target.products = []sale.ProductID{sale.NewProductID()}
	result := target.fire(t.Context(), 0)
	assert.Equal(t, broken, result.verdict)
	assert.True(t, result.undecided)
	require.Error(t, result.err)
	assert.NotContains(t, result.err.Error(), server.URL, "samples do not differ by what all have in common")
}

func TestARequestThatFoundNoServerHasDoneNothing(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	target, err := newTarget(LoadPlan{URL: server.URL, Buyers: 1})
	require.NoError(t, err)
	target.products = []sale.ProductID{sale.NewProductID()}
	result := target.fire(t.Context(), 0)
	assert.Equal(t, broken, result.verdict)
	assert.False(t, result.undecided)
	assert.EqualError(t, result.err, "dial: connect: connection refused")
}

// elements reads an SVG to its end and counts what it is made of.
func elements(t *testing.T, text string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for decoder := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			found[start.Name.Local]++
		}
	}
}

func TestThePlotIsAWellFormedSVGWhateverHappened(t *testing.T) {
	t.Parallel()
	fast, slow := 0.0, 30_000.0
	timelines := map[string][]LoadPoint{
		"nothing":    nil,
		"no answers": {{To: 1, Offered: 100}},
		"a gap": {
			{To: 1, Offered: 100, Accepted: 50, P50: &fast, P99: &slow},
			{From: 1, To: 2, Offered: 100},
			{From: 2, To: 3, Offered: 100_000, Refused: 3, Failed: 1, P50: &fast, P99: &fast},
		},
	}
	for name, points := range timelines {
		var text strings.Builder
		require.NoError(t, LoadReport{URL: "http://x/?a<b&c", Timeline: points}.Plot(&text))
		found := elements(t, text.String())
		assert.Equal(t, 1, found["svg"], name)
		assert.Greater(t, found["path"], 12, name)
		assert.Contains(t, text.String(), "prefers-color-scheme:dark")
		for _, bad := range []string{"NaN", "Inf", "%!"} {
			assert.NotContains(t, text.String(), bad, name)
		}
	}
	gap := panel{
		x: timeAxis(3, 0, 300), y: rateAxis(100, 100, 0),
	}.path(delaySeries()[0], timelines["a gap"])
	assert.Equal(t, "M50.0 100.0h0M250.0 100.0h0", gap, "where nothing was answered there is no line")
}

func TestAxesHaveRoundTicks(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []float64{0, 50, 100, 150, 200}, rateAxis(199, 0, 1).ticks)
	assert.Equal(t, []float64{0, 5, 10, 15, 20, 25, 30}, timeAxis(32, 0, 1).ticks)
	assert.Equal(t, []float64{1, 10, 100}, logAxis(1.5, 80, 0, 1).ticks)
	assert.InDelta(t, 0.5, logAxis(1, 100, 0, 1).at(10), 1e-9)
}

func TestTheLoadsTableNamesEverythingThatHappened(t *testing.T) {
	t.Parallel()
	report := LoadReport{
		URL: "http://localhost:8080", Rate: 200, Seconds: 2, Buyers: 7, Products: 1, Stock: 50,
		Offered: 400, Sent: 399, NotSent: 1, Accepted: 50,
		Refused: map[string]int64{"all_held": 340, "sold_out": 1}, Unavailable: map[string]int64{"overloaded": 5},
		TransportErrors: 2, Other: map[string]int64{"500": 1}, Errors: []string{"reset"},
		AnsweredPerSecond: 198.5, AcceptedPerSecond: 25, All: LoadLatency{1, 2, 3, 4, 5},
		Audit: LoadAudit{Source: sourceSQL, Units: 50, Acknowledged: 50, Undecided: 3, Held: 49, Faults: []string{"one is missing"}},
	}
	var text strings.Builder
	require.NoError(t, report.Print(&text))
	assert.Equal(t, `200 requests a second for 2s to http://localhost:8080: 7 customers in turn, 1 products with 50 units each

          REQUESTS  COUNT
           offered    400
          not sent      1
              sent    399
               201     50
  refused all_held    340
  refused sold_out      1
    503 overloaded      5
  transport errors      2
         other 500      1

  MILLISECONDS  P50  P90  P99  P99.9  MAX
           all  1.0  2.0  3.0    4.0  5.0
           201  0.0  0.0  0.0    0.0  0.0
     sent late  0.0  0.0  0.0    0.0  0.0

198.5 answers and 25.0 holds a second
transport error: reset
audit by SQL: 49 of 50 units held, 50 acknowledged, 3 with an unknown outcome: NOT BALANCED
fault: one is missing
`, text.String())
}

// The server makes a hold and ends before it answers: the transport sends the request again,
// and finds nobody.
func TestARequestThatWasSentAgainInVainIsUndecided(t *testing.T) {
	t.Parallel()
	var holds atomic.Int64
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if holds.Add(1) == 1 {
			w.WriteHeader(http.StatusCreated)
			return
		}
		assert.NoError(t, server.Listener.Close())
		conn, _, err := http.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			assert.NoError(t, conn.Close())
		}
	}))
	target, err := newTarget(LoadPlan{URL: server.URL, Buyers: 1})
	require.NoError(t, err)
	t.Cleanup(target.close)
	target.products = []sale.ProductID{sale.NewProductID()}
	require.Equal(t, accepted, target.fire(t.Context(), 0).verdict)
	lost := target.fire(t.Context(), 1)
	assert.Equal(t, broken, lost.verdict)
	assert.True(t, lost.undecided, lost.err)
	assert.Equal(t, int64(2), holds.Load(), "nobody took it the second time")
}
