package httpapi

import (
	"net/http"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// Codes of failures that only HTTP knows.
const (
	codeNotFound         sale.Code = "not_found"
	codeMethodNotAllowed sale.Code = "method_not_allowed"
	codePayloadTooLarge  sale.Code = "payload_too_large"
	codeUnsupportedMedia sale.Code = "unsupported_media_type"
	codeInternal         sale.Code = "internal_error"
)

// problemKind is what all problems of one code have in common.
type problemKind struct {
	status int
	title  string
	page   string // what /problems/{code} says
}

// problemKinds is the one table of codes.
func problemKinds() map[sale.Code]problemKind {
	return map[sale.Code]problemKind{
		sale.CodeMalformed: {
			http.StatusBadRequest, "Malformed request",
			"The body is not one JSON value in UTF-8, names a member twice, is nested too deeply or has too many values, or the query string cannot be read. Correct the request before you send it again.",
		},
		sale.CodeInvalidSignature: {
			http.StatusUnauthorized, "Invalid signature",
			"No known secret made the signature of this webhook, or its timestamp is more than five minutes away from the server's clock. Nothing of the body was read.",
		},
		codeNotFound: {
			http.StatusNotFound, "Not found",
			"The server has nothing at this path. The contract, at /docs/, lists all paths.",
		},
		sale.CodeProductNotFound: {
			http.StatusNotFound, "Product not found",
			"There is no product with this id. In the refusal of a hold, lines names each product that does not exist.",
		},
		sale.CodeHoldNotFound: {
			http.StatusNotFound, "Hold not found",
			"There is no hold with this id.",
		},
		sale.CodeOrderNotFound: {
			http.StatusNotFound, "Order not found",
			"There is no order with this id. A payment event for an unknown order leaves no trace, so the same event works once the order exists.",
		},
		sale.CodeEndpointNotFound: {
			http.StatusNotFound, "Endpoint not found",
			"There is no webhook endpoint with this id, or it was deleted.",
		},
		codeMethodNotAllowed: {
			http.StatusMethodNotAllowed, "Method not allowed",
			"The path exists, but not with this method. The Allow header lists the methods it has.",
		},
		sale.CodeSKUTaken: {
			http.StatusConflict, "SKU taken",
			"Another product has this sku already. Upper and lower case are told apart.",
		},
		sale.CodeSaleNotStarted: {
			http.StatusConflict, "Sale not started",
			"The sale of a product has not begun. sale_starts_at says when it will, Retry-After in how many seconds.",
		},
		sale.CodeSaleEnded: {
			http.StatusConflict, "Sale ended",
			"The sale of a product is over since sale_ends_at. Holds that were made in time can still be ordered.",
		},
		sale.CodeLimitReached: {
			http.StatusConflict, "Limit reached",
			"With this hold the customer would have more units of a product than limit allows. current counts the units in active holds, open orders and paid orders.",
		},
		sale.CodeInsufficient: {
			http.StatusConflict, "Insufficient stock",
			"Some units are available, but fewer than were asked for. Ask for at most as many as available says.",
		},
		sale.CodeAllHeld: {
			http.StatusConflict, "All held",
			"No unit is available now, but some are in holds or unpaid orders and may come back, the first at next_release_at. Try again after Retry-After seconds.",
		},
		sale.CodeSoldOut: {
			http.StatusConflict, "Sold out",
			"No unit is available, and none is held or waits for its payment. Trying again does not help unless an order is refunded with restock or stock is added.",
		},
		sale.CodeHoldExpired: {
			http.StatusConflict, "Hold expired",
			"The hold ran out before it was ordered, and its units are back on sale. Make a new hold.",
		},
		sale.CodeHoldNotActive: {
			http.StatusConflict, "Hold not active",
			"The hold is released, expired or ordered, so this cannot be done with it any more. Its status says which.",
		},
		sale.CodeHoldOrdered: {
			http.StatusConflict, "Hold already ordered",
			"The hold became an order before. order_id names the order.",
		},
		sale.CodeNotCancellable: {
			http.StatusConflict, "Order not cancellable",
			"The order was paid, so it can no longer be cancelled. Ask for its refund instead.",
		},
		sale.CodeNotRefundable: {
			http.StatusConflict, "Order not refundable",
			"No money of this order can go back: it was not paid, or its money went back before.",
		},
		sale.CodeTooManyEndpoints: {
			http.StatusConflict, "Too many endpoints",
			"There are as many webhook endpoints as there may be. Delete one that is not needed any more.",
		},
		sale.CodeKeyInProgress: {
			http.StatusConflict, "Request in progress",
			"The first request with this Idempotency-Key still runs. Try again after Retry-After seconds to get its answer.",
		},
		codePayloadTooLarge: {
			http.StatusRequestEntityTooLarge, "Payload too large",
			"The body is larger than the 64 KiB that the server takes.",
		},
		codeUnsupportedMedia: {
			http.StatusUnsupportedMediaType, "Unsupported media type",
			"The Content-Type is missing or is none that this operation takes, or the body has a Content-Encoding. Send application/json in UTF-8, not compressed.",
		},
		sale.CodeInvalidRequest: {
			http.StatusUnprocessableEntity, "Invalid request",
			"The request breaks rules of the contract. errors lists all of them, each with a pointer to what is wrong.",
		},
		sale.CodeMixedCurrency: {
			http.StatusUnprocessableEntity, "Mixed currency",
			"The products of one hold have to be priced in one currency. Make a hold for each currency.",
		},
		sale.CodeKeyReused: {
			http.StatusUnprocessableEntity, "Idempotency key reused",
			"This Idempotency-Key was used for another request to the same path. Send each new request with a new key.",
		},
		codeInternal: {
			http.StatusInternalServerError, "Internal error",
			"The server failed, and cannot tell whether the operation was done: send the same request again with the same Idempotency-Key. Its log tells more under the request id, which is the problem's instance.",
		},
		sale.CodeUnavailable: {
			http.StatusServiceUnavailable, "Unavailable",
			"The server cannot do this now. Nothing was done. Try again after Retry-After seconds.",
		},
		sale.CodeOverloaded: {
			http.StatusServiceUnavailable, "Overloaded",
			"More requests came than the server can do in time. Nothing was done. Try again after Retry-After seconds.",
		},
		sale.CodeOutcomeUnknown: {
			http.StatusServiceUnavailable, "Outcome unknown",
			"The server cannot tell whether the operation was done. Send the same request again with the same Idempotency-Key: it is done once at most, and the answer says what became of it.",
		},
	}
}
