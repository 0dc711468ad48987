package sdk

import (
	"fmt"
	"net/http"

	"github.com/flashsale-api/flashsale/gen/client"
)

// Reply is what all answers of the generated client have in common.
type Reply interface {
	StatusCode() int
	GetApplicationProblemJSONDefault() *client.Problem
}

// Error is an answer that says no. Its Code is what to switch on. All but its Status is
// empty when something else than the service answered, a proxy for example.
type Error struct{ client.Problem }

func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("the answer has status %d and no problem document", e.Status)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Title)
}

// Check gives the error of a call as it is, a refusal as *Error, and nil for an answer
// that did what was asked or, with 304, has nothing new.
func Check(reply Reply, err error) error {
	switch {
	case err != nil:
		return err
	case reply.StatusCode() < http.StatusMultipleChoices, reply.StatusCode() == http.StatusNotModified:
		return nil
	}
	refusal := &Error{}
	if problem := reply.GetApplicationProblemJSONDefault(); problem != nil {
		refusal.Problem = *problem
	}
	refusal.Status = reply.StatusCode()
	return refusal
}
