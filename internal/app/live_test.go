package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// pipes is a listener whose connections are in memory: a crowd needs no
// descriptors.
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

func (s *service) product(t *testing.T) sale.Product {
	t.Helper()
	made, err := s.core.Actions.CreateProduct.Do(t.Context(), action.CreateProductInput{
		SKU: "sku", Name: "Live", Stock: 1000, Rules: sale.Rules{Price: sale.Money{Amount: 1, Currency: "USD"}},
	})
	require.NoError(t, err)
	return made.Value
}

// crowd is clients that watch one product, each on a connection of its own.
type crowd struct {
	to          *pipes
	product     sale.ProductID
	first, last int64 // versions that each has to see, in this order

	coming   chan struct{} // as many as connect at once: the server gives each of them little time
	arrived  sync.WaitGroup
	finished sync.WaitGroup
	faults   []error
}

// gather connects a crowd, and waits until each was told of the first version.
func gather(to *pipes, product sale.ProductID, size int, first, last int64) *crowd {
	c := &crowd{
		to: to, product: product, first: first, last: last, coming: make(chan struct{}, 64), faults: make([]error, size),
	}
	c.arrived.Add(size)
	for i := range size {
		c.finished.Go(func() { c.faults[i] = c.listen() })
	}
	c.arrived.Wait()
	return c
}

// listen is one client. It reads whatever comes, so that nobody has to wait for it.
func (c *crowd) listen() error {
	conn, lines, err := c.connect()
	c.arrived.Done()
	if err == nil {
		err = await(lines, c.last)
	}
	return errors.Join(err, conn.Close())
}

func (c *crowd) connect() (net.Conn, *bufio.Reader, error) {
	c.coming <- struct{}{}
	defer func() { <-c.coming }()
	client, server := net.Pipe()
	c.to.conns <- server
	lines := bufio.NewReader(client)
	_, err := fmt.Fprintf(client, "GET /api/products/%s/events HTTP/1.1\r\nHost: memory\r\n\r\n", c.product)
	return client, lines, errors.Join(err, await(lines, c.first))
}

// await reads until an event tells of a version.
func await(lines *bufio.Reader, version int64) error {
	want := fmt.Sprintf("id: %d\n", version)
	for {
		line, err := lines.ReadString('\n')
		if err != nil || line == want {
			return err
		}
	}
}

// seen waits until each was told of the last version, and says what went wrong.
func (c *crowd) seen() error {
	c.finished.Wait()
	return errors.Join(c.faults...)
}

// statements counts what the server was asked, as the counters of its operator do.
// What a new connection is told does not count.
func (s *service) statements(t *testing.T) int64 {
	t.Helper()
	counter := func(name string) (value int64) {
		require.NoError(t, s.core.DB.SQL().QueryRowContext(t.Context(), "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value))
		return value
	}
	return counter("Questions") - counter("Com_set_option")
}

func TestFiveThousandListenersSeeEachLastStateAndCostMySQLWhatOneReaderDoes(t *testing.T) {
	const (
		listeners = 5000
		changes   = 20
		// perRead is the most statements that a read takes, other what else the
		// service and this test ask: a sweep, the counters themselves.
		perRead, other = 3, 50
	)
	s := newService(t, EnvMySQLDSN+"="+testenv.OwnMySQL(t).DSN(),
		EnvSweepInterval+"=1h", EnvWebhookInterval+"=1h", EnvAuditInterval+"=0", EnvPurgeInterval+"=0")
	require.NoError(t, s.apiLn.Close())
	memory := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.apiLn = memory
	s.start(t)
	product := s.product(t)
	change := func() {
		for range changes {
			_, err := s.core.Actions.AdjustStock.Do(t.Context(), action.AdjustStockInput{ProductID: product.ID, Delta: 1, Reason: "found"})
			require.NoError(t, err)
		}
	}
	before := s.statements(t)
	change()
	alone := s.statements(t) - before

	began, before := time.Now(), s.statements(t)
	crowd := gather(memory, product.ID, listeners, product.Version+changes, product.Version+2*changes)
	change()
	require.NoError(t, crowd.seen())
	cost, took := s.statements(t)-before, time.Since(began)
	// A process reads a product at most once a second, for one reader as for all.
	reads := int64(took/time.Second) + 2
	t.Logf("%d statements in %v, %d without listeners", cost, took, alone)
	assert.LessOrEqual(t, cost, alone+perRead*reads+other)

	s.stop()
	require.NoError(t, wait(t, "Run to return", s.stopped))
}

func TestShutdownEndsLiveStreamsAtOnce(t *testing.T) {
	s := newService(t)
	s.start(t)
	product := s.product(t)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet,
		"http://"+s.apiLn.Addr().String()+"/api/products/"+product.ID.String()+"/events", http.NoBody)
	require.NoError(t, err)
	stream, err := s.client.Do(req)
	require.NoError(t, err)
	defer func() { assert.NoError(t, stream.Body.Close()) }()
	lines := bufio.NewReader(stream.Body)
	for line := ""; !strings.HasPrefix(line, "data: "); {
		line, err = lines.ReadString('\n')
		require.NoError(t, err)
	}
	s.stop()
	rest, err := io.ReadAll(lines)
	require.NoError(t, err, "the stream ends whole")
	assert.Equal(t, "\n", string(rest))
	require.NoError(t, wait(t, "Run to return", s.stopped), "the drain did not have to cut anybody off")
	s.client.CloseIdleConnections()
}
