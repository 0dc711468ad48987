package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	dsn    = "FLASHSALE_MYSQL_DSN=flashsale:hidden-password@tcp(mysql:3306)/flashsale"
	secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

func TestAnEmptyEnvironmentMeansTheDocumentedDefaults(t *testing.T) {
	t.Parallel()
	cfg, err := app.LoadConfig([]string{"PATH=/bin", dsn}, app.EnvMySQLDSN)
	require.NoError(t, err)
	assert.Equal(t, app.Config{
		Addr:               ":8080",
		AdminAddr:          "127.0.0.1:9090",
		MySQLDSN:           "flashsale:hidden-password@tcp(mysql:3306)/flashsale",
		MySQLConnections:   32,
		OperationTimeout:   1200 * time.Millisecond,
		UnknownOrderStatus: 404,
		LatePayment:        sale.LatePaymentRebook,
		Coalesce:           true,
		SweepInterval:      time.Second,
		WebhookInterval:    250 * time.Millisecond,
		AuditInterval:      time.Minute,
		PurgeInterval:      10 * time.Minute,
		Keep:               action.Retention{Keys: 48 * time.Hour, Holds: 720 * time.Hour, Events: 720 * time.Hour},
		LogFormat:          "json",
		LogLevel:           "info",
	}, cfg)
}

func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	cfg, err := app.LoadConfig([]string{
		dsn,
		"FLASHSALE_ADDR=127.0.0.1:0",
		"FLASHSALE_ADMIN_ADDR=:9999",
		"FLASHSALE_MYSQL_CONNECTIONS=7",
		"FLASHSALE_OPERATION_TIMEOUT=2s",
		"FLASHSALE_REDIS_URL=redis://redis:6379/1",
		"FLASHSALE_WEBHOOK_SECRETS= " + secret + " , " + secret,
		"FLASHSALE_STRIPE_WEBHOOK_SECRETS=whsec_stripe",
		"FLASHSALE_UNKNOWN_ORDER_STATUS=503",
		"FLASHSALE_LATE_PAYMENT=refund",
		"FLASHSALE_COALESCE=off",
		"FLASHSALE_SWEEP_INTERVAL=250ms",
		"FLASHSALE_WEBHOOK_INTERVAL=2s",
		"FLASHSALE_WEBHOOK_ALLOW_PRIVATE=true",
		"FLASHSALE_AUDIT_INTERVAL=5m",
		"FLASHSALE_PURGE_INTERVAL=1h",
		"FLASHSALE_KEEP_KEYS=24h",
		"FLASHSALE_KEEP_HOLDS=25h",
		"FLASHSALE_KEEP_EVENTS=26h",
		"FLASHSALE_LOG_FORMAT=text",
		"FLASHSALE_LOG_LEVEL=debug",
		"FLASHSALE_SHUTDOWN_DELAY=3s",
		"FLASHSALE_ALLOW_WIPE=true",
	})
	require.NoError(t, err)
	assert.Equal(t, app.Config{
		Addr:                 "127.0.0.1:0",
		AdminAddr:            ":9999",
		MySQLDSN:             "flashsale:hidden-password@tcp(mysql:3306)/flashsale",
		MySQLConnections:     7,
		OperationTimeout:     2 * time.Second,
		RedisURL:             "redis://redis:6379/1",
		WebhookSecrets:       []string{secret, secret},
		StripeWebhookSecrets: []string{"whsec_stripe"},
		UnknownOrderStatus:   503,
		LatePayment:          sale.LatePaymentRefund,
		SweepInterval:        250 * time.Millisecond,
		WebhookInterval:      2 * time.Second,
		WebhookAllowPrivate:  true,
		AuditInterval:        5 * time.Minute,
		PurgeInterval:        time.Hour,
		Keep:                 action.Retention{Keys: 24 * time.Hour, Holds: 25 * time.Hour, Events: 26 * time.Hour},
		LogFormat:            "text",
		LogLevel:             "debug",
		ShutdownDelay:        3 * time.Second,
		AllowWipe:            true,
	}, cfg)
}

