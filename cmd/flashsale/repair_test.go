package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/demo"
)

func TestAuditExplainsARepairAndDoesItOnlyWhenTold(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	setup := decode[demo.Document](t, run(t, settings, "demo", "setup", "--wipe", "--json"))
	hot, other := setup.Products[0].ID, setup.Products[1].ID
	nothing := run(t, settings, "audit", "--repair")
	assert.Equal(t, exitFine, nothing.code, nothing.err)
	assert.Contains(t, nothing.out, "nothing to repair")

	_, err := db.ExecContext(t.Context(), "UPDATE products SET available_stock = available_stock - 4 WHERE id = ?", hot)
	require.NoError(t, err)
	explained := run(t, settings, "audit", "--repair")
	assert.Equal(t, exitFailed, explained.code)
	assert.Contains(t, explained.out, hot.String())
	assert.Contains(t, explained.out, "= 6 of a total of 10: 4 too few.")
	assert.Contains(t, explained.out, "movements come to 10, available is 6: 4 too many.")
	assert.Contains(t, explained.out, "would set available to 10, the total less 0 off sale, and write a movement of +0.")
	assert.Contains(t, explained.err, "products that stay out of balance: 1; --repair --yes sets them right")
	assert.NotContains(t, explained.out, other.String())
	assert.Equal(t, exitFailed, run(t, settings, "audit").code, "nothing was done yet")

	assert.Equal(t, exitFine, run(t, settings, "audit", "--repair", "--yes", other.String()).code, "another product")
	assert.Equal(t, exitFailed, run(t, settings, "audit").code)
	done := run(t, settings, "audit", "--repair", "--yes")
	assert.Equal(t, exitFine, done.code, done.err)
	assert.Contains(t, done.out, "Repaired: available is 10")
	assert.Equal(t, exitFine, run(t, settings, "audit").code)
}

func TestAuditLeavesAnOversoldProductToAPersonAndRepairsTheOthers(t *testing.T) {
	t.Parallel()
	settings, db := database(t)
	setup := decode[demo.Document](t, run(t, settings, "demo", "setup", "--wipe", "--json"))
	for _, change := range []string{
		"UPDATE hold_lines SET quantity = 3 WHERE state = 'sold'", // of a product of one unit
		"UPDATE products SET available_stock = available_stock - 4 WHERE available_stock = 10",
	} {
		_, err := db.ExecContext(t.Context(), change)
		require.NoError(t, err)
	}
	r := run(t, settings, "audit", "--repair", "--yes", "--json")
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.err, "products that stay out of balance: 1; that have sold more than there is: 1, a person has to decide")
	list := decode[[]repairJSON](t, r)
	require.Len(t, list, 2)
	for _, one := range list {
		hot := one.ProductID == setup.Products[0].ID
		assert.Equal(t, hot, one.Repaired)
		assert.Equal(t, hot, one.Oversold == 0)
	}
	said := run(t, settings, "audit", "--repair", "--yes")
	assert.Equal(t, exitFailed, said.code)
	assert.Contains(t, said.out, "Not repaired: 3 units are off sale, 2 more than there are.")
	assert.Contains(t, run(t, settings, "audit").err, "1 of 6 products")
}

func TestYesAloneIsAMistake(t *testing.T) {
	t.Parallel()
	settings, _ := database(t)
	r := run(t, settings, "audit", "--yes")
	assert.Equal(t, exitUsage, r.code)
	assert.Contains(t, r.err, "needs --repair")
}
