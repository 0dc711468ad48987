package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	slowClients = 200
	// dribble is how long a slow client waits after each byte.
	dribble = 200 * time.Millisecond
	// goodBuyers work while slow clients hang on.
	goodBuyers = 4
	// cutOff is more than the service gives a client for its whole request.
	cutOff = time.Minute
)

// slowRequests are what slow clients begin to send, at once, and what then comes byte by
// byte: of a header, or of a body that never gets whole.
func slowRequests() [][2]string {
	head := func(path, length string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n"
	}
	return [][2]string{
		{"GET /api/products HTTP/1.1\r\nHost: x\r\n", "X-Slow: " + strings.Repeat("y", 10_000)},
		{"POST /api/ho", strings.Repeat("l", 10_000)},
		{head("/api/holds", "Content-Length: 60000"), `{"customer_id":"` + strings.Repeat("s", 10_000)},
		{head("/api/payments/webhook", "Transfer-Encoding: chunked"), strings.Repeat("1\r\n{\r\n", 10_000)},
	}
}

// Clients that send their headers or their bodies a byte at a time are cut off. While
// they hang on, nobody else is refused or goes unanswered, and nothing is left of them.
func TestSlowClientsAreCutOffWhileOthersAreServed(t *testing.T) {
	t.Parallel()
	count := testenv.Number(t, "FLASHSALE_TEST_SLOW_CLIENTS", slowClients)
	service := apitest.Start(t, apitest.Settings{Unchecked: true})
	product := service.Product(t, 1_000_000_000)
	var connected sync.WaitGroup
	connected.Add(count)
	crowd := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		requests := slowRequests()
		crowd <- apitest.Together(count, func(i int) error {
			return hangOn(t.Context(), strings.TrimPrefix(service.URL, "http://"), requests[i%len(requests)], &connected)
		})
	}()
	connected.Wait()
	var served atomic.Int64
	assert.NoError(t, apitest.Together(goodBuyers, func(int) error {
		for {
			reply, err := service.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("customer", 1, product))
			switch {
			case err != nil:
				return err
			case reply.StatusCode() != http.StatusCreated:
				return errors.New(reply.Status())
			}
			served.Add(1)
			select {
			case <-done:
				return nil
			default:
			}
		}
	}))
	require.NoError(t, <-crowd)
	assert.Equal(t, served.Load(), service.Books(t)[product.ID].Held)
	t.Logf("%d slow clients were cut off, %d holds made meanwhile", count, served.Load())
}

// hangOn sends a request slowly until the service ends the connection; an error if it
// answers with a success or never does.
func hangOn(ctx context.Context, address string, request [2]string, connected *sync.WaitGroup) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, request[0])
	}
	connected.Done()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go trickle(conn, request[1], ended)
	defer close(ended)
	if err := conn.SetReadDeadline(time.Now().Add(cutOff)); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	switch {
	case isTimeout(err):
		return errors.New("a slow client is never cut off")
	case strings.HasPrefix(string(answer), "HTTP/1.1 2"):
		return errors.New("half a request succeeds")
	}
	return nil
}

func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

// trickle sends a byte now and then: its pauses are what a slow client is.
func trickle(conn net.Conn, text string, ended <-chan struct{}) {
	ticker := time.NewTicker(dribble)
	defer ticker.Stop()
	for i := range len(text) {
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
		if _, err := io.WriteString(conn, text[i:i+1]); err != nil {
			return // cut off
		}
	}
}