func TestAuditsAndPurgesCanBeOff(t *testing.T) {
	t.Parallel()
	cfg, err := app.LoadConfig([]string{"FLASHSALE_AUDIT_INTERVAL=0", "FLASHSALE_PURGE_INTERVAL=0s"})
	require.NoError(t, err)
	assert.Zero(t, cfg.AuditInterval)
	assert.Zero(t, cfg.PurgeInterval)
}

func TestEachFaultIsNamedByItsVariable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	tests := map[string]struct{ variable, fault string }{
		"an address without a port":       {"FLASHSALE_ADDR=localhost", "FLASHSALE_ADDR:"},
		"a port that is none":             {"FLASHSALE_ADMIN_ADDR=:99999", "FLASHSALE_ADMIN_ADDR:"},
		"a DSN that is none":              {"FLASHSALE_MYSQL_DSN=hidden-password", "FLASHSALE_MYSQL_DSN:"},
		"a DSN without a database":        {"FLASHSALE_MYSQL_DSN=flashsale:hidden-password@tcp(mysql:3306)/", "FLASHSALE_MYSQL_DSN:"},
		"no connections":                  {"FLASHSALE_MYSQL_CONNECTIONS=0", "FLASHSALE_MYSQL_CONNECTIONS:"},
		"a number that is none":           {"FLASHSALE_MYSQL_CONNECTIONS=many", "FLASHSALE_MYSQL_CONNECTIONS:"},
		"a Redis that is none":            {"FLASHSALE_REDIS_URL=http://hidden-password@redis", "FLASHSALE_REDIS_URL:"},
		"a Redis at no place":             {"FLASHSALE_REDIS_URL=redis://:hidden-password@", "FLASHSALE_REDIS_URL:"},
		"a Redis database that is none":   {"FLASHSALE_REDIS_URL=redis://:hidden-password@redis:6379/hidden-password", "FLASHSALE_REDIS_URL:"},
		"a Redis path that is too deep":   {"FLASHSALE_REDIS_URL=redis://redis:6379/0/hidden-password", "FLASHSALE_REDIS_URL:"},
		"a Redis option that is none":     {"FLASHSALE_REDIS_URL=redis://redis:6379?db=hidden-password", "FLASHSALE_REDIS_URL:"},
		"a secret of another form":        {"FLASHSALE_WEBHOOK_SECRETS=hidden-password", "FLASHSALE_WEBHOOK_SECRETS:"},
		"a status that is not offered":    {"FLASHSALE_UNKNOWN_ORDER_STATUS=500", "FLASHSALE_UNKNOWN_ORDER_STATUS:"},
		"a policy that is not offered":    {"FLASHSALE_LATE_PAYMENT=keep", "FLASHSALE_LATE_PAYMENT:"},
		"a switch that is neither":        {"FLASHSALE_COALESCE=true", "FLASHSALE_COALESCE:"},
		"a duration without a unit":       {"FLASHSALE_SWEEP_INTERVAL=5", "FLASHSALE_SWEEP_INTERVAL:"},
		"a sweep without a pause":         {"FLASHSALE_SWEEP_INTERVAL=0s", "FLASHSALE_SWEEP_INTERVAL:"},
		"an audit without a pause":        {"FLASHSALE_AUDIT_INTERVAL=1ns", "FLASHSALE_AUDIT_INTERVAL:"},
		"a key that would not answer":     {"FLASHSALE_KEEP_KEYS=23h", "FLASHSALE_KEEP_KEYS:"},
		"a hold whose id would not":       {"FLASHSALE_KEEP_HOLDS=23h", "FLASHSALE_KEEP_HOLDS:"},
		"a delay that is negative":        {"FLASHSALE_SHUTDOWN_DELAY=-1s", "FLASHSALE_SHUTDOWN_DELAY:"},
		"a format that is not offered":    {"FLASHSALE_LOG_FORMAT=xml", "FLASHSALE_LOG_FORMAT:"},
		"a level that is not offered":     {"FLASHSALE_LOG_LEVEL=loud", "FLASHSALE_LOG_LEVEL:"},
		"an answer that is neither":       {"FLASHSALE_ALLOW_WIPE=yes", "FLASHSALE_ALLOW_WIPE:"},
		"a file that is not there":        {"FLASHSALE_REDIS_URL_FILE=" + missing, "FLASHSALE_REDIS_URL_FILE:"},
		"a secret in place of its file":   {"FLASHSALE_MYSQL_DSN_FILE=flashsale:hidden-password@tcp(mysql:3306)/flashsale", "FLASHSALE_MYSQL_DSN_FILE: the file cannot be read: no such file or directory"},
		"a name with a slip of the pen":   {"FLASHSALE_ADR=:8080", "FLASHSALE_ADR: there is no such setting"},
		"a file variant of what has none": {"FLASHSALE_ADDR_FILE=/etc/addr", "FLASHSALE_ADDR_FILE: there is no such setting"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := app.LoadConfig([]string{test.variable})
			require.ErrorContains(t, err, test.fault)
			assert.Len(t, strings.Split(err.Error(), "\n"), 1, "one fault, one line")
			assert.NotContains(t, err.Error(), "hidden-password")
		})
	}
}

