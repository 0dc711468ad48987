// Package telemetry is what operators see: logs and metrics.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// identified is a context with a request's id.
type identified struct {
	context.Context
	id string
}

type identifiedKey struct{}

// Value finds the id, and what the context's parents have.
func (i *identified) Value(key any) any {
	if key == (identifiedKey{}) {
		return i
	}
	return i.Context.Value(key)
}

// WithRequestID makes every log record of the context carry id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return &identified{ctx, id}
}

// RequestID is the id of the request that ctx belongs to, "" without one.
func RequestID(ctx context.Context) string {
	if known, ok := ctx.Value(identifiedKey{}).(*identified); ok {
		return known.id
	}
	return ""
}

// NewLogger makes a logger that writes one record a line to w. Its format is
// json or text, its level debug, info, warn or error; anything else is an error.
// A record whose context has a request id carries it as request_id.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	threshold, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: threshold}
	switch format {
	case "json":
		return slog.New(requestHandler{slog.NewJSONHandler(w, options)}), nil
	case "text":
		return slog.New(requestHandler{slog.NewTextHandler(w, options)}), nil
	default:
		return nil, fmt.Errorf("log format %q: want json or text", format)
	}
}

func parseLevel(level string) (slog.Level, error) {
	switch level {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
}

// requestHandler adds the context's request id to records. In a logger with an
// open group the id stands in that group.
type requestHandler struct {
	slog.Handler
}

func (h requestHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := RequestID(ctx); id != "" {
		record = record.Clone()
		record.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
