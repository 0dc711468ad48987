// Package webhook sends events to endpoints: signed by Standard Webhooks, without
// following anybody anywhere, and only to public addresses unless more is allowed.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

const (
	userAgent = "flashsale-webhooks"

	// maxHeader bounds what an endpoint can make us read of its answer's head; of its
	// body no more than maxDrained is read, so that the connection can be used again.
	maxHeader  = 64 << 10
	maxDrained = 4 << 10

	// idleConnections is how many stay open to one endpoint, and allIdle to all.
	idleConnections = 8
	allIdle         = 256
	idleTimeout     = 30 * time.Second
)

// Config is what a Sender goes by.
type Config struct {
	// AllowPrivate lets events go to private and loopback addresses, and unencrypted.
	AllowPrivate bool
	// Timeout bounds one attempt, sale.AttemptTimeout where it is zero.
	Timeout time.Duration
	Log     *slog.Logger
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	allowPrivate bool
	timeout      time.Duration
	client       *http.Client
	log          *slog.Logger
}

// NewSender makes a Sender that has no connection yet.
func NewSender(cfg Config) *Sender {
	timeout := cmp.Or(cfg.Timeout, sale.AttemptTimeout)
	return &Sender{
		allowPrivate: cfg.AllowPrivate,
		timeout:      timeout,
		log:          cfg.Log,
		client: &http.Client{
			Transport:     newTransport(cfg.AllowPrivate, timeout),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// newTransport bounds each part of an attempt by itself too: a connection goes on being
// made, and one of HTTP/2 stays, when the attempt that asked for it is over.
func newTransport(allowPrivate bool, timeout time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: timeout}
	if !allowPrivate {
		dialer.ControlContext = refusePrivate
	}
	return &http.Transport{
		// No proxy: it would connect in our place, to wherever a name leads it.
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    timeout,
		ResponseHeaderTimeout:  timeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: timeout, PingTimeout: timeout, WriteByteTimeout: timeout},
		MaxIdleConns:           allIdle,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// Close closes the connections that wait for more to send.
func (s *Sender) Close() { s.client.CloseIdleConnections() }

// Send makes one attempt, within the timeout. An answer's status counts as soon as it is
// there, whatever comes of its body. Where the message goes is looked at again: more may
// have been allowed when its endpoint was made.
func (s *Sender) Send(ctx context.Context, message sale.Message) sale.Answer {
	timed, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	request, err := signed(timed, message)
	if err != nil {
		s.log.ErrorContext(ctx, "webhook.unsendable", slog.String("event_id", message.EventID.String()), slog.Any("error", err))
		return sale.Answer{Failure: "cannot be sent"}
	}
	if !s.mayUse(request.URL.Scheme) {
		return sale.Answer{Failure: "the URL is not encrypted"}
	}
	response, err := s.client.Do(request)
	if err != nil {
		answer := sale.Answer{Failure: failure(err)}
		s.log.DebugContext(ctx, "webhook.unanswered",
			slog.String("event_id", message.EventID.String()), slog.String("failure", answer.Failure))
		return answer
	}
	// The answer is known: what fails from here on is nobody's concern.
	_, _ = io.CopyN(io.Discard, response.Body, maxDrained)
	_ = response.Body.Close()
	return sale.Answer{Status: response.StatusCode}
}

func signed(ctx context.Context, message sale.Message) (*http.Request, error) {
	header, err := signature.Header(message.EventID.String(), time.Now(), message.Body, message.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("signing a webhook: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, message.URL, bytes.NewReader(message.Body))
	if err != nil {
		// The error itself has the URL in it, which may hold a secret.
		return nil, errors.New("making a webhook's request: its URL is none")
	}
	header.Set("Content-Type", "application/json")
	header.Set("User-Agent", userAgent)
	request.Header = header
	return request, nil
}

// failure says in a few words why there is no answer. What stands in the error itself
// may be the URL, which may hold a secret of the endpoint's.
func failure(err error) string {
	var slow net.Error
	var lookup *net.DNSError
	var operation *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errPrivate):
		return "the address is not public"
	case errors.As(err, &slow) && slow.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cut off"
	case errors.As(err, &lookup):
		return "the name cannot be resolved"
	case errors.As(err, &operation) && operation.Op == "dial":
		return "cannot connect"
	case errors.As(err, &certificate):
		return "no trusted TLS connection"
	default:
		return "the connection broke"
	}
}
