package sale

import (
	"bytes"
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrMalformedID says that a text or a database value is not an id of the
// wanted kind.
var ErrMalformedID = errors.New("malformed id")

const (
	idBytes    = 16
	idTextLen  = 26
	crockford  = "0123456789abcdefghjkmnpqrstvwxyz"
	timeBytes  = 6 // of milliseconds, at an id's start
	homeOffset = idBytes - homeBytes
	// homeBytes is how much of its home product's id a hold's id ends with.
	homeBytes = 2
)

// noDigit stands for characters outside of the alphabet.
const noDigit = 0xff

// digits are what the characters of the alphabet stand for.
var digits = func() (values [256]byte) {
	for i := range values {
		values[i] = noDigit
	}
	for value, char := range []byte(crockford) {
		values[char] = byte(value)
	}
	return values
}()

// kind names what an id stands for, so that the compiler keeps a product's id
// out of a hold's place.
type kind interface{ prefix() string }

type (
	productKind  struct{}
	holdKind     struct{}
	orderKind    struct{}
	eventKind    struct{}
	endpointKind struct{}
)

func (productKind) prefix() string  { return "prod_" }
func (holdKind) prefix() string     { return "hold_" }
func (orderKind) prefix() string    { return "ord_" }
func (eventKind) prefix() string    { return "evt_" }
func (endpointKind) prefix() string { return "whe_" }

// ID is a UUIDv7 that knows what it names. Its text is the kind's prefix and 26
// characters of lower-case Crockford base32; its database value is BINARY(16).
type ID[K kind] [idBytes]byte

type (
	// ProductID names a product.
	ProductID = ID[productKind]
	// HoldID names a hold and its lines.
	HoldID = ID[holdKind]
	// OrderID names an order.
	OrderID = ID[orderKind]
	// EventID names an event of the outbox.
	EventID = ID[eventKind]
	// EndpointID names an endpoint that events are sent to.
	EndpointID = ID[endpointKind]
)

// NewProductID makes an id that no other maker gives.
func NewProductID() ProductID { return ProductID(newUUIDv7()) }

// NewEventID makes an id that no other maker gives.
func NewEventID() EventID { return EventID(newUUIDv7()) }

// NewEndpointID makes an id that no other maker gives.
func NewEndpointID() EndpointID { return EndpointID(newUUIDv7()) }

// NewHoldID makes the id of a hold that lives with home, the lowest of its
// products' ids: the last two bytes are home's, so a row can be routed by its
// id alone when tables are one day sharded by product.
func NewHoldID(home ProductID) HoldID {
	id := newUUIDv7()
	copy(id[homeOffset:], home[homeOffset:])
	return HoldID(id)
}

// IsHoldIDFor says whether a caller may give id to a new hold on home: it must
// be a UUIDv7 and end as home does.
func IsHoldIDFor(id HoldID, home ProductID) bool {
	return id[6]>>4 == 7 && id[8]>>6 == 0b10 && bytes.Equal(id[homeOffset:], home[homeOffset:])
}

// LastOrderID is no order's id: all of them come before it.
func LastOrderID() OrderID {
	var id OrderID
	for i := range id {
		id[i] = 0xff
	}
	return id
}

// HoldIDsUntil bounds the ids of holds that were made up to an instant, by their
// makers' clocks: all of them are less.
func HoldIDsUntil(t time.Time) HoldID { return HoldID(firstUUIDv7After(t)) }

// EventIDsUntil bounds the ids of events that were made up to an instant: all of them
// are less.
func EventIDsUntil(t time.Time) EventID { return EventID(firstUUIDv7After(t)) }

func firstUUIDv7After(t time.Time) [idBytes]byte {
	var id [idBytes]byte
	stamp(&id, t.UnixMilli()+1)
	return id
}

// OrderOf is the id of the order that a hold becomes: the same 16 bytes, so
// that the primary key keeps a hold from becoming two orders.
func OrderOf(hold HoldID) OrderID { return OrderID(hold) }

// HoldOf is the id of the hold that an order came from.
func HoldOf(order OrderID) HoldID { return HoldID(order) }

func newUUIDv7() [idBytes]byte {
	var id [idBytes]byte
	rand.Read(id[timeBytes:])
	stamp(&id, time.Now().UnixMilli())
	return asUUIDv7(id)
}

// asUUIDv7 sets the bits that say what form of UUID it is.
func asUUIDv7(id [idBytes]byte) [idBytes]byte {
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// stamp writes the time that an id begins with.
func stamp(id *[idBytes]byte, unixMilli int64) {
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(unixMilli)) //nolint:gosec // after 1970
	copy(id[:timeBytes], millis[len(millis)-timeBytes:])
}

// malformedID is a text that is no id of the kind with this prefix. It is put into words only
// where it is read: most keys of requests are tried as ids and are none.
type malformedID string

func (wanted malformedID) Error() string {
	return fmt.Sprintf("%s: want %s and %d characters of %s", ErrMalformedID, string(wanted), idTextLen, crockford)
}

func (malformedID) Unwrap() error { return ErrMalformedID }

// ParseID reads an id's text. It returns ErrMalformedID for another kind's
// prefix, a wrong length or a character outside of the alphabet.
func ParseID[K kind](text string) (ID[K], error) {
	var id ID[K]
	var k K
	body, found := strings.CutPrefix(text, k.prefix())
	if !found || len(body) != idTextLen || body[0] > '7' {
		return id, malformedID(k.prefix())
	}
	var high, low uint64
	for i := range len(body) {
		digit := digits[body[i]]
		if digit == noDigit {
			return id, malformedID(k.prefix())
		}
		high = high<<5 | low>>59
		low = low<<5 | uint64(digit)
	}
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint64(id[8:], low)
	return id, nil
}

// ParseProductID reads a product's id; see ParseID.
func ParseProductID(text string) (ProductID, error) { return ParseID[productKind](text) }

// ParseHoldID reads a hold's id; see ParseID.
func ParseHoldID(text string) (HoldID, error) { return ParseID[holdKind](text) }

// ParseOrderID reads an order's id; see ParseID.
func ParseOrderID(text string) (OrderID, error) { return ParseID[orderKind](text) }

// ParseEventID reads an event's id; see ParseID.
func ParseEventID(text string) (EventID, error) { return ParseID[eventKind](text) }

// ParseEndpointID reads an endpoint's id; see ParseID.
func ParseEndpointID(text string) (EndpointID, error) { return ParseID[endpointKind](text) }

// String is the id as clients see it.
func (id ID[K]) String() string {
	var k K
	prefix := k.prefix()
	text := make([]byte, len(prefix)+idTextLen)
	copy(text, prefix)
	high, low := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	for i := len(text) - 1; i >= len(prefix); i-- {
		text[i] = crockford[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return string(text)
}

// Time is when the id was made, by its maker's clock, to the millisecond.
func (id ID[K]) Time() time.Time {
	var millis [8]byte
	copy(millis[len(millis)-timeBytes:], id[:timeBytes])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(millis[:]))) //nolint:gosec // 48 bits
}

// IsZero says that no id was given.
func (id ID[K]) IsZero() bool { return id == ID[K]{} }

// Compare orders ids as the database does.
func (id ID[K]) Compare(other ID[K]) int { return bytes.Compare(id[:], other[:]) }

// MarshalText is String for encoders.
func (id ID[K]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID for decoders.
func (id *ID[K]) UnmarshalText(text []byte) error {
	parsed, err := ParseID[K](string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Value gives the database the id's 16 bytes.
func (id ID[K]) Value() (driver.Value, error) { return id[:], nil }

// Scan takes 16 bytes from the database.
func (id *ID[K]) Scan(src any) error {
	raw, ok := src.([]byte)
	if !ok || len(raw) != idBytes {
		return fmt.Errorf("%w: want %d bytes from the database, got %T", ErrMalformedID, idBytes, src)
	}
	copy(id[:], raw)
	return nil
}
