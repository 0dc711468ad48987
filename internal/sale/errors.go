package sale

import (
	"time"
)

// Code is the stable name of a failure, as clients see it.
type Code string

// The codes. The contract says when each is given.
const (
	CodeProductNotFound  Code = "product_not_found"
	CodeHoldNotFound     Code = "hold_not_found"
	CodeOrderNotFound    Code = "order_not_found"
	CodeEndpointNotFound Code = "endpoint_not_found"
	CodeInvalidRequest   Code = "invalid_request"
	CodeMixedCurrency    Code = "mixed_currency"
	CodeSaleNotStarted   Code = "sale_not_started"
	CodeSaleEnded        Code = "sale_ended"
	CodeLimitReached     Code = "limit_reached"
	CodeInsufficient     Code = "insufficient_stock"
	CodeAllHeld          Code = "all_held"
	CodeSoldOut          Code = "sold_out"
	CodeSKUTaken         Code = "sku_taken"
	CodeHoldExpired      Code = "hold_expired"
	CodeHoldNotActive    Code = "hold_not_active"
	CodeHoldOrdered      Code = "hold_already_ordered"
	CodeNotCancellable   Code = "order_not_cancellable"
	CodeNotRefundable    Code = "order_not_refundable"
	CodeTooManyEndpoints Code = "too_many_endpoints"
	CodeKeyReused        Code = "idempotency_key_reused"
	CodeKeyInProgress    Code = "idempotency_in_progress"
	CodeInvalidSignature Code = "invalid_signature"
	CodeMalformed        Code = "malformed_request"
	CodeUnavailable      Code = "unavailable"
	CodeOverloaded       Code = "overloaded"
	CodeOutcomeUnknown   Code = "outcome_unknown"
)

// Refusal is why one line of a hold was refused, with the numbers that say so.
// Fields that do not belong to the code are zero.
type Refusal struct {
	Code          Code
	ProductID     ProductID
	SaleStartsAt  *time.Time
	SaleEndsAt    *time.Time
	Limit         int64
	Current       int64 // the customer's units that count against Limit
	Requested     int64
	Available     int64
	NextReleaseAt *time.Time // when the first of the taken units may come back
}

// FieldError is a fault of one member of a request.
type FieldError struct {
	Pointer string // RFC 6901, into the body
	Detail  string
}

// Error is a failure that a client may see. Nothing internal stands in it but
// its cause, which only logs show.
type Error struct {
	Code       Code
	Detail     string
	RetryAfter time.Duration // 0: waiting does not help
	Lines      []Refusal
	Fields     []FieldError
	OrderID    OrderID // with CodeHoldOrdered
	Cause      error
}

// Error is for logs; clients get the parts.
func (e *Error) Error() string {
	text := string(e.Code) + ": " + e.Detail
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is makes errors of one code equal, so that errors.Is(err, &Error{Code: c})
// asks for a code.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Code == e.Code
}

// Fail makes an Error of a code and a sentence for the client.
func Fail(code Code, detail string) *Error { return &Error{Code: code, Detail: detail} }

// Invalid makes a CodeInvalidRequest that points at one member of the body.
func Invalid(pointer, detail string) *Error {
	return &Error{
		Code:   CodeInvalidRequest,
		Detail: "The request does not follow the contract.",
		Fields: []FieldError{{Pointer: pointer, Detail: detail}},
	}
}
