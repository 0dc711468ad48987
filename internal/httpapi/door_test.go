package httpapi

import (
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// crowded is a door behind which as many requests as may be are being served.
func crowded(t *testing.T, next http.Handler) (*Door, *recordingMeter) {
	t.Helper()
	meter := &recordingMeter{}
	d, err := newDoor(next, newPlaces(), Config{Meter: meter, Draining: func() bool { return false }}, problemKinds()[sale.CodeOverloaded])
	require.NoError(t, err)
	d.fill()
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
	assert.Equal(t, []served{{holdsOperation, http.MethodPost, http.StatusServiceUnavailable}}, meter.refused)
	assert.Equal(t, []sale.Code{sale.CodeOverloaded}, meter.rejected)
	assert.Empty(t, meter.calls, "what takes no time has no duration")
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

// waitingRoom serves holds once it is told to, and says when one has come.
type waitingRoom struct {
	server.StrictServerInterface
	come  chan struct{}
	serve chan struct{}
}

func (r *waitingRoom) CreateHold(context.Context, server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	r.come <- struct{}{}
	<-r.serve
	return nil, sale.Fail(sale.CodeSoldOut, "")
}

// besieged is the whole API before a waiting room.
func besieged(t *testing.T) (*Door, *waitingRoom) {
	t.Helper()
	room := &waitingRoom{come: make(chan struct{}), serve: make(chan struct{})}
	cfg := testConfig(t)
	cfg.Operations, cfg.Meter = room, countingMeter{}
	door, err := New(cfg)
	require.NoError(t, err)
	return door, room
}

func holdRequest(t *testing.T) *http.Request {
	t.Helper()
	return request(t, http.MethodPost, holdsPath, holdOf("1"), "Content-Type", jsonType)
}

// slowBody says when it is read, and ends when it is told to.
type slowBody struct {
	begun, end chan struct{}
	err        error
}

func newSlowBody(err error) *slowBody {
	return &slowBody{make(chan struct{}), make(chan struct{}), err}
}

func (b *slowBody) Read([]byte) (int, error) {
	select {
	case b.begun <- struct{}{}:
		<-b.end
	case <-b.end:
	}
	return 0, b.err
}

func TestBodiesThatDoNotComeKeepNobodyOut(t *testing.T) {
	door, room := besieged(t)
	body := newSlowBody(io.ErrUnexpectedEOF)
	var crowd sync.WaitGroup
	for range maxPlaces {
		slow := holdRequest(t)
		slow.Body = io.NopCloser(body)
		ended := make(chan struct{})
		crowd.Go(func() {
			defer close(ended)
			assert.Equal(t, http.StatusBadRequest, serve(door, slow).Code)
		})
		select {
		case <-body.begun:
		case <-ended:
			close(body.end)
			require.FailNow(t, "sent away before its body came")
		}
	}
	answered := make(chan int, 1)
	crowd.Go(func() { answered <- serve(door, holdRequest(t)).Code })
	select {
	case <-room.come:
	case status := <-answered:
		assert.Fail(t, "kept out", status)
	}
	close(room.serve)
	close(body.end)
	crowd.Wait()
}

func TestWhoComesInTogetherBeforeADoorThatFillsIsRefusedInside(t *testing.T) {
	door, _ := besieged(t)
	body := newSlowBody(io.EOF)
	late := holdRequest(t)
	late.Body = io.NopCloser(io.MultiReader(body, late.Body))
	var crowd sync.WaitGroup
	crowd.Go(func() { assert.Equal(t, http.StatusServiceUnavailable, serve(door, late).Code) })
	<-body.begun
	door.fill()
	close(body.end)
	crowd.Wait()
	assert.Equal(t, maxPlaces, door.taken, "who was refused has no place")
}
