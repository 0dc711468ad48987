package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime/debug"
	"sync"
	"time"
)

// The servers' limits. A client that is slower than these is cut off, so that
// it cannot keep a connection for ever.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 90 * time.Second
	maxHeaderBytes    = 16 << 10
	// profileTimeout leaves room for a CPU profile of a minute.
	profileTimeout = 90 * time.Second
	// drainTimeout is what requests in flight get to end; the longest allowed
	// one fits in.
	drainTimeout = writeTimeout
)

// heapGrowth is by how much the heap may grow before it is collected, in percent of what
// lives. Little lives in a crowd and much is made: with Go's 100 a tenth of the processor
// time that an overload leaves goes into collections.
const heapGrowth = 400

// LetHeapGrow sets heapGrowth for this process, unless GOGC has said something else.
func LetHeapGrow() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
}

func newAPIServer(addr string, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// newAdminServer serves what only operators may see, and the API's own health.
func newAdminServer(addr string, api, metrics http.Handler, log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.Handle("GET /livez", api)
	mux.Handle("GET /readyz", api)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	server := newAPIServer(addr, mux, log)
	server.WriteTimeout = profileTimeout
	return server
}

// Listen binds both addresses, so that a taken one is known before anything runs.
func (a *App) Listen(ctx context.Context) error {
	var listen net.ListenConfig
	var err error
	if a.apiLn, err = listen.Listen(ctx, "tcp", a.api.Addr); err != nil {
		return fmt.Errorf("listening for the API: %w", err)
	}
	if a.adminLn, err = listen.Listen(ctx, "tcp", a.admin.Addr); err != nil {
		_ = a.apiLn.Close() // the first error is the one to tell
		return fmt.Errorf("listening for the admin address: %w", err)
	}
	return nil
}

// Run serves on the addresses that Listen bound until ctx ends or a server
// or loop fails, and then stops in this order: not ready, the shutdown delay (so that
// load balancers see it, and clients leave their connections), the live streams, no new connections and the requests in
// flight to their end, the loops, the admin address. The pools are left to Close. Requests
// and loops do not end with ctx.
func (a *App) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	failed := make(chan error, 2+len(a.workers))
	go a.serve(base, a.api, a.door.Listener(a.apiLn, idleTimeout), failed)
	go a.serve(base, a.admin, a.adminLn, failed)
	stopWorkers := a.startWorkers(base, failed)
	a.log.InfoContext(ctx, "server.started", "addr", a.apiLn.Addr().String(), "admin_addr", a.adminLn.Addr().String())

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, a.shutdown(base, stopWorkers))
}

// serve reports a server's failure. One that was shut down has not failed.
func (a *App) serve(base context.Context, server *http.Server, ln net.Listener, failed chan<- error) {
	server.BaseContext = func(net.Listener) context.Context { return base }
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serving on %s: %w", ln.Addr(), err)
	}
}

// startWorkers runs the loops; the function it returns stops them and waits. A
// loop that ends by itself is a failure of the whole service.
func (a *App) startWorkers(base context.Context, failed chan<- error) (stop func()) {
	ctx, cancel := context.WithCancel(base)
	var group sync.WaitGroup
	for _, work := range a.workers {
		group.Go(func() {
			if err := work(ctx); err != nil {
				failed <- fmt.Errorf("running a loop: %w", err)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

func (a *App) shutdown(base context.Context, stopWorkers func()) error {
	a.stopping.Store(true)
	a.log.InfoContext(base, "server.stopping", "delay", a.delay.String())
	a.pause(a.delay)
	a.live.Close()
	ctx, cancel := context.WithTimeout(base, drainTimeout)
	defer cancel()
	apiErr := drain(ctx, a.api)
	stopWorkers()
	adminErr := drain(ctx, a.admin)
	a.log.InfoContext(base, "server.stopped")
	return errors.Join(apiErr, adminErr)
}

// retire asks for the end of each connection that a stopping server answers on. Balancers
// that spread connections rather than requests move them to no other server by themselves,
// and a request that is sent just when the drain closes its idle connection fails.
func (a *App) retire(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// drain lets requests in flight end, and cuts off those that don't in time.
func drain(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("draining the requests of %s: %w", server.Addr, err), server.Close())
	}
	return nil
}
