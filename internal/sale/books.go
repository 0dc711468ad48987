package sale

// Books are one product's units by where they are, read from one snapshot.
type Books struct {
	ProductID       ProductID
	SKU             string
	StockVersion    int64 // that they were read at
	Available       int64
	Held            int64
	Pending         int64
	Sold            int64
	Total           int64
	LedgerAvailable int64 // the sum of the ledger's deltas
}

// OffSale is the units that are in holds and orders.
func (b Books) OffSale() int64 { return b.Held + b.Pending + b.Sold }

// Balanced is the law of conservation: every unit is in exactly one place, and
// the ledger tells the same.
func (b Books) Balanced() bool { return b.Available >= 0 && b.Imbalance() == 0 }

// Imbalance is by how many units the places miss the total, and the ledger what is
// available, too many or too few alike.
func (b Books) Imbalance() int64 {
	return distance(b.Available+b.OffSale(), b.Total) + distance(b.LedgerAvailable, b.Available)
}

func distance(a, b int64) int64 { return max(a-b, b-a) }
