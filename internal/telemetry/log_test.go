package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/telemetry"
)

func TestJSONRecordsCarryTheRequestIDOfTheirContext(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "json", "info")
	require.NoError(t, err)
	ctx := telemetry.WithRequestID(t.Context(), "req-1")

	log.With(slog.String("product", "prod_1")).InfoContext(ctx, "hold.created", slog.Int("quantity", 2))

	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	assert.Equal(t, "hold.created", line["msg"])
	assert.Equal(t, "req-1", line["request_id"])
	assert.Equal(t, "prod_1", line["product"])
	assert.InDelta(t, 2, line["quantity"], 0)
	assert.Equal(t, 1, strings.Count(out.String(), "\n"))
}

func TestTextRecordsCarryTheRequestIDOfTheirContext(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "text", "info")
	require.NoError(t, err)

	log.WithGroup("group").InfoContext(telemetry.WithRequestID(t.Context(), "req-1"), "hold.created")
	assert.Contains(t, out.String(), "request_id=req-1")
}

func TestRecordsOutsideOfARequestCarryNoRequestID(t *testing.T) {
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "json", "info")
	require.NoError(t, err)

	log.InfoContext(t.Context(), "sweep.failed")
	assert.NotContains(t, out.String(), "request_id")
	assert.Empty(t, telemetry.RequestID(t.Context()))
	assert.Equal(t, "req-1", telemetry.RequestID(telemetry.WithRequestID(t.Context(), "req-1")))
}

func TestOnlyRecordsFromTheLevelOnAreWritten(t *testing.T) {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	for i, name := range []string{"debug", "info", "warn", "error"} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, "json", name)
		require.NoError(t, err)
		for _, level := range levels {
			log.Log(context.Background(), level, "event")
		}
		assert.Equal(t, len(levels)-i, strings.Count(out.String(), "\n"), name)
	}
}

func TestAnUnknownFormatOrLevelIsRefused(t *testing.T) {
	for _, c := range []struct{ format, level, want string }{
		{"xml", "info", `log format "xml": want json or text`},
		{"", "info", `log format "": want json or text`},
		{"json", "trace", `log level "trace": want debug, info, warn or error`},
		{"json", "INFO+1", `log level "INFO+1": want debug, info, warn or error`},
	} {
		_, err := telemetry.NewLogger(&bytes.Buffer{}, c.format, c.level)
		require.EqualError(t, err, c.want)
	}
}
