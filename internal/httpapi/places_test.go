package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// fill takes all places, and empty makes all free.
func (p *places) fill()  { p.crowd(sale.ProductID{}, maxPlaces) }
func (p *places) empty() { p.crowd(sale.ProductID{}, 0) }

// crowd makes so many of one product all who are inside.
func (p *places) crowd(id sale.ProductID, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken, p.by = n, map[sale.ProductID]int{id: n}
}

// holdWith asks for a hold of these products.
func holdWith(products ...sale.ProductID) string {
	lines := make([]string, len(products))
	for i, id := range products {
		lines[i] = fmt.Sprintf(`{"product_id":"%s","quantity":1}`, id)
	}
	return `{"customer_id":"c","lines":[` + strings.Join(lines, ",") + `]}`
}

func TestAProductHasRoomUntilItHasAsManyPlacesAsAreFree(t *testing.T) {
	p := newPlaces()
	taken := func(id sale.ProductID) (n int) {
		for p.take([]sale.ProductID{id}) {
			n++
		}
		return n
	}
	assert.Equal(t, maxPlaces/2, taken(sale.NewProductID()))
	assert.Equal(t, maxPlaces/4, taken(sale.NewProductID()))
	assert.Equal(t, maxPlaces/8, taken(sale.NewProductID()))
	assert.False(t, p.refuses(nil))
}

func TestEveryLineTakesAPlaceAndAllAreFreeAgain(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newPlaces()
		ids := []sale.ProductID{sale.NewProductID(), sale.NewProductID(), sale.NewProductID()}
		var inside [][]sale.ProductID
		places := 0
		for range rapid.IntRange(0, 200).Draw(rt, "steps") {
			if len(inside) > 0 && rapid.IntRange(0, 3).Draw(rt, "leaves") == 0 {
				places -= len(inside[0])
				p.leave(inside[0])
				inside = inside[1:]
				continue
			}
			lines := rapid.SliceOfN(rapid.SampledFrom(ids), 1, 20).Draw(rt, "lines")
			if p.take(lines) {
				inside = append(inside, lines)
				places += len(lines)
			}
			require.Equal(rt, places, p.taken)
		}
		for _, lines := range inside {
			p.leave(lines)
		}
		require.Zero(rt, p.taken)
		require.Empty(rt, p.by)
	})
}

func TestTheCrowdOfAProductThatStandsStillKeepsNobodyElseOut(t *testing.T) {
	door, room := besieged(t)
	ask := func(products ...sale.ProductID) *http.Request {
		return request(t, http.MethodPost, holdsPath, holdWith(products...), "Content-Type", jsonType)
	}
	stuck, idle := sale.NewProductID(), sale.NewProductID()
	var crowd sync.WaitGroup
	for range maxPlaces / 2 {
		crowd.Go(func() { assert.Equal(t, http.StatusConflict, serve(door, ask(stuck)).Code) })
		<-room.come
	}
	for _, products := range [][]sale.ProductID{{stuck}, {idle, stuck}} {
		answered := make(chan *httptest.ResponseRecorder, 1)
		crowd.Go(func() { answered <- serve(door, ask(products...)) })
		select {
		case answer := <-answered:
			requireProblem(t, answer, http.StatusServiceUnavailable, "overloaded")
		case <-room.come:
			assert.Fail(t, "let in", products)
		}
	}
	crowd.Go(func() { assert.Equal(t, http.StatusConflict, serve(door, ask(idle)).Code) })
	<-room.come
	room.serve <- struct{}{}
	room.serve <- struct{}{}
	require.Eventually(t, func() bool { return !door.refuses([]byte(holdWith(stuck))) }, time.Minute, time.Millisecond)
	crowd.Go(func() { assert.Equal(t, http.StatusConflict, serve(door, ask(stuck)).Code) })
	<-room.come
	close(room.serve)
	crowd.Wait()
	assert.Zero(t, door.taken)
}

