package httpapi

import (
	"bytes"
	"context"
	"sync"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// maxPlaces bounds the lines of holds that are served at once. Half of it, which one product
// gets, is as many as the engine serves in a tenth of a second or so. More would not be
// served sooner, and each that waits or is read in vain takes processor time from those that are.
const maxPlaces = 2048

// places are where requests for holds are served, one for each of their lines. A product may
// have as many as are left free: the crowd of one product half of all, those of two a third
// each once those have left who came before the second. So the crowd of a product whose row
// somebody else holds leaves room to whoever comes for another one, but not for the others
// that are in its own baskets. A request takes its places when all of it has come and is found
// right: one whose body comes slowly, or not at all, keeps nobody else out.
type places struct {
	mu    sync.Mutex
	taken int
	by    map[sale.ProductID]int
}

func newPlaces() *places { return &places{by: map[sale.ProductID]int{}} }

// refuses says that a request with this body, nil where it is not known, would find no place.
func (p *places) refuses(body []byte) bool {
	if !p.crowded() {
		return false
	}
	id, found := firstProduct(body)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken >= maxPlaces || found && !p.room(id)
}

// crowded says that so many places are taken as one product needs to have no room.
func (p *places) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken >= maxPlaces/2
}

// room says whether a product may have one more place. The caller holds the mutex.
func (p *places) room(id sale.ProductID) bool { return p.by[id] < maxPlaces-p.taken }

// take is false when some product has no room, or so many places are not free.
func (p *places) take(products []sale.ProductID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken+len(products) > maxPlaces {
		return false
	}
	for _, id := range products {
		if !p.room(id) {
			return false
		}
	}
	for _, id := range products {
		p.by[id]++
	}
	p.taken += len(products)
	return true
}

func (p *places) leave(products []sale.ProductID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range products {
		if p.by[id]--; p.by[id] == 0 {
			delete(p.by, id)
		}
	}
	p.taken -= len(products)
}

// admitted are operations whose requests for holds take places.
type admitted struct {
	server.StrictServerInterface
	places *places
	meter  Meter
}

// usualLines is how many lines most holds have at most.
const usualLines = 4

// CreateHold gives a request its places. Of those that came in together while the door was
// open to them, some may find no place here.
func (a admitted) CreateHold(ctx context.Context, request server.CreateHoldRequestObject) (server.CreateHoldResponseObject, error) {
	products := make([]sale.ProductID, 0, usualLines)
	for _, line := range request.Body.Lines {
		if id, err := sale.ParseProductID(line.ProductID); err == nil { // else the operation says so
			products = append(products, id)
		}
	}
	if !a.places.take(products) {
		a.meter.HoldRejected(sale.CodeOverloaded)
		return nil, overcrowded()
	}
	defer a.places.leave(products)
	return a.StrictServerInterface.CreateHold(ctx, request) //nolint:wrapcheck // it is the operation's own
}

// firstProduct finds the product of a hold's first line in its body without reading it all: a
// member's name is not found in a text, where its quotes would be escaped, and after which no
// colon comes. What is written in an unusual way is not found at all.
func firstProduct(body []byte) (sale.ProductID, bool) {
	_, rest, found := bytes.Cut(body, []byte(`"product_id"`))
	rest, colon := bytes.CutPrefix(bytes.TrimLeft(rest, jsonSpace), []byte(":"))
	rest, quote := bytes.CutPrefix(bytes.TrimLeft(rest, jsonSpace), []byte(`"`))
	text, _, end := bytes.Cut(rest, []byte(`"`))
	if !found || !colon || !quote || !end {
		return sale.ProductID{}, false
	}
	id, err := sale.ParseProductID(string(text))
	return id, err == nil
}

const jsonSpace = " \t\r\n"
