package httpapi

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// wired is a door on a listener of its own, and how many requests came past the wire.
type wired struct {
	*Door
	addr   string
	passed atomic.Int64
	idle   sync.Map // of channels, by a client's address: net/http waits for its next request
}

// newWired makes a handler, which answers with the body that it got, behind a door.
func newWired(tb testing.TB) *wired {
	tb.Helper()
	w := &wired{}
	echoing := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		rw.Header().Set("X-Request-Id", r.Header.Get("X-Request-Id"))
		_, _ = rw.Write(body)
	})
	door, err := newDoor(echoing, newPlaces(), Config{Meter: countingMeter{}, Draining: func() bool { return false }}, problemKinds()[sale.CodeOverloaded])
	require.NoError(tb, err)
	w.Door = door
	return w
}

// ServeHTTP counts what has passed the wire.
func (w *wired) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.passed.Add(1)
	w.Door.ServeHTTP(rw, r)
}

// wireUp serves such a handler.
func wireUp(tb testing.TB, changes ...func(*http.Server)) *wired {
	tb.Helper()
	w := newWired(tb)
	ln, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	server := httptest.NewUnstartedServer(w)
	require.NoError(tb, server.Listener.Close())
	server.Listener = w.Listener(ln, time.Minute)
	server.Config.IdleTimeout = time.Minute
	server.Config.ConnState = w.stateChanged
	for _, change := range changes {
		change(server.Config)
	}
	server.Start()
	tb.Cleanup(server.Close)
	w.addr = ln.Addr().String()
	return w
}

func (w *wired) stateChanged(conn net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		select {
		case w.idleOf(conn.RemoteAddr()) <- struct{}{}:
		default: // nobody asks
		}
	}
}

func (w *wired) idleOf(addr net.Addr) chan struct{} {
	idle, _ := w.idle.LoadOrStore(addr.String(), make(chan struct{}, 1))
	return idle.(chan struct{}) //nolint:errcheck,forcetypeassert // all are
}

// await waits until net/http is done with a request that it has answered. Until then it
// looks whether the client has left, and the next request's first byte passes by itself.
func (w *wired) await(c *client) { <-w.idleOf(c.LocalAddr()) }

// countingMeter counts nothing: a wire's requests come from many goroutines.
type countingMeter struct{}

func (countingMeter) RequestServed(string, string, int, time.Duration) {}
func (countingMeter) RequestRefused(string, string, int)               {}
func (countingMeter) HoldRejected(sale.Code)                           {}

// client is a connection that sends bytes as they are.
type client struct {
	net.Conn
	answers *bufio.Reader
}

// dial connects, and lets the connection's first request pass.
func (w *wired) dial(tb testing.TB) *client {
	tb.Helper()
	c := w.connect(tb)
	c.send(tb, alive)
	c.answer(tb)
	w.await(c)
	w.passed.Add(-1)
	return c
}

const alive = "GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n"

func (w *wired) connect(tb testing.TB) *client {
	tb.Helper()
	conn, err := (&net.Dialer{}).DialContext(tb.Context(), "tcp", w.addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	require.NoError(tb, conn.SetDeadline(time.Now().Add(30*time.Second)))
	return &client{conn, bufio.NewReader(conn)}
}

func (c *client) send(tb require.TestingT, text string) {
	_, err := io.WriteString(c, text)
	require.NoError(tb, err)
}

// answer reads the next answer, whole.
func (c *client) answer(tb require.TestingT) *httptest.ResponseRecorder {
	response, err := http.ReadResponse(c.answers, nil)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, response.Body.Close()) }()
	recorded := httptest.NewRecorder()
	maps.Copy(recorded.Header(), response.Header)
	recorded.WriteHeader(response.StatusCode)
	_, err = recorded.Body.ReadFrom(response.Body)
	require.NoError(tb, err)
	return recorded
}

// plainHold is a request for holds as most clients send it.
func plainHold(id string, headers ...string) string {
	return "POST /api/holds HTTP/1.1\r\nHost: shop\r\nX-Request-Id: " + id + "\r\n" + strings.Join(append(headers, ""), "\r\n") +
		"Content-Length: 2\r\n\r\n{}"
}

