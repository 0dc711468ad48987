package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/flashsale-api/flashsale/internal/app"
	"github.com/flashsale-api/flashsale/internal/sale"
)

func (sh *shell) audit() *cobra.Command {
	var asJSON, repair, yes bool
	cmd := &cobra.Command{
		Use:   "audit [product id ...]",
		Short: "Prove that every unit is accounted for, or exit 1",
		Long: `Prove from one consistent snapshot that for each product (all of them when none is
named) available + held + pending + sold = total, and that the ledger's sum is
what is available.

With --repair, say for each product that is out of balance what is wrong and what
would set it right, going by its lines: available becomes the total less what is
off sale, and a movement of the reason 'repaired' makes the ledger's sum that. Only
--yes does it, product by product, each in one transaction that counts the lines
anew under the product's lock; sales go on. A product with more units off sale than
its total is not repaired: a person has to decide.

Exit codes: 0 every product is in balance, or is since --yes; 1 a product is out of
balance and was not repaired, or the audit failed; 2 wrong usage or configuration.`,
		Example: `  flashsale audit
  flashsale audit --json prod_01k0xw3v7be6v8r1q2t3y4z5a6
  flashsale audit --repair
  flashsale audit --repair --yes prod_01k0xw3v7be6v8r1q2t3y4z5a6`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := parseProductIDs(args)
			if err != nil {
				return err
			}
			switch {
			case repair:
				return sh.runRepair(cmd.Context(), ids, yes, asJSON)
			case yes:
				return usagef("--yes says that a repair is to be done: it needs --repair")
			}
			return sh.runAudit(cmd.Context(), ids, asJSON)
		},
	}
	cmd.Flags().BoolVar(&repair, "repair", false, "explain what would set unbalanced books right")
	cmd.Flags().BoolVar(&yes, "yes", false, "with --repair: do it")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func parseProductIDs(args []string) ([]sale.ProductID, error) {
	ids := make([]sale.ProductID, len(args))
	for i, arg := range args {
		id, err := sale.ParseProductID(arg)
		if err != nil {
			return nil, usagef("%q is not a product id: %w", arg, err)
		}
		ids[i] = id
	}
	return ids, nil
}

func (sh *shell) runAudit(ctx context.Context, ids []sale.ProductID, asJSON bool) error {
	cfg, err := sh.config(app.EnvMySQLDSN)
	if err != nil {
		return err
	}
	core, err := sh.openCore(ctx, cfg)
	if err != nil {
		return err
	}
	books, err := core.Actions.Audit.Do(ctx, ids...)
	if err = errors.Join(err, core.Close()); err != nil {
		return fmt.Errorf("auditing: %w", err)
	}
	return sh.showBooks(books, asJSON)
}

// showBooks prints the books, and fails when they do not balance.
func (sh *shell) showBooks(books []sale.Books, asJSON bool) error {
	show := sh.printBooks
	if asJSON {
		show = sh.printBooksJSON
	}
	if err := show(books); err != nil {
		return err
	}
	drifted := 0
	for _, b := range books {
		if !b.Balanced() {
			drifted++
		}
	}
	if drifted > 0 {
		return fmt.Errorf("%d of %d products are out of balance", drifted, len(books))
	}
	return nil
}

func (sh *shell) printBooks(books []sale.Books) error {
	table := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	rows := "PRODUCT\tSKU\tAVAILABLE\tHELD\tPENDING\tSOLD\tTOTAL\tLEDGER\tBALANCED\n"
	for _, b := range books {
		rows += fmt.Sprintf("%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", b.ProductID, b.SKU,
			b.Available, b.Held, b.Pending, b.Sold, b.Total, b.LedgerAvailable, yesNo(b.Balanced()))
	}
	if _, err := table.Write([]byte(rows)); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// booksJSON is a product's audit for a machine.
type booksJSON struct {
	ProductID       sale.ProductID `json:"product_id"`
	SKU             string         `json:"sku"`
	Available       int64          `json:"available"`
	Held            int64          `json:"held"`
	Pending         int64          `json:"pending"`
	Sold            int64          `json:"sold"`
	Total           int64          `json:"total"`
	LedgerAvailable int64          `json:"ledger_available"`
	Balanced        bool           `json:"balanced"`
}

func (sh *shell) printBooksJSON(books []sale.Books) error {
	list := make([]booksJSON, len(books))
	for i, b := range books {
		list[i] = booksForJSON(b)
	}
	return sh.printJSON(list)
}

func booksForJSON(b sale.Books) booksJSON {
	return booksJSON{
		ProductID: b.ProductID, SKU: b.SKU, Available: b.Available, Held: b.Held, Pending: b.Pending,
		Sold: b.Sold, Total: b.Total, LedgerAvailable: b.LedgerAvailable, Balanced: b.Balanced(),
	}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
