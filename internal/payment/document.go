package payment

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/flashsale-api/flashsale/internal/sale"
	"github.com/flashsale-api/flashsale/internal/signature"
)

// maxDepth bounds how deep a body's values nest; a payment event needs four.
const maxDepth = 64

// checkJSON wants exactly one JSON value in UTF-8, not too deeply nested.
func checkJSON(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return malformed("The body is not UTF-8.")
	case !json.Valid(body):
		return malformed("The body is not JSON.")
	case depth(body) > maxDepth:
		return malformed(fmt.Sprintf("The body nests deeper than %d levels.", maxDepth))
	default:
		return nil
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

// document reads members out of a body that checkJSON passed and gathers
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
	members map[string]json.RawMessage
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

// object reads the named members of raw, which stands at pointer.
func (d *document) object(raw json.RawMessage, pointer string, names ...string) object {
	if !isObject(raw) {
		d.fault(pointer, "must be an object")
		return object{pointer: pointer}
	}
	members := map[string]json.RawMessage{}
	err := eachMember(raw, func(name string, value json.RawMessage) {
		if !slices.Contains(names, name) {
			return
		}
		if _, twice := members[name]; twice {
			d.fault(pointer+"/"+name, "must not be given twice")
		}
		members[name] = value
	})
	if err != nil {
		d.fault(pointer, "must be readable")
		return object{pointer: pointer}
	}
	return object{pointer: pointer, known: true, members: members}
}

// eachMember visits the members of a JSON object in their order.
func eachMember(raw json.RawMessage, visit func(name string, value json.RawMessage)) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("read the opening brace: %w", err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("read a member's name: %w", err)
		}
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("read the member %q: %w", name, err)
		}
		visit(name, value)
	}
	return nil
}

// member reads the named members of in's member name, which must be an object.
func (d *document) member(in object, name string, names ...string) object {
	raw, ok := d.value(in, name)
	if !ok {
		return object{pointer: in.pointer + "/" + name}
	}
	return d.object(raw, in.pointer+"/"+name, names...)
}

func (d *document) value(in object, name string) (json.RawMessage, bool) {
	raw, ok := in.members[name]
	if !ok && in.known {
		d.fault(in.pointer+"/"+name, "is missing")
	}
	return raw, ok
}

// text reads a string that is not empty; "" was reported.
func (d *document) text(in object, name string) string {
	raw, ok := d.value(in, name)
	if !ok {
		return ""
	}
	text, ok := stringOf(raw)
	if !ok || text == "" {
		d.fault(in.pointer+"/"+name, "must be a string that is not empty")
		return ""
	}
	return text
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
	raw, ok := d.value(in, name)
	if !ok {
		return 0
	}
	amount, err := strconv.ParseUint(string(raw), 10, 63)
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

func isObject(raw json.RawMessage) bool {
	return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))
}

func stringOf(raw json.RawMessage) (string, bool) {
	if !bytes.HasPrefix(raw, []byte(`"`)) {
		return "", false
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}
