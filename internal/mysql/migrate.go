package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/go-sql-driver/mysql"
	"github.com/golang-migrate/migrate/v4"
	migratemysql "github.com/golang-migrate/migrate/v4/database/mysql"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/flashsale-api/flashsale/db"
)

// MigrateUp brings the database to the newest version, and gives it.
func MigrateUp(ctx context.Context, dsn string) (uint, error) {
	return migrated(ctx, dsn, (*migrate.Migrate).Up)
}

// MigrateDown takes the last steps migrations back, and gives the version that is
// left. All data of their tables is lost.
func MigrateDown(ctx context.Context, dsn string, steps int) (uint, error) {
	return migrated(ctx, dsn, func(m *migrate.Migrate) error { return m.Steps(-steps) })
}

// MigrationVersion gives the schema's version, 0 for an empty database, and
// whether a migration broke off half way.
func MigrationVersion(ctx context.Context, dsn string) (version uint, dirty bool, err error) {
	m, err := migrator(ctx, dsn)
	if err != nil {
		return 0, false, err
	}
	defer closeMigrator(m, &err)
	return migrationVersion(m)
}

func migrated(ctx context.Context, dsn string, move func(*migrate.Migrate) error) (version uint, err error) {
	m, err := migrator(ctx, dsn)
	if err != nil {
		return 0, err
	}
	defer closeMigrator(m, &err)
	if err := move(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return 0, fmt.Errorf("migrating: %w", err)
	}
	version, _, err = migrationVersion(m)
	return version, err
}

func migrationVersion(m *migrate.Migrate) (uint, bool, error) {
	version, dirty, err := m.Version()
	switch {
	case errors.Is(err, migrate.ErrNilVersion):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("reading the schema's version: %w", err)
	}
	return version, dirty, nil
}

func migrator(ctx context.Context, dsn string) (*migrate.Migrate, error) {
	cfg, err := connector(dsn, patientTimeout, timeoutsFor(DefaultTimeout))
	if err != nil {
		return nil, err
	}
	cfg.MultiStatements = true
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, fmt.Errorf("reading the MySQL DSN: %w", err)
	}
	conn := sql.OpenDB(connector)
	if err := conn.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("reaching MySQL: %w", err), conn.Close())
	}
	target, err := migratemysql.WithInstance(conn, &migratemysql.Config{DatabaseName: cfg.DBName})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the schema's history: %w", err), conn.Close())
	}
	source, err := iofs.New(db.Migrations, "migrations")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the embedded migrations: %w", err), target.Close())
	}
	m, err := migrate.NewWithInstance("embedded", source, cfg.DBName, target)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing to migrate: %w", err), target.Close())
	}
	return m, nil
}

func closeMigrator(m *migrate.Migrate, err *error) {
	sourceErr, targetErr := m.Close()
	*err = errors.Join(*err, sourceErr, targetErr)
}
