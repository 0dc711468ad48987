//go:build linux

package bench

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// slowness is by how much the slowed database is slower.
	slowness = 10
	// naiveStatements and naiveInside are what a transaction of naive sends, and
	// how many of those a product's gate lets in.
	naiveStatements = 7
	naiveInside     = 2
	// lineBytes is about what a hold's line takes in a statement.
	lineBytes = 256
)

var dsnAddress = regexp.MustCompile(`@tcp\(([^)]*)\)`)

// slowLink stands before MySQL and makes it slow: each answer comes later, and all
// connections together send no more than so many bytes a second.
type slowLink struct {
	dsn      string // leads through the link
	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	conns   []net.Conn
	late    time.Duration // of each answer
	perByte time.Duration // that one sent byte takes
	free    time.Time     // when all that was sent will have passed
}

// newSlowLink starts a link that is not slow yet. It ends with the benchmark.
func newSlowLink(tb testing.TB, dsn string) *slowLink {
	tb.Helper()
	address := dsnAddress.FindStringSubmatch(dsn)
	require.NotEmpty(tb, address, "the link needs a DSN with a TCP address")
	var config net.ListenConfig
	listener, err := config.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	l := &slowLink{
		dsn:    dsnAddress.ReplaceAllString(dsn, "@tcp("+listener.Addr().String()+")"),
		server: address[1], listener: listener,
	}
	l.running.Go(func() { l.accept(tb.Context()) })
	tb.Cleanup(l.close)
	return l
}

// slow makes the database a tenth of what it is: in statements, by what one of them
// takes naive, and in rows, by what the engine writes a second.
func (l *slowLink) slow(naive, coalesced float64) {
	const statement = float64(naiveInside) / naiveStatements * float64(time.Second)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = time.Duration((slowness - 1) * statement / naive)
	l.perByte = time.Duration(slowness * float64(time.Second) / (coalesced * lineBytes))
}

func (l *slowLink) accept(ctx context.Context) {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return // closed
		}
		var dialer net.Dialer
		server, err := dialer.DialContext(ctx, "tcp", l.server)
		if err != nil {
			_ = client.Close()
			continue
		}
		l.serve(client, server)
	}
}

func (l *slowLink) serve(client, server net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, client, server)
	if l.closed {
		_, _ = client.Close(), server.Close()
		return
	}
	l.running.Go(func() { carry(server, client, l.sent) })
	l.running.Go(func() { carry(client, server, l.answered) })
}

// carry brings bytes from one side to the other, each chunk when wait lets it pass,
// until either side closes.
func carry(to io.WriteCloser, from io.ReadCloser, wait func(bytes int)) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			wait(n)
		}
		if _, writeErr := to.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// sent waits until what was sent before, and these bytes, have passed.
func (l *slowLink) sent(bytes int) {
	l.mu.Lock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(bytes) * l.perByte)
	free := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(free))
}

func (l *slowLink) answered(int) {
	l.mu.Lock()
	late := l.late
	l.mu.Unlock()
	time.Sleep(late)
}

func (l *slowLink) close() {
	_ = l.listener.Close()
	l.mu.Lock()
	l.closed = true
	for _, conn := range l.conns {
		_ = conn.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
}

// slowed offers half of the peak while the database is slowed to a tenth. What it
// cannot do has to be refused, and everybody answered in time. That the database is
// that slow shows in what naive comes to.
func (e *engine) slowed(ctx context.Context) (*measure, error) {
	e.slow.slow(e.peak(nameNaive), e.peak(nameCoalescedID))
	naive, err := e.sellSlowly(ctx, "slow-naive", 0)
	if err != nil {
		return nil, err
	}
	offer := e.peak(nameCoalescedID) / 2
	l, err := e.sellSlowly(ctx, "slow", offer)
	if err != nil {
		return nil, err
	}
	m := measureOf(l, http.StatusCreated)
	m.Numbers = map[string]float64{
		"offered a second": offer,
		"refused a second": l.perSecond(http.StatusServiceUnavailable),
		numberUnsent:       l.unsent,
		"naive a second":   naive.perSecond(http.StatusCreated),
		numberLatest:       float64(l.latest.Microseconds()) / 1000,
		numberStrange:      float64(l.answers() - l.all[http.StatusCreated] - l.all[http.StatusServiceUnavailable]),
	}
	return m, nil
}

// What the slowed database is measured for.
const (
	numberLatest  = "latest answer, ms"
	numberStrange = "answers but 201 and 503"
)

// sellSlowly sells over the slow link: at a rate, or in a closed load for none.
func (e *engine) sellSlowly(ctx context.Context, process string, rate float64) (*load, error) {
	product := e.product("slow", plenty)
	plan := e.closed(process, holders(product, holdIDKeys), http.StatusCreated)
	plan.tolerant = true
	if rate > 0 {
		plan.connections, plan.rate, plan.request = openConnections, rate, holdRequests(product, holdIDKeys)
	}
	return e.sell(ctx, "slow", product, plan)
}
