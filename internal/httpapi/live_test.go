package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/live"
	"github.com/flashsale-api/flashsale/internal/sale"
)

type readProduct = func(context.Context, sale.ProductID) (sale.Product, error)

// nowhere is where there are no products.
func nowhere(context.Context, sale.ProductID) (sale.Product, error) {
	return sale.Product{}, sale.Fail(sale.CodeProductNotFound, "There is no such product.")
}

// listenerCount is a Meter of a hub.
type listenerCount struct{ atomic.Int64 }

func (c *listenerCount) ListenersChanged(by int) { c.Add(int64(by)) }
func (*listenerCount) EventTaken()               {}

func newHub(tb testing.TB, read readProduct) *live.Hub {
	tb.Helper()
	return openHub(tb, read, &listenerCount{})
}

func openHub(tb testing.TB, read readProduct, meter live.Meter) *live.Hub {
	tb.Helper()
	hub := live.New(live.Config{Read: read, Encode: EncodeStock, Log: slog.New(slog.DiscardHandler), Meter: meter})
	tb.Cleanup(hub.Close)
	return hub
}

// pipes is a listener whose connections are in memory, so that a bubble's clock
// rules their deadlines. Nothing is buffered: a write waits for its reader.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// durations is a Meter of the API that remembers how long answers took.
type durations struct {
	recordingMeter
	took []time.Duration
}

func (m *durations) RequestServed(operation, method string, status int, duration time.Duration) {
	m.recordingMeter.RequestServed(operation, method, status, duration)
	m.took = append(m.took, duration)
}

// station is an API in a bubble, with limits as the service's, and a product.
type station struct {
	t         *testing.T
	hub       *live.Hub
	listeners *listenerCount
	pipes     *pipes
	server    *http.Server
	meter     *durations
	log       bytes.Buffer

	mu      sync.Mutex
	product sale.Product
}

func newStation(t *testing.T) *station {
	t.Helper()
	s := &station{
		t: t, listeners: &listenerCount{}, meter: &durations{},
		pipes:   &pipes{conns: make(chan net.Conn), closed: make(chan struct{})},
		product: sale.Product{ID: sale.NewProductID(), Version: 7, AvailableStock: 93, TotalStock: 100},
	}
	s.hub = openHub(t, s.read, s.listeners)
	cfg := testConfig(t)
	cfg.Live, cfg.Meter, cfg.Log = s.hub, s.meter, slog.New(slog.NewJSONHandler(&s.log, nil))
	s.server = &http.Server{Handler: newAPI(t, cfg), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(s.pipes) }()
	t.Cleanup(func() {
		require.NoError(t, s.server.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	return s
}

func (s *station) read(_ context.Context, id sale.ProductID) (sale.Product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.product.ID {
		return nowhere(context.Background(), id)
	}
	return s.product, nil
}

// take sells a unit.
func (s *station) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.product.Version++
	s.product.AvailableStock--
}

// ask sends a request on a connection of its own.
func (s *station) ask(method string, header ...string) net.Conn {
	s.t.Helper()
	conn := s.pipes.dial()
	s.t.Cleanup(func() { require.NoError(s.t, conn.Close()) })
	lines := append([]string{method + " /api/products/" + s.product.ID.String() + "/events HTTP/1.1", "Host: memory"}, header...)
	_, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n")
	require.NoError(s.t, err)
	return conn
}

// reading is an answer whose head was read. It ends with its connection.
type reading struct {
	status int
	header http.Header
	last   bool // its connection ends with it
	body   io.Reader
}

// answered reads the head of an answer.
func (s *station) answered(conn net.Conn, method string) reading {
	s.t.Helper()
	read, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method}) //nolint:bodyclose // closing it would read it to its end
	require.NoError(s.t, err)
	return reading{read.StatusCode, read.Header, read.Close, read.Body}
}

// watch begins a stream.
func (s *station) watch(header ...string) reading {
	s.t.Helper()
	stream := s.answered(s.ask(http.MethodGet, header...), http.MethodGet)
	require.Equal(s.t, http.StatusOK, stream.status)
	return stream
}

// expect reads exactly this text, however the stream is cut into pieces.
func (s *station) expect(stream reading, text string) {
	s.t.Helper()
	got := make([]byte, len(text))
	_, err := io.ReadFull(stream.body, got)
	require.NoError(s.t, err)
	require.Equal(s.t, text, string(got))
}

// event is how the stream tells of the product as it is.
func (s *station) event() string {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, err := EncodeStock(s.product)
	require.NoError(s.t, err)
	return string(bytes)
}

func TestAnEventIsOneLineOfJSONUnderItsVersion(t *testing.T) {
	id := sale.NewProductID()
	event, err := EncodeStock(sale.Product{ID: id, Version: 8, AvailableStock: 993, TotalStock: 1000})
	require.NoError(t, err)
	require.Equal(t, "id: 8\nevent: stock\ndata: {\"available_stock\":993,\"product_id\":\""+id.String()+
		"\",\"total_stock\":1000,\"version\":8}\n\n", string(event))
}

func TestAStreamIsTheStateAndThenEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		stream := s.watch()
		assert.Equal(t, "text/event-stream", stream.header.Get("Content-Type"))
		assert.Equal(t, "no-store", stream.header.Get("Cache-Control"))
		assert.Equal(t, "no", stream.header.Get("X-Accel-Buffering"))
		s.expect(stream, preamble+s.event())
		for range 10 {
			s.take()
			s.expect(stream, s.event())
		}
	})
}

func TestASilentStreamLivesBeyondTheServersLimitsAndShowsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		stream := s.watch()
		s.expect(stream, preamble+s.event())
		began := time.Now()
		for range 20 {
			s.expect(stream, comment)
		}
		assert.Equal(t, 20*heartbeat, time.Since(began))
		s.take()
		s.expect(stream, s.event())
	})
}

func TestWhoComesBackIsToldTheStateUnlessItIsTheLastThatCame(t *testing.T) {
	const atOnce, late, never = time.Duration(0), 3 * time.Second, -1
	for id, told := range map[string]time.Duration{
		"7": never, "6": atOnce, "8": late, "0": atOnce, "-7": atOnce, "seven": atOnce, "7 ": never,
		"9223372036854775807": late, "99999999999999999999": atOnce,
	} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t)
				stream := s.watch("Last-Event-ID: " + id)
				s.expect(stream, preamble)
				began := time.Now()
				if told != never {
					s.expect(stream, s.event())
					assert.Equal(t, told, time.Since(began))
				}
				s.expect(stream, comment)
				s.take()
				s.expect(stream, s.event())
			})
		})
	}
}

func TestAReaderThatTakesNothingHoldsUpNobodyAndIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		stuck := s.ask(http.MethodGet) // and never reads
		quick := s.watch()
		s.expect(quick, preamble+s.event())
		began := time.Now()
		for range 50 {
			s.take()
			s.expect(quick, s.event())
		}
		assert.Equal(t, 5*time.Second, time.Since(began), "as fast as the looks")
		assert.Equal(t, int64(2), s.listeners.Load())
		time.Sleep(streamWriteLimit)
		synctest.Wait()
		assert.Equal(t, int64(1), s.listeners.Load())
		_, err := stuck.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		s.take()
		s.expect(quick, s.event())
	})
}

func TestAStreamEndsWithItsClientAndTheLooksWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		conn := s.ask(http.MethodGet)
		s.expect(s.answered(conn, http.MethodGet), preamble+s.event())
		assert.Equal(t, int64(1), s.listeners.Load())
		require.NoError(t, conn.Close())
		synctest.Wait()
		assert.Zero(t, s.listeners.Load())
		assert.NotContains(t, s.log.String(), `"level":"ERROR"`)
	})
}

func TestAStreamEndsWholeWhenTheProductIsGoneOrTheHubCloses(t *testing.T) {
	for name, end := range map[string]func(*station){
		"closed": func(s *station) { s.hub.Close() },
		"gone": func(s *station) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.product.ID = sale.NewProductID()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t)
				stream := s.watch()
				s.expect(stream, preamble+s.event())
				time.Sleep(heartbeat - time.Second) // longer than a write may take
				end(s)
				rest, err := io.ReadAll(stream.body)
				require.NoError(t, err)
				assert.Empty(t, rest)
				assert.True(t, stream.last, "no request goes where the stream ended")
			})
		})
	}
}

func TestAShutdownWaitsASecondForWhoTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		s.ask(http.MethodGet) // and never reads
		synctest.Wait()
		began := time.Now()
		s.hub.Close()
		require.NoError(t, s.server.Shutdown(t.Context()))
		assert.Less(t, time.Since(began), 2*time.Second)
	})
}

func TestAnAnswerToHEADIsTheStreamsHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		stream := s.answered(s.ask(http.MethodHead), http.MethodHead)
		assert.Equal(t, http.StatusOK, stream.status)
		assert.Equal(t, "text/event-stream", stream.header.Get("Content-Type"))
		synctest.Wait()
		assert.Zero(t, s.listeners.Load())
	})
}

func TestAStreamIsCountedByTheTimeToItsBeginningAndLoggedWithItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t)
		stream := s.watch()
		s.expect(stream, preamble+s.event())
		time.Sleep(10 * time.Second)
		s.hub.Close()
		_, err := io.Copy(io.Discard, stream.body)
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, []served{{"watchStock", http.MethodGet, http.StatusOK}}, s.meter.calls)
		assert.Equal(t, []time.Duration{0}, s.meter.took)
		assert.Contains(t, s.log.String(), `"duration_ms":10000,`)
	})
}

func TestAProductThatIsNotThereHasNoStream(t *testing.T) {
	handler := newAPI(t, testConfig(t))
	requireProblem(t, serve(handler, request(t, http.MethodGet, "/api/products/"+aProduct+"/events", "")), 404, "product_not_found")
	requireProblem(t, serve(handler, request(t, http.MethodGet, "/api/products/ticket/events", "")), 422, "invalid_request")
	requireProblem(t, serve(handler, request(t, http.MethodPost, "/api/products/"+aProduct+"/events", "")), 405, "method_not_allowed")
}
