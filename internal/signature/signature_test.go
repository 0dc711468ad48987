package signature_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/signature"
)

func TestEachNewSecretIsAnotherAndIsOneThatCanBeRead(t *testing.T) {
	one, other := signature.NewSecret(), signature.NewSecret()
	assert.NotEqual(t, one, other)
	key, err := signature.Key(one)
	require.NoError(t, err)
	assert.Len(t, key, 32)
}

func TestEachOfSeveralSecretsVerifiesAMessage(t *testing.T) {
	now, body := time.Now(), []byte(`{"type":"order.paid"}`)
	present, previous := signature.NewSecret(), signature.NewSecret()
	header, err := signature.Header("evt_1", now, body, present, previous)
	require.NoError(t, err)
	assert.Len(t, strings.Fields(header.Get(signature.HeaderSignature)), 2)
	for secret, right := range map[string]bool{present: true, previous: true, signature.NewSecret(): false} {
		verifier, err := payment.New(payment.Config{StandardSecrets: []string{secret}})
		require.NoError(t, err)
		_, err = verifier.Verify(header, body, now)
		assert.Equal(t, right, err == nil)
	}
}

func TestAFaultySecretOrIDIsNamedAndTheSecretNotShown(t *testing.T) {
	for _, secret := range []string{"", "hidden", "whsec_hidden!", "whsec_aGlkZGVu"} {
		_, err := signature.Header("evt_1", time.Now(), nil, secret)
		require.ErrorContains(t, err, "webhook secret")
		assert.NotContains(t, err.Error(), "hidden")
	}
	for _, id := range []string{"", "two words", strings.Repeat("x", 256)} {
		_, err := signature.Header(id, time.Now(), nil, signature.NewSecret())
		require.ErrorContains(t, err, "webhook id")
	}
}
