// Package payment knows how payment providers sign and what they say: bytes in,
// a verified sale.PaymentEvent out. Nothing parses a body before its signature
// verified.
package payment

import (
	"crypto/hmac"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

const (
	// MaxBody bounds a webhook's body, in bytes.
	MaxBody = 64 << 10
	// Tolerance is how far a signature's timestamp may be from now, either way:
	// a captured request can't be sent again later.
	Tolerance = 5 * time.Minute

	timestampBits = 40 // Unix seconds for the next 34,000 years, far from overflow
)

// Config is what senders share with us. Several secrets of one sender are valid
// at once, so that they can be rotated; a sender without secrets is refused.
type Config struct {
	StandardSecrets []string // "whsec_" and base64 of at least 24 bytes
	StripeSecrets   []string // used as they are written
}

// Verifier tells true payment events from others. It is safe for concurrent use.
type Verifier struct {
	standardKeys [][]byte
	stripeKeys   [][]byte
}

// New makes a Verifier. Its errors name a faulty secret by its place, counted
// from 1, and never show it.
func New(cfg Config) (*Verifier, error) {
	v := &Verifier{}
	for i, secret := range cfg.StandardSecrets {
		key, err := signature.Key(secret)
		if err != nil {
			return nil, fmt.Errorf("webhook secret %d: %w", i+1, err)
		}
		v.standardKeys = append(v.standardKeys, key)
	}
	for i, secret := range cfg.StripeSecrets {
		if secret == "" {
			return nil, fmt.Errorf("stripe webhook secret %d: it is empty", i+1)
		}
		v.stripeKeys = append(v.stripeKeys, []byte(secret))
	}
	return v, nil
}

// Verify reads an event whose signature, found in header, is right for body at
// now. The headers alone say who the sender is. An error is always a
// *sale.Error: CodeInvalidSignature for whatever was not verified, then
// CodeMalformed for what is no JSON, then CodeInvalidRequest with Fields.
func (v *Verifier) Verify(header http.Header, body []byte, now time.Time) (sale.PaymentEvent, error) {
	if len(body) > MaxBody {
		return sale.PaymentEvent{}, malformed(fmt.Sprintf("The body is larger than %d bytes.", MaxBody))
	}
	standard, stripe := hasStandardHeaders(header), len(header.Values(headerStripe)) > 0
	switch {
	case standard && stripe:
		return sale.PaymentEvent{}, unverified("The request is ambiguous: it has the signature headers of two senders.")
	case standard:
		return v.verifyStandard(header, body, now)
	case stripe:
		return v.verifyStripe(header, body, now)
	default:
		return sale.PaymentEvent{}, unverified("The request is not signed.")
	}
}

// only gives the one value of a header.
func only(header http.Header, name string) (string, error) {
	values := header.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", unverified("The header " + name + " must be given exactly once.")
	}
	return values[0], nil
}

func checkTimestamp(text string, now time.Time) error {
	seconds, err := strconv.ParseUint(text, 10, timestampBits)
	if err != nil {
		return unverified("The signature's timestamp is not a number of seconds since 1970.")
	}
	if distance := now.Sub(time.Unix(int64(seconds), 0)); distance.Abs() > Tolerance {
		return unverified(fmt.Sprintf("The signature's timestamp is more than %v from the server's clock.", Tolerance))
	}
	return nil
}

// checkSignatures wants one of the elements of a header to be what one of the
// keys gives. The texts are compared, not what they decode to: each signature
// has one spelling only.
func checkSignatures(keys [][]byte, header, separator string, sign func(key []byte) string) error {
	if len(keys) == 0 {
		return unverified("No secret of this sender is configured.")
	}
	for _, key := range keys {
		want := []byte(sign(key))
		for signature := range strings.SplitSeq(header, separator) {
			if hmac.Equal([]byte(signature), want) {
				return nil
			}
		}
	}
	return unverified("No signature is right for this body.")
}

func unverified(detail string) error { return sale.Fail(sale.CodeInvalidSignature, detail) }

func malformed(detail string) error { return sale.Fail(sale.CodeMalformed, detail) }
