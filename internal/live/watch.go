package live

import (
	"errors"
	"log/slog"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// watch looks at a product again and again until its topic ends. A product that
// is gone ends it; any other failure leaves the listeners what they know.
func (h *Hub) watch(t *topic) {
	timer := time.NewTimer(pollGap)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-t.open.Done():
			return
		case <-timer.C:
		}
		err := h.look(t)
		switch {
		case t.open.Err() != nil:
			return
		case errors.Is(err, &sale.Error{Code: sale.CodeProductNotFound}):
			h.mu.Lock()
			h.end(t)
			h.mu.Unlock()
			return
		}
		if failing != (err != nil) {
			failing = err != nil
			h.report(t, err)
		}
		// The gap begins after the look, so that a slow one is not followed at once.
		if failing {
			timer.Reset(failureGap)
		} else {
			timer.Reset(pollGap)
		}
	}
}

// look publishes the product's state when it is news.
func (h *Hub) look(t *topic) error {
	product, err := h.cfg.Read(t.open, t.id)
	if err != nil {
		return err
	}
	if !t.isNews(product.Version, time.Now()) {
		return nil
	}
	event, err := h.event(product)
	if err != nil {
		return err
	}
	before := t.latest.Swap(&state{Event: event, changed: make(chan struct{})})
	close(before.changed)
	return nil
}

// isNews says whether a version that a look found is newer than the latest, or older for too
// long to be late.
func (t *topic) isNews(version int64, now time.Time) bool {
	latest := t.latest.Load().Version
	switch {
	case version >= latest:
		t.behind = time.Time{}
		return version > latest
	case t.behind.IsZero():
		t.behind = now
	}
	return now.Sub(t.behind) >= maxLag
}

// report tells operators of a change, not of each look.
func (h *Hub) report(t *topic, err error) {
	product := slog.String("product_id", t.id.String())
	if err == nil {
		h.cfg.Log.InfoContext(t.open, "live.reads_again", product)
		return
	}
	h.cfg.Log.WarnContext(t.open, "live.cannot_read", product, slog.Any("error", err))
}