func TestAllFaultsAreToldAtOnceEachOnItsOwnLine(t *testing.T) {
	t.Parallel()
	_, err := app.LoadConfig([]string{
		"FLASHSALE_LOG_LEVEL=loud", "FLASHSALE_ADDR=here", "FLASHSALE_ZZZ=1", "FLASHSALE_AAA=1",
	}, app.EnvMySQLDSN, app.EnvWebhookSecrets)
	require.Error(t, err)
	var names []string
	for line := range strings.Lines(err.Error()) {
		name, _, _ := strings.Cut(line, ":")
		names = append(names, name)
	}
	assert.Equal(t, []string{
		"FLASHSALE_ADDR", "FLASHSALE_LOG_LEVEL", "FLASHSALE_MYSQL_DSN", "FLASHSALE_WEBHOOK_SECRETS",
		"FLASHSALE_AAA", "FLASHSALE_ZZZ",
	}, names)
}

func TestTheTestsOwnVariablesAreNoFault(t *testing.T) {
	t.Parallel()
	_, err := app.LoadConfig([]string{"FLASHSALE_TEST_MYSQL_DSN=root@tcp(mysql)/", dsn})
	require.NoError(t, err)
}

func TestLinksThatKubernetesSetsAreNoSettings(t *testing.T) {
	t.Parallel()
	const unknown = "there is no such setting"
	tests := map[string]string{
		"FLASHSALE_SERVICE_HOST=10.96.0.7":              "",
		"FLASHSALE_SERVICE_PORT=8080":                   "",
		"FLASHSALE_SERVICE_PORT_HTTP_ADMIN=9090":        "",
		"FLASHSALE_PORT=tcp://10.96.0.7:8080":           "",
		"FLASHSALE_PORT_8080_TCP=tcp://10.96.0.7:8080":  "",
		"FLASHSALE_PORT_8080_TCP_PROTO=tcp":             "",
		"FLASHSALE_PORT_8080_TCP_PORT=8080":             "",
		"FLASHSALE_PORT_8080_TCP_ADDR=10.96.0.7":        "",
		"FLASHSALE_PORT_53_UDP=udp://10.96.0.7:53":      "",
		"FLASHSALE_API_SERVICE_HOST=10.96.0.7":          "",
		"FLASHSALE__API_V2_SERVICE_PORT=8080":           "",
		"FLASHSALE_API_PORT=tcp://10.96.0.7:8080":       "",
		"FLASHSALE_API_PORT_9132_SCTP_ADDR=10.96.0.7":   "",
		"FLASHSALE_PORT=8080":                           unknown,
		"FLASHSALE_API_PORT=8080":                       unknown,
		"FLASHSALE_PORT=":                               unknown,
		"FLASHSALE_PORTS=tcp://10.96.0.7:8080":          unknown,
		"FLASHSALE_PORT_HTTP=8080":                      unknown,
		"FLASHSALE_PORT_8080_TCP_HOST=10.96.0.7":        unknown,
		"FLASHSALE_PORT_8080_HTTP=tcp://10.96.0.7:8080": unknown,
		"FLASHSALE_SERVICE=10.96.0.7":                   unknown,
		"FLASHSALE_SERVICE_HOSTS=10.96.0.7":             unknown,
		"FLASHSALE__SERVICE_HOST=10.96.0.7":             unknown,
		"FLASHSALE_api_SERVICE_HOST=10.96.0.7":          unknown,
		"FLASHSALE_REDIS_URI=tcp://10.96.0.7:6379":      unknown,
		"FLASHSALE_ADDR=10.96.0.7":                      "FLASHSALE_ADDR: ",
		"FLASHSALE_MYSQL_SERVICE_PORT_=3306":            unknown,
		"FLASHSALE_MYSQL_PORT_TCP=tcp://10.96.0.7:3306": unknown,
	}
	for variable, fault := range tests {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()
			_, err := app.LoadConfig([]string{variable})
			if fault == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, fault)
		})
	}
}

