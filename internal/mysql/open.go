// Package mysql opens the database, runs transactions and sorts its errors. It is
// the only importer of the driver.
package mysql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/flashsale-api/flashsale/db"
)

const (
	// dialTimeout bounds the making of a connection.
	dialTimeout = time.Second
	// patientTimeout bounds a statement that reads whole tables. The server itself
	// ends it then; it would not notice that nobody waits any more.
	patientTimeout = time.Minute
	// patientConnections is how many of those may run at once: one for each loop and
	// for the audits that are asked for, so that none keeps the sweep waiting.
	patientConnections = 6
	// proofConnections are one for a doubt of the server and one for readiness. To
	// abandon a transaction takes one for moments.
	proofConnections = 2
	// connectionLifetime spreads reconnects, so that a failover is followed.
	connectionLifetime = 4 * time.Minute
	// idleLifetime is shorter than the server's wait_timeout below: the pool never
	// hands out a connection that the server has just closed.
	idleLifetime = 20 * time.Second
	// IdleLimit is how long the server keeps a connection on which nothing comes, and with it
	// the locks of a process that hangs.
	IdleLimit = 30 * time.Second
	// defaultConnections is the pool's size when none is configured.
	defaultConnections = 32
)

// sessionVariables are set on every connection. A half-open connection must not
// keep a hot row for hours, hence wait_timeout; and a statement that nobody waits for
// any more must not stay in a lock's queue, hence innodb_lock_wait_timeout. The server looks at
// all waits once a second, so one may end that much later: see DB.abandon.
func sessionVariables(deadlines timeouts) map[string]string {
	return map[string]string{
		"time_zone":                "'+00:00'",
		"transaction_isolation":    "'READ-COMMITTED'",
		"sql_mode":                 "'TRADITIONAL,ONLY_FULL_GROUP_BY'",
		"innodb_lock_wait_timeout": inSeconds(deadlines.lock),
		"wait_timeout":             inSeconds(IdleLimit),
	}
}

func inSeconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// ErrNotMigrated says that the database's schema is not this program's.
var ErrNotMigrated = errors.New("the database is not migrated to this version")

// Config says where the database is.
type Config struct {
	DSN         string // as the driver takes it: user:password@tcp(host:port)/name
	Connections int    // of the pool; 0: the default, 32
	// Timeout is how long an operation may take up to its COMMIT; 0: DefaultTimeout.
	Timeout time.Duration
	Log     *slog.Logger
	// Committed is told how long the server took for a COMMIT; nil: nobody is.
	Committed func(took time.Duration)
}

// DB is a pool of connections to one MySQL database.
type DB struct {
	pool    *sql.DB
	patient *sql.DB
	proof   *sql.DB // connections that are never busy, to ask whether the server answers
	log     *slog.Logger
	doubt   doubt
	space   space

	timeouts  timeouts
	committed func(took time.Duration)
}

// Open makes a pool. No server has to run yet: connections are made on demand. It
// fails on a DSN that cannot be read, without repeating it, since it may hold a
// password.
func Open(cfg Config) (*DB, error) {
	deadlines := timeoutsFor(cmp.Or(cfg.Timeout, DefaultTimeout))
	quick, err := connector(cfg.DSN, deadlines.answer, deadlines)
	if err != nil {
		return nil, err
	}
	patient, err := connector(cfg.DSN, patientTimeout+deadlines.answer, deadlines)
	if err != nil {
		return nil, err
	}
	patient.Params["max_execution_time"] = strconv.FormatInt(patientTimeout.Milliseconds(), 10)
	if cfg.Committed == nil {
		cfg.Committed = func(time.Duration) {}
	}
	return &DB{
		pool:      pool(quick, cmp.Or(cfg.Connections, defaultConnections)),
		patient:   pool(patient, patientConnections),
		proof:     pool(quick, proofConnections),
		log:       cfg.Log,
		doubt:     doubt{limit: deadlines.proof},
		space:     space{pause: deadlines.room},
		timeouts:  deadlines,
		committed: cfg.Committed,
	}, nil
}

