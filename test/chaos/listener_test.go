//go:build linux

package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// listeners watch one product, each through a front of its own.
type listeners struct {
	all     []*listener
	product client.Product
	running sync.WaitGroup
	stop    context.CancelFunc
}

// listener comes back whenever its stream ends, knowing what it saw last.
type listener struct {
	api     *apitest.API
	product client.ProductID
	seen    atomic.Int64 // the product's version
	streams int
	again   bool // it comes back where a process is just about to stop, which refuses it
}

func (d *drain) listen(product client.Product, fronts []*front) *listeners {
	d.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(d.Context()))
	l := &listeners{product: product, stop: stop}
	d.Cleanup(func() {
		stop()
		l.running.Wait()
	})
	for _, front := range fronts {
		one := &listener{api: front.api, product: product.ID, again: d.balancer.again}
		l.all = append(l.all, one)
		l.running.Go(func() { assert.NoError(d, one.live(ctx)) })
	}
	return l
}

// leave waits until all know the product as it is, ends the listening and gives how many
// streams there were.
func (l *listeners) leave(t *testing.T, api *apitest.API) (streams int) {
	t.Helper()
	reply, err := api.GetProductWithResponse(t.Context(), l.product.ID, nil)
	require.NoError(t, err)
	require.NotNil(t, reply.JSON200)
	for _, one := range l.all {
		eventually(t, func() bool { return one.seen.Load() >= reply.JSON200.Version }, "a listener is not told the last state")
	}
	l.stop()
	l.running.Wait()
	for _, one := range l.all {
		streams += one.streams
	}
	return streams
}

// live listens until ctx ends. That a stream is refused, is cut off or goes back in time is
// an error. A new stream may begin a little before the end of the last one: another process
// has a cache of its own.
func (l *listener) live(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := l.hear(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("stream %d: %w", l.streams, err)
		}
	}
	return nil
}

// hear listens to one stream until its end.
func (l *listener) hear(ctx context.Context) (err error) {
	response, err := l.api.WatchStock(ctx, l.product, &client.WatchStockParams{LastEventID: new(strconv.FormatInt(l.seen.Load(), 10))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode == http.StatusServiceUnavailable && l.again {
		return nil
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it is refused: %s", response.Status)
	}
	l.streams++
	told := int64(0)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		id, found := strings.CutPrefix(lines.Text(), "id: ")
		if !found {
			continue
		}
		version, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return err
		}
		if version <= told {
			return fmt.Errorf("after version %d comes %d", told, version)
		}
		told = version
		l.seen.Store(version)
	}
	return lines.Err()
}