func TestTheWireRefusesTheCrowdOfOneProductAlone(t *testing.T) {
	w := wireUp(t)
	c := w.dial(t)
	stuck, idle := sale.NewProductID(), sale.NewProductID()
	w.crowd(stuck, maxPlaces/2)
	for i, test := range []struct {
		body string
		want int
	}{
		{holdWith(stuck), http.StatusServiceUnavailable},
		{holdWith(stuck, idle), http.StatusServiceUnavailable},
		{holdWith(idle), http.StatusOK},
		{"{}", http.StatusOK},
	} {
		id := fmt.Sprint(i)
		c.send(t, holdRequestLine+"Host: shop\r\nX-Request-Id: "+id+"\r\nContent-Length: "+fmt.Sprint(len(test.body))+"\r\n\r\n"+test.body)
		answer := c.answer(t)
		assert.Equal(t, test.want, answer.Code, test.body)
		assert.Equal(t, id, answer.Header().Get("X-Request-Id"))
		if test.want == http.StatusOK {
			w.await(c)
		}
	}
	assert.Equal(t, int64(2), w.passed.Load())
}

// Requests that the wire does not answer meet the door, which reads their bodies ahead.
func TestTheDoorRefusesTheCrowdOfOneProductAlone(t *testing.T) {
	w := wireUp(t)
	stuck, idle := sale.NewProductID(), sale.NewProductID()
	w.crowd(stuck, maxPlaces/2)
	ask := func(c *client, body string) *httptest.ResponseRecorder {
		c.send(t, holdRequestLine+"Host: shop\r\nConnection: keep-alive\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n")
		w.settle(t)
		c.send(t, body)
		return c.answer(t)
	}
	c := w.dial(t)
	requireProblem(t, ask(c, holdWith(stuck)), http.StatusServiceUnavailable, "overloaded")
	answer := ask(c, holdWith(idle))
	assert.Equal(t, http.StatusOK, answer.Code)
	assert.Equal(t, holdWith(idle), answer.Body.String(), "what was read ahead is read again")
	assert.Equal(t, int64(2), w.passed.Load())
}

func TestADoorWithoutAPlaceAsksForNoBody(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.dial(t)
	c.send(t, holdRequestLine+"Host: shop\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
	assert.Equal(t, http.StatusServiceUnavailable, c.answer(t).Code)
}

func TestABodyThatBreaksOffAtTheDoorIsTheClientsFault(t *testing.T) {
	door, _ := besieged(t)
	door.crowd(sale.NewProductID(), maxPlaces/2)
	half := holdRequest(t)
	half.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"customer_id"`), iotest.ErrReader(io.ErrUnexpectedEOF)))
	requireProblem(t, serve(door, half), http.StatusBadRequest, "malformed_request")
}

// What is found in a body is what its reader finds there, whatever its texts look like.
func TestTheFirstProductOfABodyIsItsFirstLines(t *testing.T) {
	type line struct {
		ProductID string `json:"product_id"`
		Quantity  int    `json:"quantity"`
	}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`"product_id":"`, `{"product_id":"` + aProduct + `"}`, `\"product_id"`}))
		first := sale.NewProductID()
		body, err := json.MarshalIndent(struct {
			CustomerID string `json:"customer_id"`
			Lines      []line `json:"lines"`
		}{text.Draw(rt, "customer"), []line{{first.String(), 1}, {aProduct, 2}}}, "", rapid.SampledFrom([]string{"", "\t"}).Draw(rt, "indent"))
		require.NoError(rt, err)
		found, ok := firstProduct(body)
		require.True(rt, ok)
		require.Equal(rt, first, found)
	})
	for _, body := range []string{"", "{}", `{"customer_id":"product_id","lines":[{"product_id":"` + aProduct + `"}]}`, `{"product_id"`, `{"product_id":7}`, `{"product_id":"x"}`, `{"product_id":"` + aProduct} {
		_, ok := firstProduct([]byte(body))
		assert.False(t, ok, body)
	}
}
