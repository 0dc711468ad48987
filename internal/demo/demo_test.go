package demo_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/demo"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

const secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func TestWipeEmptiesEveryTableThatTheMigrationsMake(t *testing.T) {
	t.Parallel()
	db, err := mysql.Open(mysql.Config{DSN: testenv.Database(t), Connections: 2, Log: testenv.Logger(t)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	var before []string
	rows, err := db.SQL().QueryContext(t.Context(), `SELECT table_name FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name <> 'schema_migrations' ORDER BY table_name`)
	require.NoError(t, err)
	defer func() { assert.NoError(t, rows.Close()) }()
	for rows.Next() {
		var table string
		require.NoError(t, rows.Scan(&table))
		before = append(before, table)
	}
	require.NoError(t, rows.Err())
	assert.ElementsMatch(t, before, demo.Tables())
}

func TestACurlLineIsOneLineAndQuotesWhatTheShellWouldRead(t *testing.T) {
	t.Parallel()
	request := demo.Request{
		Method: http.MethodPost, URL: "http://localhost:8080/api/holds?a=b&c=$d",
		Headers: []demo.Header{{Name: "X-Note", Value: "it's"}}, Body: `{"a":"$HOME"}`,
	}
	assert.Equal(t, `curl -i -X POST 'http://localhost:8080/api/holds?a=b&c=$d' -H 'X-Note: it'\''s' -d '{"a":"$HOME"}'`,
		request.Curl())
}

func TestACurlLineOfAStreamEndsByItself(t *testing.T) {
	t.Parallel()
	request := demo.Request{Method: http.MethodGet, URL: "http://localhost:8080/events", Seconds: 2}
	assert.Equal(t, "curl -i -N --max-time 2 'http://localhost:8080/events'", request.Curl())
}

func TestABaseURLIsAnAddressAndNothingMore(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"http://localhost:8080", "https://sale.example", "http://localhost:8080/"} {
		require.NoError(t, demo.CheckBaseURL(good), good)
	}
	for _, bad := range []string{"", "localhost:8080", "ftp://host", "http://", "http://host/api", "http://host?a=b", "http://host#a", "://"} {
		require.Error(t, demo.CheckBaseURL(bad), bad)
	}
}

func TestADemoWebhookIsOneThatTheServerBelieves(t *testing.T) {
	t.Parallel()
	now := time.Now()
	order := sale.OrderOf(sale.NewHoldID(sale.NewProductID()))
	total := sale.Money{Amount: 4200, Currency: "USD"}
	verifier, err := payment.New(payment.Config{StandardSecrets: []string{secret}})
	require.NoError(t, err)
	kinds := []sale.PaymentKind{sale.PaymentSucceeded, sale.PaymentFailed, sale.PaymentRefunded}
	for i, kind := range demo.WebhookTypes() {
		request, err := demo.Webhook{EventID: "evt_1", Type: kind, OrderID: order, Amount: total}.Sign("http://host", secret, now)
		require.NoError(t, err)
		assert.Equal(t, "http://host/api/payments/webhook", request.URL)
		header := http.Header{}
		for _, h := range request.Headers {
			header.Set(h.Name, h.Value)
		}
		event, err := verifier.Verify(header, []byte(request.Body), now)
		require.NoError(t, err)
		assert.Equal(t, sale.PaymentEvent{
			Provider: sale.ProviderStandard, ID: "evt_1", Kind: kinds[i], OrderID: order,
			PaymentID: "pay_" + order.String(), Amount: total,
		}, event)
	}
}

func TestTheStoryNamesEachStatusAboveItsLine(t *testing.T) {
	t.Parallel()
	opts := demo.Options{
		BaseURL: "http://localhost:8080", AdminURL: "http://localhost:9090", WebhookSecret: secret, UnknownOrderStatus: 404,
	}
	chapters, err := demo.Tell(demo.Scene{}, opts, time.Now())
	require.NoError(t, err)
	lines := strings.Split(demo.Text(demo.Scene{}, chapters, opts), "\n")
	count := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "curl ") {
			count++
			assert.Regexp(t, `^# .*: [1-5][0-9]{2}$`, lines[i-1])
		}
	}
	requests := len(demo.Describe(demo.Scene{}, chapters).Requests)
	assert.Equal(t, requests, count)
	assert.Greater(t, count, 40)
}

func TestAStoryWithoutAUsableSecretIsNotTold(t *testing.T) {
	t.Parallel()
	_, err := demo.Tell(demo.Scene{}, demo.Options{WebhookSecret: "whsec_!"}, time.Now())
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "whsec_!")
}