func TestFullDoorRefusesOnTheWireAsTheContractSays(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.dial(t)
	for i := range 3 {
		id := fmt.Sprint("mine-", i)
		c.send(t, plainHold(id))
		answer := c.answer(t)
		assert.Equal(t, id, requireProblem(t, answer, http.StatusServiceUnavailable, "overloaded").Instance)
		assert.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		date, err := http.ParseTime(answer.Header().Get("Date"))
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), date, time.Minute)
	}
	assert.Zero(t, w.passed.Load(), "net/http saw some of them")
}

// The same refusal, whoever gives it: clients cannot tell where it came from.
func TestRefusalOnTheWireIsTheDoors(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.dial(t)
	c.send(t, plainHold("same"))
	onWire := c.answer(t)
	c.send(t, plainHold("same", "Connection: keep-alive")) // is about the connection, so it passes
	atDoor := c.answer(t)
	assert.Equal(t, int64(1), w.passed.Load())
	for _, answer := range []*httptest.ResponseRecorder{onWire, atDoor} {
		answer.Header().Del("Date")
	}
	assert.Equal(t, atDoor.Code, onWire.Code)
	assert.Equal(t, atDoor.Header(), onWire.Header())
	assert.Equal(t, atDoor.Body, onWire.Body)
}

func TestARefusedConnectionIsServedOnceThereIsRoom(t *testing.T) {
	w := wireUp(t)
	c := w.dial(t)
	for i, full := range []bool{false, true, true, false, true, false} {
		w.empty()
		want := http.StatusOK
		if full {
			w.fill()
			want = http.StatusServiceUnavailable
		}
		c.send(t, plainHold(fmt.Sprint(i)))
		answer := c.answer(t)
		assert.Equal(t, want, answer.Code, i)
		assert.Equal(t, fmt.Sprint(i), answer.Header().Get("X-Request-Id"))
		if !full {
			w.await(c)
		}
	}
	assert.Equal(t, int64(3), w.passed.Load())
}

func TestTheFirstRequestOfAConnectionIsRefusedAtTheDoor(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.connect(t)
	for i := range 3 {
		c.send(t, plainHold(fmt.Sprint(i)))
		assert.Equal(t, http.StatusServiceUnavailable, c.answer(t).Code)
		if i == 0 {
			w.await(c)
		}
	}
	assert.Equal(t, int64(1), w.passed.Load())
}

// refusedInMemory gives a connection in a bubble that was refused again and again for
// longer than any of its server's limits but the idle one, and its server.
func refusedInMemory(t *testing.T) (*wired, *client, *http.Server) {
	t.Helper()
	w := newWired(t)
	conns := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{
		Handler: w, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(w.Listener(conns, server.IdleTimeout)) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	conn := conns.dial()
	c := &client{conn, bufio.NewReader(conn)}
	w.fill()
	for range 5 {
		c.send(t, plainHold("crowd"))
		require.Equal(t, http.StatusServiceUnavailable, c.answer(t).Code)
		time.Sleep(40 * time.Second)
	}
	require.Equal(t, int64(1), w.passed.Load())
	return w, c, server
}

func TestARequestAfterRefusalsHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, _ := refusedInMemory(t)
		w.empty()
		head, body, _ := strings.Cut(plainHold("late"), "{")
		c.send(t, head)
		time.Sleep(9 * time.Second)
		c.send(t, "{"+body)
		answer := c.answer(t)
		assert.Equal(t, http.StatusOK, answer.Code)
		assert.Equal(t, "{}", answer.Body.String())
	})
}

func TestHalfAHeadAfterRefusalsIsCutOffAsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := refusedInMemory(t)
		began := time.Now()
		c.send(t, "POST /api/holds HTTP/1.1\r\nHost:")
		_, err := io.ReadAll(c.answers)
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestAClientThatIsRefusedAndSilentIsCutOffAsAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, _ := refusedInMemory(t)
		began := time.Now()
		_, err := io.ReadAll(c.answers)
		require.NoError(t, err)
		assert.Equal(t, 20*time.Second, time.Since(began), "of the idle minute")
	})
}

func TestAShutdownDoesNotWaitForARefusedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, server := refusedInMemory(t)
		began := time.Now()
		require.NoError(t, server.Shutdown(t.Context()))
		assert.Less(t, time.Since(began), time.Second)
	})
}

// What ends a connection with a part of a request unread is still an answer, no reset.
func TestALastAnswerArrivesBeforeTheEnd(t *testing.T) {
	w := wireUp(t, func(server *http.Server) { server.MaxHeaderBytes = 1 << 10 })
	c := w.connect(t)
	go func() { _, _ = io.WriteString(c, plainHold("large", "X-Padding: "+strings.Repeat("y", 1<<20))) }()
	text, err := io.ReadAll(c.answers)
	require.NoError(t, err)
	assert.Contains(t, string(text), " 431 ")
}

func TestAStoppingServerLetsNetHTTPRefuse(t *testing.T) {
	w := wireUp(t)
	w.draining = func() bool { return true }
	w.fill()
	c := w.dial(t)
	c.send(t, plainHold("last"))
	answer := c.answer(t)
	assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
	assert.Equal(t, int64(1), w.passed.Load())
}

// A body is never taken for a request, else whoever shares a connection behind a proxy
// could be given another's answer.
func TestABodyIsNotAnsweredOnTheWire(t *testing.T) {
	inner := plainHold("inner")
	outer := "POST /api/orders HTTP/1.1\r\nHost: shop\r\nX-Request-Id: outer\r\n"
	sized := outer + "Content-Length: " + strconv.Itoa(len(inner)) + "\r\n\r\n"
	chunk := strconv.FormatInt(int64(len(inner)), 16) + "\r\n"
	tests := map[string][]string{ // pieces that come one by one
		"after its head":        {sized, inner},
		"after a part of it":    {sized + inner[:7], inner[7:]},
		"with its head":         {sized + inner},
		"as a chunk":            {outer + "Transfer-Encoding: chunked\r\n\r\n" + chunk, inner, "\r\n0\r\n\r\n"},
		"after half a head":     {outer[:20], outer[20:] + "Content-Length: " + strconv.Itoa(len(inner)) + "\r\n\r\n", inner},
		"after its first byte":  {sized[:1], sized[1:], inner},
		"after two first bytes": {sized[:1], sized[1:2], sized[2:], inner},
		"after a head that ends its lines otherwise": {
			strings.ReplaceAll(sized, "\r\n", "\n"), inner,
		},
	}
	for name, pieces := range tests {
		t.Run(name, func(t *testing.T) {
			w := wireUp(t)
			w.fill()
			c := w.dial(t)
			for _, piece := range pieces {
				c.send(t, piece)
				w.settle(t)
			}
			answer := c.answer(t)
			assert.Equal(t, http.StatusOK, answer.Code)
			assert.Equal(t, "outer", answer.Header().Get("X-Request-Id"))
			assert.Equal(t, inner, answer.Body.String())
			c.send(t, plainHold("next"))
			answer = c.answer(t)
			assert.Equal(t, "next", answer.Header().Get("X-Request-Id"), "the one answer to the one request")
		})
	}
}

func TestAByteThatWentAheadBelongsToItsRequest(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.dial(t)
	c.send(t, "X")
	w.settle(t)
	c.send(t, plainHold("ahead")) // so its method is XPOST
	answer := c.answer(t)
	assert.Equal(t, http.StatusOK, answer.Code)
}

func TestRequestsThatAreSentAtOnceAreAnsweredInTurn(t *testing.T) {
	w := wireUp(t)
	w.fill()
	c := w.dial(t)
	c.send(t, plainHold("first")+plainHold("second"))
	for _, id := range []string{"first", "second"} {
		answer := c.answer(t)
		assert.Equal(t, http.StatusServiceUnavailable, answer.Code)
		assert.Equal(t, id, answer.Header().Get("X-Request-Id"))
	}
}

