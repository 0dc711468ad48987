package httpapi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/flashsale-api/flashsale/internal/sale"
)

const (
	// maxFaults bounds the list of one answer; a request that has more of them
	// was not meant for this API.
	maxFaults = 100

	// minYear and maxYear are what the database can keep.
	minYear, maxYear = 1000, 9999
)

// appendFaults adds what err says is wrong with the value at base, in words of
// the contract. err is a validation's; schema is the value's.
func appendFaults(faults []sale.FieldError, base string, schema *openapi3.Schema, err error) []sale.FieldError {
	if len(faults) >= maxFaults {
		return faults
	}
	var several openapi3.MultiError
	var fault *openapi3.SchemaError
	switch {
	case errors.As(err, &several):
		for _, one := range several {
			faults = appendFaults(faults, base, schema, one)
		}
		return faults
	case errors.As(err, &fault):
		return appendSchemaFault(faults, base, fault)
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return append(faults, sale.FieldError{Pointer: base, Detail: "is required"})
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return append(faults, sale.FieldError{Pointer: base, Detail: "must not be empty"})
	default:
		return append(faults, sale.FieldError{Pointer: base, Detail: "must be " + typeName(schema)})
	}
}

func appendSchemaFault(faults []sale.FieldError, base string, fault *openapi3.SchemaError) []sale.FieldError {
	pointer := base
	for _, token := range fault.JSONPointer() {
		pointer += "/" + escapePointer(token)
	}
	if fault.SchemaField == "properties" {
		return appendUnknownMembers(faults, pointer, fault)
	}
	return append(faults, sale.FieldError{Pointer: pointer, Detail: explain(fault)})
}

// appendUnknownMembers names every member of an object that its schema does not
// know. The validation reports each on its own, with the whole object.
func appendUnknownMembers(faults []sale.FieldError, parent string, fault *openapi3.SchemaError) []sale.FieldError {
	members, _ := fault.Value.(map[string]any)
	var unknown []string
	for name := range members {
		if fault.Schema.Properties[name] == nil {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		found := sale.FieldError{Pointer: parent + "/" + escapePointer(name), Detail: "is not a member of this object"}
		if len(faults) >= maxFaults || slices.Contains(faults, found) {
			return faults
		}
		faults = append(faults, found)
	}
	return faults
}

// explain says which rule of the schema a value breaks.
func explain(fault *openapi3.SchemaError) string {
	schema := fault.Schema
	switch fault.SchemaField {
	case "required":
		return "is required"
	case "type":
		return "must be " + typeName(schema)
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of " + list(schema.Enum)
	case "not":
		return "must not be " + list(schema.Not.Value.Enum)
	case "minimum":
		return "must be at least " + decimal(schema.Min)
	case "maximum":
		return "must be at most " + decimal(schema.Max)
	case "minLength":
		return fmt.Sprintf("must have at least %s", plural(schema.MinLength, "character"))
	case "maxLength":
		return fmt.Sprintf("must have at most %s", plural(*schema.MaxLength, "character"))
	case "minItems":
		return fmt.Sprintf("must have at least %s", plural(schema.MinItems, "item"))
	case "maxItems":
		return fmt.Sprintf("must have at most %s", plural(*schema.MaxItems, "item"))
	case "pattern":
		return "must match " + schema.Pattern
	case "format":
		return explainFormat(schema.Format)
	default:
		return "does not follow the contract"
	}
}

func explainFormat(format string) string {
	switch format {
	case "date-time":
		return fmt.Sprintf("must be an RFC 3339 time in the years %d to %d", minYear, maxYear)
	case "int64":
		return "must be an integer of 64 bits"
	default:
		return "must have the format " + format
	}
}

// checkTime accepts the times that RFC 3339 and the database both know.
func checkTime(text string) error {
	var t time.Time
	if err := t.UnmarshalText([]byte(text)); err != nil {
		return errors.New("no RFC 3339 time")
	}
	if year := t.UTC().Year(); year < minYear || year > maxYear {
		return errors.New("out of range")
	}
	return nil
}

func typeName(schema *openapi3.Schema) string {
	names := make([]string, 0, 1)
	for _, name := range schema.Type.Slice() {
		article := "a "
		if strings.ContainsRune("aio", rune(name[0])) {
			article = "an "
		}
		names = append(names, article+name)
	}
	return strings.Join(names, " or ")
}

func list(values []any) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = fmt.Sprint(value)
	}
	return strings.Join(texts, ", ")
}

func decimal(bound *float64) string { return strconv.FormatFloat(*bound, 'f', -1, 64) }

func plural(count uint64, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return strconv.FormatUint(count, 10) + " " + noun + "s"
}

// escapePointer makes a member's name a token of a JSON Pointer (RFC 6901).
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
