package httpapi

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// How much a request allocates depends on no machine's mood: each bound is a little
// above what was measured, and what the race detector adds.
const (
	mostForCachedRead    = 15 + raceAllocations // 13 measured
	mostForRefusal       = 5 + raceAllocations  // 4 measured
	mostForRefusalOnWire = 2 + raceAllocations  // 2 measured: the id and the answer's body
)

// unread is an answer that nobody reads, which allocates nothing by itself.
type unread struct {
	header http.Header
	status int
}

func (u *unread) Header() http.Header         { return u.header }
func (u *unread) WriteHeader(status int)      { u.status = status }
func (u *unread) Write(p []byte) (int, error) { return len(p), nil }

// allocations is how much a handler allocates for a request, which it answers so.
func allocations(t *testing.T, handler http.Handler, r *http.Request, status int) float64 {
	t.Helper()
	w := &unread{header: http.Header{}}
	each := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		handler.ServeHTTP(w, r)
	})
	require.Equal(t, status, w.status)
	return each
}

// Headers are set by their names as they stand in the map: another spelling would not be found.
func TestHeadersAreNamedCanonically(t *testing.T) {
	handler, target := cachedAPI(t)
	w := newWired(t)
	w.fill()
	for status, answer := range map[int]http.Header{
		200: serve(handler, request(t, "GET", target, "")).Header(),
		304: serve(handler, request(t, "GET", target, "", "If-None-Match", "*")).Header(),
		400: serve(handler, request(t, "POST", holdsPath, "{", "Content-Type", jsonType)).Header(),
		405: serve(handler, request(t, "PUT", target, "")).Header(),
		503: serve(w.Door, request(t, "POST", holdsPath, "{}")).Header(),
	} {
		assert.NotEmpty(t, answer)
		for name := range answer {
			assert.Equal(t, http.CanonicalHeaderKey(name), name, status)
		}
	}
}

func TestACachedReadAllocatesLittle(t *testing.T) {
	handler, target := cachedAPI(t)
	r := request(t, http.MethodGet, target, "")
	require.Equal(t, cacheHit, serve(handler, r).Header().Get("Cache-Status"))
	assert.LessOrEqual(t, allocations(t, handler, r, http.StatusOK), float64(mostForCachedRead))
}

func TestARefusalAtTheFullDoorAllocatesLittle(t *testing.T) {
	w := newWired(t)
	w.fill()
	r := request(t, http.MethodPost, holdsPath, "{}")
	assert.LessOrEqual(t, allocations(t, w.Door, r, http.StatusServiceUnavailable), float64(mostForRefusal))
}

func TestARefusalOnTheWireAllocatesLittle(t *testing.T) {
	w := wireUp(t)
	stuck := sale.NewProductID()
	w.crowd(stuck, maxPlaces/2)
	c := w.dial(t)
	// Without an id, so that one is made, of one length.
	ask := fmt.Appendf(nil, "%sHost: shop\r\nContent-Length: %d\r\n\r\n%s", holdRequestLine, len(holdWith(stuck)), holdWith(stuck))
	c.send(t, string(ask))
	first := c.answer(t)
	require.Equal(t, http.StatusServiceUnavailable, first.Code)
	var err error
	each := testing.AllocsPerRun(1000, func() {
		if err == nil {
			err = c.exchange(ask, first.Body.Len())
		}
	})
	require.NoError(t, err)
	require.Zero(t, w.passed.Load(), "net/http saw some of them")
	assert.LessOrEqual(t, each, float64(mostForRefusalOnWire))
}

// exchange sends a request and passes over its answer, whose body has this length.
func (c *client) exchange(ask []byte, length int) error {
	if _, err := c.Write(ask); err != nil {
		return err
	}
	for {
		line, err := c.answers.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			_, err := c.answers.Discard(length)
			return err
		}
	}
}
