package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/cache"
	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/payment"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// The names of the environment variables.
const (
	EnvAddr                 = envPrefix + "ADDR"
	EnvAdminAddr            = envPrefix + "ADMIN_ADDR"
	EnvMySQLDSN             = envPrefix + "MYSQL_DSN"
	EnvMySQLConnections     = envPrefix + "MYSQL_CONNECTIONS"
	EnvOperationTimeout     = envPrefix + "OPERATION_TIMEOUT"
	EnvRedisURL             = envPrefix + "REDIS_URL"
	EnvWebhookSecrets       = envPrefix + "WEBHOOK_SECRETS"
	EnvStripeWebhookSecrets = envPrefix + "STRIPE_WEBHOOK_SECRETS"
	EnvUnknownOrderStatus   = envPrefix + "UNKNOWN_ORDER_STATUS"
	EnvLatePayment          = envPrefix + "LATE_PAYMENT"
	EnvCoalesce             = envPrefix + "COALESCE"
	EnvSweepInterval        = envPrefix + "SWEEP_INTERVAL"
	EnvWebhookInterval      = envPrefix + "WEBHOOK_INTERVAL"
	EnvWebhookAllowPrivate  = envPrefix + "WEBHOOK_ALLOW_PRIVATE"
	EnvAuditInterval        = envPrefix + "AUDIT_INTERVAL"
	EnvPurgeInterval        = envPrefix + "PURGE_INTERVAL"
	EnvKeepKeys             = envPrefix + "KEEP_KEYS"
	EnvKeepHolds            = envPrefix + "KEEP_HOLDS"
	EnvKeepEvents           = envPrefix + "KEEP_EVENTS"
	EnvLogFormat            = envPrefix + "LOG_FORMAT"
	EnvLogLevel             = envPrefix + "LOG_LEVEL"
	EnvShutdownDelay        = envPrefix + "SHUTDOWN_DELAY"
	EnvAllowWipe            = envPrefix + "ALLOW_WIPE"

	envPrefix = "FLASHSALE_"
	// envTestPrefix is what the tests' own settings start with.
	envTestPrefix = envPrefix + "TEST_"
	envFileSuffix = "_FILE"
)

// defaultAddr is where the API listens, on all addresses of the machine.
const defaultAddr = ":8080"

// Bounds of what can be configured.
const (
	maxConnections = 10_000
	// Below a commit's usual time nothing would succeed; the longest keeps whatever
	// is told within the server's own limit for an answer.
	minOperationTimeout = 100 * time.Millisecond
	maxOperationTimeout = 5 * time.Second
	minSweepInterval    = 10 * time.Millisecond
	// maxSweepInterval keeps units from staying away for longer than anybody
	// would want to wait for them.
	maxSweepInterval = time.Hour
	// defaultWebhookInterval is about what a person takes for at once.
	defaultWebhookInterval = 250 * time.Millisecond
	minWebhookInterval     = 10 * time.Millisecond
	maxWebhookInterval     = time.Hour
	// Of audits and purges.
	minQuietInterval = 100 * time.Millisecond
	maxQuietInterval = 24 * time.Hour
	// minKeep is how long an idempotency key answers, and a hold's id may be one.
	minKeep          = 24 * time.Hour
	maxKeep          = 10 * 365 * 24 * time.Hour
	maxShutdownDelay = 5 * time.Minute
	maxPort          = 65_535
)

// Config is everything that can be configured, checked.
type Config struct {
	Addr                 string // of the API
	AdminAddr            string // of metrics and profiles
	MySQLDSN             string
	MySQLConnections     int
	OperationTimeout     time.Duration // up to its COMMIT
	RedisURL             string        // "": no Redis
	WebhookSecrets       []string
	StripeWebhookSecrets []string
	UnknownOrderStatus   int // 404 or 503
	LatePayment          sale.LatePayment
	Coalesce             bool // what waits at once shares a transaction: holds of one product, orders, payments
	SweepInterval        time.Duration
	WebhookInterval      time.Duration
	WebhookAllowPrivate  bool          // events may go to private and loopback addresses, and unencrypted
	AuditInterval        time.Duration // 0: no audits
	PurgeInterval        time.Duration // 0: no purges
	Keep                 action.Retention
	LogFormat            string // json or text
	LogLevel             string // debug, info, warn or error
	ShutdownDelay        time.Duration
	AllowWipe            bool // the demo may wipe this database
}