func TestTheAddressIsReadByItself(t *testing.T) {
	t.Parallel()
	missing := "FLASHSALE_MYSQL_DSN_FILE=" + filepath.Join(t.TempDir(), "missing")
	addr, err := app.LoadAddr([]string{missing, "FLASHSALE_ADDR=10.0.0.5:80", "FLASHSALE_LOG_LEVEL=loud"})
	require.NoError(t, err)
	assert.Equal(t, "10.0.0.5:80", addr)
	addr, err = app.LoadAddr(nil)
	require.NoError(t, err)
	assert.Equal(t, ":8080", addr)
	_, err = app.LoadAddr([]string{"FLASHSALE_ADDR=localhost"})
	require.ErrorContains(t, err, "FLASHSALE_ADDR: ")
}

func TestASecretCanStandInAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	cfg, err := app.LoadConfig([]string{"FLASHSALE_WEBHOOK_SECRETS_FILE=" + file}, app.EnvWebhookSecrets)
	require.NoError(t, err)
	assert.Equal(t, []string{secret}, cfg.WebhookSecrets)
}

func TestASecretThatIsSetTwiceIsAFault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(secret), 0o600))
	_, err := app.LoadConfig([]string{"FLASHSALE_WEBHOOK_SECRETS_FILE=" + file, "FLASHSALE_WEBHOOK_SECRETS=" + secret})
	require.ErrorContains(t, err, "FLASHSALE_WEBHOOK_SECRETS: it and")
}

func TestAnEmptySecretFileIsOneFault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := app.LoadConfig([]string{"FLASHSALE_MYSQL_DSN_FILE=" + file}, app.EnvMySQLDSN)
	require.ErrorContains(t, err, "FLASHSALE_MYSQL_DSN_FILE: the file is empty")
	assert.NotContains(t, err.Error(), "\n")
}

func TestTheExampleEnvironmentIsWithoutFault(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "..", ".env.example"))
	require.NoError(t, err)
	var environ []string
	for line := range strings.Lines(string(content)) {
		// A setting without a default stands there as a comment.
		line = strings.TrimPrefix(strings.TrimSpace(line), "# ")
		if name, _, set := strings.Cut(line, "="); set && strings.HasPrefix(line, "FLASHSALE_") && !strings.Contains(name, " ") {
			environ = append(environ, line)
		}
	}
	require.NotEmpty(t, environ)
	_, err = app.LoadConfig(environ)
	require.NoError(t, err)
}
