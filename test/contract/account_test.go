package contract

import (
	"context"
	"crypto/rand"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/mysql"
	"github.com/flashsale-api/flashsale/internal/testenv"
)

// account is a MySQL account of the test's own. While it is locked, it keeps its
// connections and gets no new ones.
type account struct {
	admin *mysql.DB
	name  string
	dsn   string // of the same database, as this account
}

var dsnCredentials = regexp.MustCompile(`^[^@]*@`)

func newAccount(t *testing.T, dsn string) *account {
	t.Helper()
	admin, err := mysql.Open(mysql.Config{DSN: dsn, Connections: 1, Timeout: testenv.Timeout, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, admin.Close()) })
	name, password := "test"+strings.ToLower(rand.Text()[:16]), rand.Text()
	a := &account{admin: admin, name: name, dsn: dsnCredentials.ReplaceAllString(dsn, name+":"+password+"@")}
	a.run(t.Context(), t, "CREATE USER "+name+" IDENTIFIED BY '"+password+"'")
	t.Cleanup(func() { a.run(context.WithoutCancel(t.Context()), t, "DROP USER "+name) })
	a.run(t.Context(), t, "GRANT ALL ON *.* TO "+name)
	return a
}

func (a *account) run(ctx context.Context, t *testing.T, statement string) {
	t.Helper()
	_, err := a.admin.SQL().ExecContext(ctx, statement)
	require.NoError(t, err)
}

func (a *account) lock(t *testing.T) {
	t.Helper()
	a.run(t.Context(), t, "ALTER USER "+a.name+" ACCOUNT LOCK")
}

func (a *account) unlock(t *testing.T) {
	t.Helper()
	a.run(t.Context(), t, "ALTER USER "+a.name+" ACCOUNT UNLOCK")
}