// LoadConfig reads the configuration from an environment as os.Environ gives
// it. A variable with an empty value counts as not set. A secret NAME may stand
// in a file that NAME_FILE names. The variables in required must be set. The
// error has one line for each fault, in the order of the fields, and shows no
// secret.
func LoadConfig(environ []string, required ...string) (Config, error) {
	r := newReader(environ)
	cfg := Config{
		Addr:                 r.address(EnvAddr, defaultAddr),
		AdminAddr:            r.address(EnvAdminAddr, "127.0.0.1:9090"),
		MySQLDSN:             r.checked(EnvMySQLDSN, mysql.CheckDSN),
		MySQLConnections:     r.integer(EnvMySQLConnections, 32, 1, maxConnections),
		OperationTimeout:     r.duration(EnvOperationTimeout, mysql.DefaultTimeout, minOperationTimeout, maxOperationTimeout),
		RedisURL:             r.checked(EnvRedisURL, cache.CheckURL),
		WebhookSecrets:       r.list(EnvWebhookSecrets),
		StripeWebhookSecrets: r.list(EnvStripeWebhookSecrets),
		LatePayment: sale.LatePayment(r.oneOf(EnvLatePayment,
			string(sale.LatePaymentRebook), string(sale.LatePaymentRefund))),
		Coalesce:      r.oneOf(EnvCoalesce, "on", "off") == "on",
		SweepInterval: r.duration(EnvSweepInterval, time.Second, minSweepInterval, maxSweepInterval),
		AuditInterval: r.durationOrOff(EnvAuditInterval, time.Minute, minQuietInterval, maxQuietInterval),
		PurgeInterval: r.durationOrOff(EnvPurgeInterval, 10*time.Minute, minQuietInterval, maxQuietInterval),
		Keep: action.Retention{
			Keys:   r.duration(EnvKeepKeys, 48*time.Hour, minKeep, maxKeep),
			Holds:  r.duration(EnvKeepHolds, 720*time.Hour, minKeep, maxKeep),
			Events: r.duration(EnvKeepEvents, 720*time.Hour, minKeep, maxKeep),
		},
		WebhookInterval:     r.duration(EnvWebhookInterval, defaultWebhookInterval, minWebhookInterval, maxWebhookInterval),
		WebhookAllowPrivate: r.oneOf(EnvWebhookAllowPrivate, "false", "true") == "true",
		LogFormat:           r.oneOf(EnvLogFormat, "json", "text"),
		LogLevel:            r.oneOf(EnvLogLevel, "info", "debug", "warn", "error"),
		ShutdownDelay:       r.duration(EnvShutdownDelay, 0, 0, maxShutdownDelay),
		AllowWipe:           r.oneOf(EnvAllowWipe, "false", "true") == "true",
	}
	cfg.UnknownOrderStatus = http.StatusNotFound
	if r.oneOf(EnvUnknownOrderStatus, "404", "503") == "503" {
		cfg.UnknownOrderStatus = http.StatusServiceUnavailable
	}
	r.secrets(EnvWebhookSecrets, payment.Config{StandardSecrets: cfg.WebhookSecrets})
	r.secrets(EnvStripeWebhookSecrets, payment.Config{StripeSecrets: cfg.StripeWebhookSecrets})
	r.requireSet(required)
	r.refuseUnknown()
	return cfg, errors.Join(r.faults...)
}

// LoadAddr reads the API's address alone, checked as LoadConfig does.
func LoadAddr(environ []string) (string, error) {
	r := newReader(environ)
	addr := r.address(EnvAddr, defaultAddr)
	return addr, errors.Join(r.faults...)
}

// reader takes variables out of an environment and collects their faults.
type reader struct {
	values map[string]string
	known  map[string]bool
	faulty map[string]bool
	faults []error
}

func newReader(environ []string) *reader {
	r := &reader{values: map[string]string{}, known: map[string]bool{}, faulty: map[string]bool{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) {
			r.values[name] = value
		}
	}
	return r
}

func (r *reader) fault(name, format string, args ...any) {
	r.faulty[name] = true
	r.faults = append(r.faults, fmt.Errorf("%s: %s", name, fmt.Sprintf(format, args...)))
}