// settle lets a piece arrive before the next is sent: an answer over another connection
// shows that the server had its turn. A piece that comes with the next all the same only
// makes the test another of its cases.
func (w *wired) settle(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, w.dial(tb).Close())
}

// Whatever is sent in whatever pieces: each request has its own answer, in order, and
// what is not refused arrives as it was sent.
func TestEveryRequestHasItsOwnAnswerHoweverItIsSent(t *testing.T) {
	w := wireUp(t)
	rapid.Check(t, func(rt *rapid.T) {
		c := w.dial(t)
		defer func() { require.NoError(t, c.Close()) }()
		for i := range rapid.IntRange(1, 6).Draw(rt, "requests") {
			w.empty()
			if rapid.Bool().Draw(rt, "full") {
				w.fill()
			}
			id, body, text := drawRequest(rt, i)
			sent := make(chan error, 1)
			cuts := rapid.SliceOfN(rapid.IntRange(1, 200), 0, 4).Draw(rt, "cuts")
			go func() { sent <- inPieces(c, text, cuts) }()
			answer := c.answer(t)
			require.NoError(t, <-sent)
			require.Equal(t, id, answer.Header().Get("X-Request-Id"))
			if answer.Code == http.StatusOK {
				require.Equal(t, body, answer.Body.String())
			} else {
				require.Equal(t, http.StatusServiceUnavailable, answer.Code)
				require.True(t, strings.HasPrefix(text, holdRequestLine))
			}
		}
	})
}

// drawRequest makes a request of some form, and gives its id and body.
func drawRequest(rt *rapid.T, i int) (id, body, text string) {
	id = fmt.Sprint("id-", i)
	body = rapid.SampledFrom([]string{"{}", "x", plainHold("inner"), strings.Repeat(plainHold("inner"), 30)}).Draw(rt, "body")
	head := rapid.SampledFrom([]string{holdRequestLine, "POST /api/orders HTTP/1.1\r\n"}).Draw(rt, "line") +
		"Host: shop\r\nx-request-ID:  " + id + " \r\n"
	if rapid.Bool().Draw(rt, "padded") {
		head += "X-Padding: " + strings.Repeat("y", rapid.IntRange(0, 6000).Draw(rt, "padding")) + "\r\n"
	}
	if rapid.Bool().Draw(rt, "chunked") {
		return id, body, head + "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n0\r\n\r\n"
	}
	return id, body, head + "content-length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

func inPieces(to io.Writer, text string, cuts []int) error {
	for _, cut := range cuts {
		cut = min(cut, len(text))
		if _, err := io.WriteString(to, text[:cut]); err != nil {
			return err
		}
		text = text[cut:]
	}
	_, err := io.WriteString(to, text)
	return err
}

// A head that is read here is read alike by net/http: what it ends with and how long the
// body is decides where the next request begins.
func FuzzHeadIsReadAsNetHTTPReadsIt(f *testing.F) {
	for _, seed := range []string{
		plainHold("a"), plainHold("a", "Content-Length: 3"), plainHold("a", "Transfer-Encoding: chunked"),
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest", "GET / HTTP/1.1\nHost: a\n\nPOST /\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nabcd", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\t+4\r\n\r\nabcd", "POST / HTTP/1.1\r\nHost: a\r\nx:\rContent-Length: 1\r\n\r\nabcd",
		"POST / HTTP/1.1\nContent-Length: 4\nX: HTTP/1.1\r\nHost: a\r\n\r\nabcd",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		head, size := readHead(text)
		if size == 0 {
			return
		}
		rest := bufio.NewReader(bytes.NewReader(text))
		request, err := http.ReadRequest(rest)
		if err != nil {
			return // net/http ends the connection
		}
		require.Equal(t, request.ContentLength, head.length)
		require.Empty(t, request.TransferEncoding)
		// The body is read up to its length from where the head ends.
		body, err := io.ReadAll(io.LimitReader(request.Body, head.length))
		if err != nil {
			return // not all of it is there
		}
		require.Equal(t, text[size:size+head.length], append([]byte{}, body...))
	})
}
