// Package db carries the migrations inside the binary.
package db

import "embed"

// Migrations are golang-migrate's files, in the folder "migrations".
//
//go:embed migrations/*.sql
var Migrations embed.FS
