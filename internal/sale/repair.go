package sale

// Repair is what makes a product's books balance, going by its lines: they say where
// the units are that are off sale, and the rest of the total is available.
type Repair struct {
	Books              // as they are
	NewAvailable int64 // 0 where Oversold is more
	LedgerDelta  int64 // of the movement that makes the ledger's sum NewAvailable
	Oversold     int64 // units off sale that are not in the total: no repair, a person has to decide
}

// Repair says what would make the books balance.
func (b Books) Repair() Repair {
	if over := b.OffSale() - b.Total; over > 0 {
		return Repair{Books: b, Oversold: over}
	}
	available := b.Total - b.OffSale()
	return Repair{Books: b, NewAvailable: available, LedgerDelta: available - b.LedgerAvailable}
}

// Possible says whether the books can be repaired without inventing anything.
func (r Repair) Possible() bool { return r.Oversold == 0 }
