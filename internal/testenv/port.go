package testenv

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ports for what is stopped and started again lie below those that Linux gives to
// outgoing connections: one of these could take a stopped server's place.
const (
	firstPort = 20_000
	lastPort  = 32_000
	portTries = 100
)

// FreeAddress is an address of this machine that nobody listened on just now.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	port, err := freePort(tb.Context())
	require.NoError(tb, err)
	return net.JoinHostPort("127.0.0.1", port)
}

func freePort(ctx context.Context) (string, error) {
	var config net.ListenConfig
	var err error
	for range portTries {
		port := strconv.Itoa(firstPort + rand.IntN(lastPort-firstPort)) //nolint:gosec // not a secret
		var listener net.Listener
		if listener, err = config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			return port, listener.Close()
		}
	}
	return "", fmt.Errorf("find a free port: %w", err)
}
