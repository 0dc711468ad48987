package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/live"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	streamMediaType = "text/event-stream"

	// heartbeat is how long a stream is silent at most: less than the minute or so
	// after which what stands in between takes a connection for dead.
	heartbeat = 15 * time.Second
	// streamWriteLimit bounds a write to a stream. Who takes nothing for so long is
	// cut off.
	streamWriteLimit = 10 * time.Second
	// farewellLimit is the same once the stream has ended: a shutdown waits for it.
	farewellLimit = time.Second

	// comment is what shows that a stream lives.
	comment = ":\n\n"
	// preamble begins a stream: it lives, and who loses it is to come back after a
	// second.
	preamble = ":\nretry: 1000\n\n"
)

// EncodeStock is the event that tells of a product's stock.
func EncodeStock(product sale.Product) ([]byte, error) {
	data, err := json.Marshal(server.StockEvent{
		ProductID:      product.ID.String(),
		AvailableStock: product.AvailableStock,
		TotalStock:     product.TotalStock,
		Version:        product.Version,
	})
	if err != nil {
		return nil, fmt.Errorf("encode an event: %w", err)
	}
	return fmt.Appendf(nil, "id: %d\nevent: stock\ndata: %s\n\n", product.Version, data), nil
}

// WatchStock answers GET /api/products/{product_id}/events.
func (h *handlers) WatchStock(ctx context.Context, request server.WatchStockRequestObject) (server.WatchStockResponseObject, error) {
	id, err := productID(request.ProductID)
	if err != nil {
		return nil, err
	}
	listener, err := h.Live.Listen(ctx, id, lastEvent(value(request.Params.LastEventID)))
	if err != nil {
		return nil, err
	}
	return &stockStream{ctx: ctx, listener: listener}, nil
}

// lastEvent is the version that a Last-Event-ID names, 0 for one that names none.
func lastEvent(id string) int64 {
	version, err := strconv.ParseUint(id, 10, 63)
	if err != nil {
		return 0
	}
	return int64(version)
}

// stockStream is WatchStock's 200. It goes on until the client leaves or is cut
// off, the product is gone or the server stops.
type stockStream struct {
	ctx      context.Context // the request's
	listener *live.Listener
}

// VisitWatchStockResponse writes the stream. That it ends is no failure, nor that
// it is cut off.
func (s *stockStream) VisitWatchStockResponse(w http.ResponseWriter) error {
	defer s.listener.Leave()
	controller := http.NewResponseController(w)
	// A write may be waiting for its reader just then.
	defer s.listener.WhenEnded(func() { limitWrite(controller, farewellLimit) })()
	header := w.Header()
	header.Set(echo.HeaderContentType, streamMediaType)
	header.Set("X-Accel-Buffering", "no")
	// A stream ends where its server stops: nobody is to send more requests there.
	header.Set("Connection", "close")
	chunk := []byte(preamble)
	for send(w, controller, chunk) {
		event, err := s.listener.Next(s.ctx, heartbeat)
		switch {
		case errors.Is(err, live.ErrQuiet):
			chunk = []byte(comment)
		case err != nil:
			// The last write may be long ago, and the end is written too.
			limitWrite(controller, farewellLimit)
			return nil
		default:
			chunk = event.Bytes
		}
	}
	return nil
}

// send says whether a chunk went out in time.
func send(w http.ResponseWriter, controller *http.ResponseController, chunk []byte) bool {
	limitWrite(controller, streamWriteLimit)
	if _, err := w.Write(chunk); err != nil {
		return false
	}
	return controller.Flush() == nil
}

// limitWrite gives what is written next its time. It fails on a connection that is
// closed, to which nothing can be written anyway.
func limitWrite(controller *http.ResponseController, limit time.Duration) {
	_ = controller.SetWriteDeadline(time.Now().Add(limit))
}

// beginStream readies a request for an answer that does not end by itself: it
// notes when the answer begins, and lets one to HEAD end there.
func beginStream(c echo.Context) (end func()) {
	r := c.Request()
	ctx, cancel := context.WithCancel(r.Context())
	c.SetRequest(r.WithContext(ctx))
	known := exchangeOf(c)
	c.Response().Before(func() {
		known.answered = time.Now()
		if r.Method == http.MethodHead {
			cancel()
		}
	})
	return cancel
}
