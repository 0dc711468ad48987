package payment

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// maxDepth bounds how deep a body's values nest; a payment event needs four.
const maxDepth = 64

// parse wants exactly one JSON value in UTF-8, not too deeply nested.
func parse(body []byte) (gjson.Result, error) {
	switch {
	case !utf8.Valid(body):
		return gjson.Result{}, malformed("The body is not UTF-8.")
	case !json.Valid(body):
		return gjson.Result{}, malformed("The body is not JSON.")
	case depth(body) > maxDepth:
		return gjson.Result{}, malformed(fmt.Sprintf("The body nests deeper than %d levels.", maxDepth))
	default:
		return gjson.ParseBytes(body), nil
	}
}

// depth is how deep the arrays and objects of valid JSON nest.
func depth(body []byte) int {
	open, deepest, quoted := 0, 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

// document reads members out of a body that parse passed and gathers
// everything that is wrong with them. Unlike encoding/json it takes names
// exactly as they are written and refuses a member that is given twice: what
// was signed has one reading only.
type document struct {
	faults []sale.FieldError
}

// object is those members of a JSON object that were asked for. It is known
// only if the value was an object; an unknown one was reported, so its members
// are not.
type object struct {
	pointer string
	known   bool
	members map[string]gjson.Result
}

func (d *document) fault(pointer, detail string) {
	d.faults = append(d.faults, sale.FieldError{Pointer: pointer, Detail: detail})
}

// result is event, or all that was gathered against it.
func (d *document) result(event sale.PaymentEvent) (sale.PaymentEvent, error) {
	if len(d.faults) == 0 {
		return event, nil
	}
	err := sale.Invalid(d.faults[0].Pointer, d.faults[0].Detail)
	err.Fields = d.faults
	return sale.PaymentEvent{}, err
}

// object reads the named members of value, which stands at pointer.
func (d *document) object(value gjson.Result, pointer string, names ...string) object {
	if !value.IsObject() {
		d.fault(pointer, "must be an object")
		return object{pointer: pointer}
	}
	members := make(map[string]gjson.Result, len(names))
	value.ForEach(func(key, value gjson.Result) bool {
		name := key.String()
		if !slices.Contains(names, name) {
			return true
		}
		if _, twice := members[name]; twice {
			d.fault(pointer+"/"+name, "must not be given twice")
		}
		members[name] = value
		return true
	})
	return object{pointer: pointer, known: true, members: members}
}

// member reads the named members of in's member name, which must be an object.
func (d *document) member(in object, name string, names ...string) object {
	value, ok := d.value(in, name)
	if !ok {
		return object{pointer: in.pointer + "/" + name}
	}
	return d.object(value, in.pointer+"/"+name, names...)
}

func (d *document) value(in object, name string) (gjson.Result, bool) {
	value, ok := in.members[name]
	if !ok && in.known {
		d.fault(in.pointer+"/"+name, "is missing")
	}
	return value, ok
}

// text reads a string that is not empty; "" was reported.
func (d *document) text(in object, name string) string {
	value, ok := d.value(in, name)
	if !ok {
		return ""
	}
	if value.Type != gjson.String || value.Str == "" {
		d.fault(in.pointer+"/"+name, "must be a string that is not empty")
		return ""
	}
	return value.Str
}

func (d *document) eventID(in object, name string) string {
	text := d.text(in, name)
	if text != "" && !signature.IsID(text) {
		d.fault(in.pointer+"/"+name, fmt.Sprintf("must be 1 to %d visible ASCII characters", signature.MaxID))
	}
	return text
}

func (d *document) paymentID(in object, name string) string {
	text := d.text(in, name)
	if len(text) > signature.MaxID {
		d.fault(in.pointer+"/"+name, fmt.Sprintf("must be 1 to %d bytes", signature.MaxID))
	}
	return text
}

func (d *document) orderID(in object, name string) sale.OrderID {
	text := d.text(in, name)
	id, err := sale.ParseOrderID(text)
	if text != "" && err != nil {
		d.fault(in.pointer+"/"+name, "must be an order's id")
	}
	return id
}

// amount reads minor units: digits and nothing else, so that no reader can take
// a fraction or an exponent for another sum.
func (d *document) amount(in object, name string) int64 {
	value, ok := d.value(in, name)
	if !ok {
		return 0
	}
	amount, err := strconv.ParseUint(value.Raw, 10, 63)
	if err != nil || amount > sale.MaxAmount {
		d.fault(in.pointer+"/"+name, fmt.Sprintf("must be an integer from 0 to %d", sale.MaxAmount))
		return 0
	}
	return int64(amount)
}

func (d *document) currency(in object, name string) string {
	text := d.text(in, name)
	if text != "" && !isCurrency(text) {
		d.fault(in.pointer+"/"+name, "must be a currency of 3 upper-case letters")
	}
	return text
}

func isCurrency(text string) bool {
	for i := range len(text) {
		if text[i] < 'A' || text[i] > 'Z' {
			return false
		}
	}
	return len(text) == 3
}
