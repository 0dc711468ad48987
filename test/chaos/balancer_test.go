//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	// lookPause is between two looks of a balancer at a server, lookLimit bounds one, which
	// a busy machine may keep waiting. Both together are less than drainDelay.
	lookPause = 100 * time.Millisecond
	lookLimit = 2 * time.Second
	// resends is how often a balancer sends a request again at most.
	resends = 5
)

// balancer spreads requests, or connections, over those servers that say that they are
// ready, one after the other. It learns that late, as balancers do.
type balancer struct {
	servers []*server
	turn    atomic.Uint64
	// again lets it send a request again that failed before any of its answer came, as
	// balancers do with those that may be repeated. All of this service's may.
	again bool
	cut   atomic.Int64 // requests that failed on their way to a server
}

// server is a process as a balancer sees it.
type server struct {
	url   *url.URL
	wires *wires
	ready atomic.Bool
}

// newBalancer looks at a fleet until the test's end.
func newBalancer(tb testing.TB, f *fleet) *balancer {
	tb.Helper()
	b := &balancer{}
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	var looks sync.WaitGroup
	tb.Cleanup(func() {
		stop()
		looks.Wait()
	})
	for _, p := range f.processes {
		s := &server{url: &url.URL{Scheme: "http", Host: p.addr}, wires: newWires(tb, p.addr)}
		b.servers = append(b.servers, s)
		looks.Go(func() { s.watch(ctx) })
	}
	return b
}

// watch keeps ready current.
func (s *server) watch(ctx context.Context) {
	looker := &http.Client{Timeout: lookLimit, Transport: &http.Transport{DisableKeepAlives: true}}
	ticker := time.NewTicker(lookPause)
	defer ticker.Stop()
	for {
		s.ready.Store(s.look(ctx, looker))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *server) look(ctx context.Context, looker *http.Client) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.JoinPath("readyz").String(), http.NoBody)
	if err != nil {
		return false
	}
	response, err := looker.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // its status says all
	return response.StatusCode == http.StatusOK
}

// allReady says whether the balancer uses all servers.
func (b *balancer) allReady() bool {
	for _, s := range b.servers {
		if !s.ready.Load() {
			return false
		}
	}
	return true
}

// next gives the server whose turn it is. When none is ready, all are tried.
func (b *balancer) next() *server {
	turn := int(b.turn.Add(1) % uint64(len(b.servers)))
	for i := range b.servers {
		if s := b.servers[(turn+i)%len(b.servers)]; s.ready.Load() {
			return s
		}
	}
	return b.servers[turn]
}

// RoundTrip sends a request to a server.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("read a request: %w", err)
		}
	}
	for attempt := 0; ; attempt++ {
		to := b.next()
		copied := r.Clone(r.Context())
		copied.URL.Host = to.url.Host
		copied.Body = io.NopCloser(bytes.NewReader(body))
		response, err := to.wires.RoundTrip(copied)
		if err == nil || r.Context().Err() != nil {
			return response, err
		}
		b.cut.Add(1)
		if !b.again || attempt == resends {
			return nil, err
		}
		to.ready.Store(false) // until it is looked at
	}
}

// ofRequests gives a front that spreads requests.
func (b *balancer) ofRequests(tb testing.TB, secret string) *front {
	tb.Helper()
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(b.servers[0].url) }, // RoundTrip chooses one
		Transport: b,
		ErrorLog:  log.New(io.Discard, "", 0), // what fails, its client is told
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	})
	tb.Cleanup(proxy.Close)
	return newFront(tb, strings.TrimPrefix(proxy.URL, "http://"), secret)
}

// ofConnections gives a front that spreads connections.
func (b *balancer) ofConnections(tb testing.TB, secret string) *front {
	tb.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	var running sync.WaitGroup
	tb.Cleanup(func() {
		stop()
		_ = listener.Close() // nobody comes any more
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.join(ctx, conn.(*net.TCPConn)) }) //nolint:errcheck,forcetypeassert // of the network tcp
		}
	})
	return newFront(tb, listener.Addr().String(), secret)
}

// join passes on what two ends of a connection say, each until it has no more.
func (b *balancer) join(ctx context.Context, client *net.TCPConn) {
	server, err := dial(ctx, b.next().url.Host)
	if err != nil {
		b.cut.Add(1)
		_ = client.Close() // that says all
		return
	}
	defer context.AfterFunc(ctx, func() { _ = errors.Join(client.Close(), server.Close()) })()
	var both sync.WaitGroup
	both.Go(func() { pass(server.TCPConn, client) })
	both.Go(func() { pass(client, server.TCPConn) })
	both.Wait()
	_ = errors.Join(client.Close(), server.Close()) // both have ended
}

func pass(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // whichever end breaks, the other is told
	_ = to.CloseWrite()
}

// front is a balancer as customers see it: as a process.
type front struct {
	*process
	wires *wires
}

func newFront(tb testing.TB, addr, secret string) *front {
	tb.Helper()
	w := newWires(tb, addr)
	return &front{wires: w, process: &process{addr: addr, api: apitest.AttachOver(tb, "http://"+addr, secret, w)}}
}
