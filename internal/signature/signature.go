// Package signature makes the signatures of Standard Webhooks, of what comes in and of
// what goes out.
package signature

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed message.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// MaxID is the longest id of a message, in bytes.
const MaxID = 255

const (
	secretPrefix = "whsec_"
	minKey       = 24 // bytes, as Standard Webhooks asks
	newKey       = 32 // bytes
	separator    = " "
)

// NewSecret makes a secret that nobody can guess.
func NewSecret() string {
	key := make([]byte, newKey)
	rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// Key reads a secret. The error says what is wrong with it, without showing it.
func Key(secret string) ([]byte, error) {
	encoded, found := strings.CutPrefix(secret, secretPrefix)
	if !found {
		return nil, errors.New("it must begin with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("what follows %s must be base64", secretPrefix)
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("it holds %d bytes, want at least %d", len(key), minKey)
	}
	return key, nil
}

// IsID says whether a text can be a message's id: 1 to MaxID visible ASCII characters.
func IsID(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= MaxID
}

// Of is the signature that a key gives a message.
func Of(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Header gives the headers with which a message is sent at now, signed with each
// secret, of which there is at least one. The error says what is wrong with a secret or
// the id, without showing the secret.
func Header(id string, now time.Time, body []byte, secrets ...string) (http.Header, error) {
	if !IsID(id) {
		return nil, fmt.Errorf("webhook id: want 1 to %d visible ASCII characters", MaxID)
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		key, err := Key(secret)
		if err != nil {
			return nil, fmt.Errorf("webhook secret: %w", err)
		}
		signatures[i] = Of(key, id, timestamp, body)
	}
	header := http.Header{}
	header.Set(HeaderID, id)
	header.Set(HeaderTimestamp, timestamp)
	header.Set(HeaderSignature, strings.Join(signatures, separator))
	return header, nil
}
