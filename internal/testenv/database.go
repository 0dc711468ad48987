package testenv

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/db"
	"github.com/flashsale-api/flashsale/internal/mysql"
)

const (
	templatePrefix = "flashsale_template_"
	testPrefix     = "flashsale_test_"
	// migrationsTable is where golang-migrate says how far it has come.
	migrationsTable = "schema_migrations"
	// lockWait is how long other processes may take to migrate the template, in
	// seconds.
	lockWait = 120
	// driver is registered by package mysql.
	driver = "mysql"
)

// schema is what a migrated database consists of, and where it was read.
type schema struct {
	template string
	tables   []string // CREATE TABLE statements, all but the migrations' own
}

// template is the process's answer to 'which schema'; see sharedMySQL.
//
//nolint:gochecknoglobals // the life of the process is the right one
var template = sync.OnceValues(func() (schema, error) {
	dsn, err := sharedMySQL()
	if err != nil {
		return schema{}, err
	}
	return prepare(context.Background(), dsn)
})

// Database gives the DSN of a migrated, empty database of the test's own, which
// is dropped at the test's end.
func Database(tb testing.TB) (dsn string) {
	tb.Helper()
	server, err := sharedMySQL()
	if err != nil {
		tb.Fatal(err)
	}
	schema, err := template()
	if err != nil {
		tb.Fatal(err)
	}
	name := testPrefix + strconv.FormatInt(time.Now().Unix(), 10) + "_" + unique()[:12]
	tb.Cleanup(func() { drop(tb, server, name) })
	admin := openAdmin(tb, server)
	defer func() { require.NoError(tb, admin.Close()) }()
	require.NoError(tb, schema.copyTo(tb.Context(), admin, name))
	dsn, err = mysql.WithDatabase(server, name)
	require.NoError(tb, err)
	return dsn
}

// openAdmin opens a pool without a database and without the service's timeouts,
// which are too short for definitions and locks. It is not kept for the next
// test: tests look for leaked goroutines.
func openAdmin(tb testing.TB, server string) *sql.DB {
	tb.Helper()
	admin, err := admin(server)
	require.NoError(tb, err)
	return admin
}

func admin(server string) (*sql.DB, error) {
	dsn, err := mysql.WithDatabase(server, "")
	if err != nil {
		return nil, fmt.Errorf("take the database out of the DSN: %w", err)
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, fmt.Errorf("open MySQL: %w", err)
	}
	return pool, nil
}

func drop(tb testing.TB, server, name string) {
	tb.Helper()
	ctx, cancel := afterTest(tb)
	defer cancel()
	admin := openAdmin(tb, server)
	defer func() { require.NoError(tb, admin.Close()) }()
	_, err := admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+name)
	require.NoError(tb, err)
}

// prepare migrates the template, unless a process has done so, and drops what
// killed runs left.
func prepare(ctx context.Context, server string) (_ schema, err error) {
	name, err := templateName()
	if err != nil {
		return schema{}, err
	}
	admin, err := admin(server)
	if err != nil {
		return schema{}, err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	unlock, err := lockName(ctx, admin, templatePrefix)
	if err != nil {
		return schema{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := dropLeftovers(ctx, admin); err != nil {
		return schema{}, err
	}
	if err := migrate(ctx, admin, server, name); err != nil {
		return schema{}, err
	}
	return readSchema(ctx, admin, name)
}

// templateName depends on every byte of the migrations.
func templateName() (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(db.Migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := db.Migrations.ReadFile(path)
		hash.Write(fmt.Appendf(nil, "%s %d\n%s", path, len(content), content))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	return templatePrefix + hex.EncodeToString(hash.Sum(nil)[:8]), nil
}

// lockName takes the server's lock of that name, for all processes.
func lockName(ctx context.Context, admin *sql.DB, name string) (unlock func() error, err error) {
	conn, err := admin.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", name, lockWait).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another process does not let go of it")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("take the lock %s: %w", name, err), conn.Close())
	}
	return func() error {
		_, err := conn.ExecContext(ctx, "DO RELEASE_ALL_LOCKS()")
		return errors.Join(err, conn.Close())
	}, nil
}

// migrate makes the template, if it is not there in full.
func migrate(ctx context.Context, admin *sql.DB, server, name string) error {
	dsn, err := mysql.WithDatabase(server, name)
	if err != nil {
		return fmt.Errorf("name the template in the DSN: %w", err)
	}
	var tables int
	err = admin.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
		name, migrationsTable).Scan(&tables)
	if err != nil {
		return fmt.Errorf("look for the template: %w", err)
	}
	if tables > 0 {
		version, dirty, err := mysql.MigrationVersion(ctx, dsn)
		if err == nil && !dirty && version == mysql.LatestVersion() {
			return nil
		}
	}
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + name, "CREATE DATABASE " + name} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	if _, err := mysql.MigrateUp(ctx, dsn); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	return nil
}

// dropLeftovers drops the databases of tests that were killed.
func dropLeftovers(ctx context.Context, admin *sql.DB) error {
	names, err := column(ctx, admin, "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE ?", testPrefix+"%")
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	for _, name := range names {
		made, _, _ := strings.Cut(strings.TrimPrefix(name, testPrefix), "_")
		seconds, err := strconv.ParseInt(made, 10, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)) < leftoverAge {
			continue
		}
		if _, err := admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+name); err != nil {
			return fmt.Errorf("drop the leftover %s: %w", name, err)
		}
	}
	return nil
}

func readSchema(ctx context.Context, admin *sql.DB, name string) (schema, error) {
	read := schema{template: name}
	tables, err := column(ctx, admin,
		"SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE'", name)
	if err != nil {
		return schema{}, fmt.Errorf("list the template's tables: %w", err)
	}
	for _, table := range tables {
		if table == migrationsTable {
			continue
		}
		var create string
		// LIKE would give the constraints other names and leave out foreign keys.
		err := admin.QueryRowContext(ctx, "SHOW CREATE TABLE "+name+"."+table).Scan(&table, &create)
		if err != nil {
			return schema{}, fmt.Errorf("read the table %s: %w", table, err)
		}
		read.tables = append(read.tables, create)
	}
	return read, nil
}

func column(ctx context.Context, admin *sql.DB, query string, args ...any) ([]string, error) {
	rows, err := admin.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var values []string
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, rows.Err()
}

// copyTo makes a database of that name with the template's tables and its
// migration version.
func (s schema) copyTo(ctx context.Context, admin *sql.DB, name string) (err error) {
	conn, err := admin.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	migrations := name + "." + migrationsTable
	statements := append([]string{
		"CREATE DATABASE " + name,
		"USE " + name,
		"SET SESSION foreign_key_checks = 0", // tables come in no order
		"CREATE TABLE " + migrations + " LIKE " + s.template + "." + migrationsTable,
		"INSERT INTO " + migrations + " SELECT * FROM " + s.template + "." + migrationsTable,
	}, s.tables...)
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
