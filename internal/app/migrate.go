package app

import (
	"context"

	"github.com/flashsale-api/flashsale/internal/mysql"
)

// Schema is how far a database is migrated.
type Schema struct {
	Version uint `json:"version"`
	Latest  uint `json:"latest"`
	Dirty   bool `json:"dirty"` // a migration stopped half-way
}

// MigrateUp brings the database to the newest version.
func MigrateUp(ctx context.Context, cfg Config) (Schema, error) {
	version, err := mysql.MigrateUp(ctx, cfg.MySQLDSN)
	return Schema{Version: version, Latest: mysql.LatestVersion()}, err
}

// MigrateDown takes back the last steps migrations and the data in them.
func MigrateDown(ctx context.Context, cfg Config, steps int) (Schema, error) {
	version, err := mysql.MigrateDown(ctx, cfg.MySQLDSN, steps)
	return Schema{Version: version, Latest: mysql.LatestVersion()}, err
}

// ReadSchema tells how far the database is migrated, and changes nothing.
func ReadSchema(ctx context.Context, cfg Config) (Schema, error) {
	version, dirty, err := mysql.MigrationVersion(ctx, cfg.MySQLDSN)
	return Schema{Version: version, Latest: mysql.LatestVersion(), Dirty: dirty}, err
}