func (r *reader) text(name, fallback string) string {
	r.known[name] = true
	if value := strings.TrimSpace(r.values[name]); value != "" {
		return value
	}
	return fallback
}

// secret reads a variable, or the file that its _FILE variant names.
func (r *reader) secret(name string) string {
	value, file := r.text(name, ""), r.text(name+envFileSuffix, "")
	if file == "" {
		return value
	}
	if value != "" {
		r.fault(name, "it and %s%s are both set; set one", name, envFileSuffix)
		return value
	}
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		r.fault(name+envFileSuffix, "the file cannot be read: %v", withoutPath(err))
		r.faulty[name] = true
		return ""
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		r.fault(name+envFileSuffix, "the file is empty: %s", file)
		r.faulty[name] = true
	}
	return text
}

// withoutPath is the cause of a file's failure. Its path may be the secret itself, given under
// the wrong name.
func withoutPath(err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// list reads a secret that holds several, separated by commas.
func (r *reader) list(name string) []string {
	var items []string
	for item := range strings.SplitSeq(r.secret(name), ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// oneOf reads a word. The first allowed one is what an unset variable means.
func (r *reader) oneOf(name string, allowed ...string) string {
	value := r.text(name, allowed[0])
	if !slices.Contains(allowed, value) {
		r.fault(name, "%q is not one of %s", value, strings.Join(allowed, ", "))
		return allowed[0]
	}
	return value
}

func (r *reader) integer(name string, fallback, least, most int) int {
	value, err := strconv.Atoi(r.text(name, strconv.Itoa(fallback)))
	if err != nil || value < least || value > most {
		r.fault(name, "%q is not a whole number from %d to %d", r.values[name], least, most)
		return fallback
	}
	return value
}

func (r *reader) duration(name string, fallback, least, most time.Duration) time.Duration {
	value, err := time.ParseDuration(r.text(name, fallback.String()))
	if err != nil || value < least || value > most {
		r.fault(name, "%q is not a duration such as 500ms or 2s, from %s to %s", r.values[name], least, most)
		return fallback
	}
	return value
}

// durationOrOff reads a duration that may be 0.
func (r *reader) durationOrOff(name string, fallback, least, most time.Duration) time.Duration {
	if value, err := time.ParseDuration(r.text(name, fallback.String())); err == nil && value == 0 {
		return 0
	}
	return r.duration(name, fallback, least, most)
}

func (r *reader) address(name, fallback string) string {
	value := r.text(name, fallback)
	_, port, err := net.SplitHostPort(value)
	if number, portErr := strconv.Atoi(port); err != nil || portErr != nil || number < 0 || number > maxPort {
		r.fault(name, "%q is not an address such as :8080 or 127.0.0.1:8080", value)
	}
	return value
}

// checked reads a secret that check has to find right, without repeating it.
func (r *reader) checked(name string, check func(string) error) string {
	value := r.secret(name)
	if value == "" {
		return ""
	}
	if err := check(value); err != nil {
		r.fault(name, "%v", err)
	}
	return value
}

func (r *reader) secrets(name string, cfg payment.Config) {
	if _, err := payment.New(cfg); err != nil {
		r.fault(name, "%v", err)
	}
}

func (r *reader) requireSet(names []string) {
	for _, name := range names {
		if !r.faulty[name] && r.text(name, "") == "" && r.text(name+envFileSuffix, "") == "" {
			r.fault(name, "it is required")
		}
	}
}

// refuseUnknown reports what is not read: most likely a slip of the pen.
func (r *reader) refuseUnknown() {
	var unknown []string
	for name := range r.values {
		if !r.known[name] && !strings.HasPrefix(name, envTestPrefix) && !isServiceLink(name, r.values[name]) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		r.fault(name, "there is no such setting")
	}
}

// serviceLink has the names by which Kubernetes tells every container of a Service whose
// own name begins with flashsale, but for NAME_PORT.
var serviceLink = regexp.MustCompile(
	`^FLASHSALE(_[A-Z0-9_]*[A-Z0-9])?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]*[A-Z0-9])?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink says whether Kubernetes set a variable, not a person. Its NAME_PORT is a
// URL; a number there is a slip of the pen.
func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}