// CheckDSN says why Open would refuse a DSN, without repeating it.
func CheckDSN(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

func parseDSN(dsn string) (*mysql.Config, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("the MySQL DSN cannot be read: want user:password@tcp(host:port)/database")
	}
	if cfg.DBName == "" {
		return nil, errors.New("the MySQL DSN names no database")
	}
	return cfg, nil
}

func connector(dsn string, readTimeout time.Duration, deadlines timeouts) (*mysql.Config, error) {
	cfg, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	cfg.ParseTime = true
	cfg.Loc = time.UTC
	cfg.InterpolateParams = true
	cfg.ClientFoundRows = false
	cfg.MultiStatements = false
	cfg.Timeout = dialTimeout
	cfg.ReadTimeout = readTimeout
	cfg.WriteTimeout = deadlines.answer
	cfg.RejectReadOnly = true
	cfg.Logger = &mysql.NopLogger{}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	maps.Copy(cfg.Params, sessionVariables(deadlines))
	return cfg, nil
}

func pool(cfg *mysql.Config, connections int) *sql.DB {
	// NewConnector fails only on a configuration that ParseDSN refuses.
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		panic(fmt.Sprintf("mysql: a parsed DSN was refused: %v", err))
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(connections)
	pool.SetMaxIdleConns(connections)
	pool.SetConnMaxIdleTime(idleLifetime)
	pool.SetConnMaxLifetime(connectionLifetime)
	return pool
}

// Close closes all connections.
func (db *DB) Close() error {
	return errors.Join(db.pool.Close(), db.patient.Close(), db.proof.Close())
}

// SQL is the pool itself, for what is outside of the service's own queries:
// statistics, the stress command's own table.
func (db *DB) SQL() *sql.DB { return db.pool }

// Ping says whether the server answers.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.pool.PingContext(ctx); err != nil {
		return fmt.Errorf("pinging MySQL: %w", err)
	}
	return nil
}

// probe says whether the server answers, however busy the pool is.
func (db *DB) probe(ctx context.Context) error {
	if err := db.proof.PingContext(ctx); err != nil {
		return fmt.Errorf("probing MySQL: %w", err)
	}
	return nil
}

// Ready gives the schema's version when the server answers and has this program's
// schema, or a newer one, however busy the pool is. It returns ErrNotMigrated when that is
// older or half made.
func (db *DB) Ready(ctx context.Context) (uint, error) {
	var version uint
	var dirty bool
	row := db.proof.QueryRowContext(ctx, "SELECT version, dirty FROM schema_migrations LIMIT 1")
	switch err := row.Scan(&version, &dirty); {
	case errors.Is(err, sql.ErrNoRows) || isServerError(err, noSuchTable):
		return 0, ErrNotMigrated
	case err != nil:
		return 0, fmt.Errorf("reading the schema's version: %w", err)
	case dirty || version < LatestVersion():
		return version, fmt.Errorf("%w: at version %d of %d (half made: %t)", ErrNotMigrated, version, LatestVersion(), dirty)
	}
	return version, nil
}

// WithDatabase gives the DSN of another database on the same server, of none for
// an empty name.
func WithDatabase(dsn, name string) (string, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "", errors.New("the MySQL DSN cannot be read")
	}
	cfg.DBName = name
	return cfg.FormatDSN(), nil
}

// LatestVersion is the newest migration's number.
func LatestVersion() uint {
	entries, err := db.Migrations.ReadDir("migrations")
	if err != nil {
		return 0
	}
	var latest uint
	for _, entry := range entries {
		var number uint
		if _, err := fmt.Sscanf(entry.Name(), "%d_", &number); err == nil && number > latest {
			latest = number
		}
	}
	return latest
}
