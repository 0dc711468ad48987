package apitest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/flashsale-api/flashsale/gen/client"
)

// sighting is one answer.
type sighting struct {
	operation string
	status    int
	code      client.ProblemCode // "" of a success
}

// Record is what a run has seen answered. A nil one forgets.
type Record struct {
	mu   sync.Mutex
	seen map[sighting]bool
}

// NewRecord makes an empty one.
func NewRecord() *Record { return &Record{seen: map[sighting]bool{}} }

func (r *Record) add(seen sighting) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[seen] = true
}

// Missing lists, sorted, what the contract documents and nobody has seen: statuses
// of operations, and codes.
func (r *Record) Missing() ([]string, error) {
	contract, err := readContract()
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, item := range contract.doc.Paths.Map() {
		for _, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				open[operation.OperationID+" "+status] = true
			}
		}
	}
	for _, code := range contract.doc.Components.Schemas["ProblemCode"].Value.Enum {
		open[fmt.Sprintf("code %v", code)] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for seen := range r.seen {
		delete(open, seen.operation+" "+strconv.Itoa(seen.status))
		delete(open, "code "+string(seen.code))
	}
	return slices.Sorted(maps.Keys(open)), nil
}
