package telemetry_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/telemetry"
)

func TestWhatGoesOutIsCounted(t *testing.T) {
	metrics := telemetry.NewMetrics()
	assertSeries(t, metrics, `flashsale_webhook_attempts_total{result="given_up"} 0`)
	metrics.DeliveryAttempted(sale.AttemptDelivered)
	metrics.DeliveryAttempted(sale.AttemptFailed)
	metrics.EndpointsSurveyed(7, 90*time.Second, 2)
	assertSeries(t, metrics,
		`flashsale_webhook_attempts_total{result="delivered"} 1`,
		`flashsale_webhook_attempts_total{result="failed"} 1`,
		"flashsale_webhook_pending_deliveries 7",
		"flashsale_webhook_oldest_pending_seconds 90",
		"flashsale_webhook_disabled_endpoints 2",
	)
}

func TestLoopsAreCountedByNameAndResult(t *testing.T) {
	metrics := telemetry.NewMetrics()
	metrics.LoopDone("delivery")(nil, time.Second)
	metrics.LoopDone("delivery")(errors.New("no"), time.Second)
	assertSeries(t, metrics,
		`flashsale_loop_runs_total{loop="delivery",result="ok"} 1`,
		`flashsale_loop_runs_total{loop="delivery",result="failed"} 1`,
	)
}
