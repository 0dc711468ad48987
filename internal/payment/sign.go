package payment

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

const headerStripe = "Stripe-Signature"

// SignStripe gives the header with which Stripe sends body at now.
func SignStripe(secret string, now time.Time, body []byte) http.Header {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	header := http.Header{}
	header.Set(headerStripe, stripeTimestamp+timestamp+","+stripeSignature([]byte(secret), timestamp, body))
	return header
}

func stripeSignature(key []byte, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "v1=" + hex.EncodeToString(mac.Sum(nil))
}
