package httpapi

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// crowded is a door behind which as many requests as may be are being served.
func crowded(t *testing.T, next http.Handler) (*Door, *recordingMeter) {
	t.Helper()
	meter := &recordingMeter{}
	d, err := newDoor(next, Config{Meter: meter, Draining: func() bool { return false }}, problemKinds()[sale.CodeOverloaded])
	require.NoError(t, err)
	d.inside.Store(maxHoldsInside)
	return d, meter
}

func TestFullDoorRefusesHoldsWithAProblemOfTheContract(t *testing.T) {
	d, meter := crowded(t, http.NotFoundHandler())
	w := serve(d, request(t, http.MethodPost, holdsPath, "{", "X-Request-Id", "mine"))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code)
	assert.Equal(t, problemMediaType, w.Header().Get("Content-Type"))
	assert.Equal(t, "1", w.Header().Get("Retry-After"))
	assert.Equal(t, "mine", w.Header().Get("X-Request-Id"))
	assert.JSONEq(t, `{"type":"/problems/overloaded","title":"`+problemKinds()[sale.CodeOverloaded].title+`","status":503,
		"code":"overloaded","instance":"mine","detail":"`+overcrowded().Detail+`"}`, w.Body.String())
	assert.Equal(t, []served{{holdsOperation, http.MethodPost, http.StatusServiceUnavailable}}, meter.calls)
	assert.Equal(t, int64(maxHoldsInside), d.inside.Load(), "who was refused is not inside")
}

func TestFullDoorRepeatsAnyRequestIDWithinJSON(t *testing.T) {
	d, _ := crowded(t, http.NotFoundHandler())
	const id = `a"quoted"\id,<of>&"instance":"x"`
	w := serve(d, request(t, http.MethodPost, holdsPath, "{}", "X-Request-Id", id))
	assert.Equal(t, id, requireProblem(t, w, http.StatusServiceUnavailable, "overloaded").Instance)
}

func TestFullDoorLetsEverythingElsePass(t *testing.T) {
	d, _ := crowded(t, http.NotFoundHandler())
	for _, r := range []*http.Request{
		request(t, http.MethodGet, holdsPath, ""),
		request(t, http.MethodPost, "/api/orders", "{}"),
		request(t, http.MethodGet, "/livez", ""),
	} {
		assert.Equal(t, http.StatusNotFound, serve(d, r).Code, r.URL.Path)
	}
}

func TestDoorOpensWhenSomebodyLeaves(t *testing.T) {
	d, _ := crowded(t, http.NotFoundHandler())
	d.inside.Add(-1)
	assert.Equal(t, http.StatusNotFound, serve(d, request(t, http.MethodPost, holdsPath, "")).Code)
	assert.Equal(t, int64(maxHoldsInside-1), d.inside.Load())
}
