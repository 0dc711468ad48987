package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/api"
)

const webhook = "receivePaymentWebhook"

// load parses the contract and validates it with all of its examples.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context(), openapi3.EnableExamplesValidation()))
	return doc
}

// operations lists the operations of the contract by method and path.
func operations(t *testing.T) map[string]*openapi3.Operation {
	t.Helper()
	all := map[string]*openapi3.Operation{}
	for path, item := range load(t).Paths.Map() {
		for method, operation := range item.Operations() {
			all[method+" "+path] = operation
		}
	}
	require.NotEmpty(t, all)
	return all
}

// codesOf lists the codes of the example problems of a response.
func codesOf(response *openapi3.Response) []string {
	var codes []string
	media := response.Content["application/problem+json"]
	if media == nil {
		return nil
	}
	for _, example := range media.Examples {
		if value, ok := example.Value.Value.(map[string]any); ok {
			code, _ := value["code"].(string)
			codes = append(codes, code)
		}
	}
	return codes
}

func TestContractAndItsExamplesAreValid(t *testing.T) {
	load(t)
}

func TestEveryOperationIsNamedAndDescribed(t *testing.T) {
	seen := map[string]bool{}
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			assert.NotEmpty(t, operation.OperationID)
			assert.False(t, seen[operation.OperationID], "operationId is used twice")
			seen[operation.OperationID] = true
			assert.NotEmpty(t, operation.Summary)
			assert.NotEmpty(t, operation.Description)
			assert.Len(t, operation.Tags, 1)
		})
	}
}

func TestEveryFailureIsAProblemAndSaysHowLongToWaitOn503(t *testing.T) {
	problem := "#/components/schemas/Problem"
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			for status, response := range operation.Responses.Map() {
				if status < "400" {
					continue
				}
				require.Len(t, response.Value.Content, 1, status)
				media := response.Value.Content["application/problem+json"]
				require.NotNil(t, media, status)
				assert.Equal(t, problem, media.Schema.Ref, status)
				if status == "503" {
					assert.Contains(t, response.Value.Headers, "Retry-After")
				}
			}
		})
	}
}

func TestExampleProblemsCarryTheStatusTheyStandUnder(t *testing.T) {
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			for status, response := range operation.Responses.Map() {
				media := response.Value.Content["application/problem+json"]
				if media == nil {
					continue
				}
				for name, example := range media.Examples {
					value, ok := example.Value.Value.(map[string]any)
					require.True(t, ok, name)
					assert.Equal(t, status, fmt.Sprint(value["status"]), name)
					assert.Equal(t, fmt.Sprint("/problems/", value["code"]), value["type"], name)
				}
			}
		})
	}
}

func TestEveryProblemCodeIsShownByAnOperation(t *testing.T) {
	shown := map[string]bool{}
	for _, operation := range operations(t) {
		for _, response := range operation.Responses.Map() {
			for _, code := range codesOf(response.Value) {
				shown[code] = true
			}
		}
	}
	// The two that any path outside of the operations gives.
	shown["not_found"], shown["method_not_allowed"] = true, true
	for _, code := range load(t).Components.Schemas["ProblemCode"].Value.Enum {
		assert.True(t, shown[fmt.Sprint(code)], "no operation shows the code %v", code)
	}
}

func TestEveryRequestBodyIsClosedButTheWebhooks(t *testing.T) {
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			if operation.RequestBody == nil || operation.OperationID == webhook {
				return
			}
			for _, media := range operation.RequestBody.Value.Content {
				assertClosed(t, media.Schema.Value, operation.OperationID)
			}
		})
	}
}

// assertClosed checks that an object and all objects in it refuse members that
// they do not name.
func assertClosed(t *testing.T, schema *openapi3.Schema, where string) {
	t.Helper()
	if schema.Items != nil {
		assertClosed(t, schema.Items.Value, where+"/items")
	}
	if !schema.Type.Is(openapi3.TypeObject) {
		return
	}
	allowed := schema.AdditionalProperties.Has
	assert.True(t, allowed != nil && !*allowed, "%s takes any member", where)
	for name, property := range schema.Properties {
		assertClosed(t, property.Value, where+"/"+name)
	}
}

func TestEveryRequestAndResponseBodyHasAnExample(t *testing.T) {
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			if operation.RequestBody != nil {
				for kind, media := range operation.RequestBody.Value.Content {
					assert.NotEmpty(t, media.Examples, "request %s", kind)
				}
			}
			for status, response := range operation.Responses.Map() {
				for kind, media := range response.Value.Content {
					assert.NotEmpty(t, media.Examples, "%s %s", status, kind)
				}
			}
		})
	}
}

func TestEveryAnswerNamesItsRequest(t *testing.T) {
	for name, operation := range operations(t) {
		t.Run(name, func(t *testing.T) {
			for status, response := range operation.Responses.Map() {
				assert.Contains(t, response.Value.Headers, "X-Request-Id", status)
			}
		})
	}
}

func TestEveryPostButTheWebhookTakesAnIdempotencyKey(t *testing.T) {
	for name, operation := range operations(t) {
		if !strings.HasPrefix(name, "POST ") {
			continue
		}
		takesKey := operation.Parameters.GetByInAndName(openapi3.ParameterInHeader, "Idempotency-Key") != nil
		assert.Equal(t, operation.OperationID != webhook, takesKey, name)
	}
}

func TestIDsOfTheRightFormAloneAreTaken(t *testing.T) {
	schemas := load(t).Components.Schemas
	const digits = "01kjma0fm0ek0tz2p1tewg37hq"
	for name, prefix := range map[string]string{"ProductId": "prod_", "HoldId": "hold_", "OrderId": "ord_", "EndpointId": "whe_"} {
		schema := schemas[name].Value
		require.NoError(t, schema.VisitJSON(prefix+digits), name)
		for _, wrong := range []string{
			digits, "evt_" + digits, prefix + strings.ToUpper(digits), prefix + digits + "0", prefix + digits[1:],
			prefix + "8" + digits[1:], prefix + "0u" + digits[2:], prefix + digits + "\n", "",
		} {
			assert.Error(t, schema.VisitJSON(wrong), "%s takes %q", name, wrong)
		}
	}
}

func TestTextTakesNoControlCharacters(t *testing.T) {
	schemas := load(t).Components.Schemas
	for _, name := range []string{"Sku", "Name", "CustomerId"} {
		schema := schemas[name].Value
		require.NoError(t, schema.VisitJSON("Größe 42 / 靴"), name)
		for _, wrong := range []string{"", "a\x00b", "a\nb", "a\n", "a\x7f", strings.Repeat("a", 201)} {
			assert.Error(t, schema.VisitJSON(wrong), "%s takes %q", name, wrong)
		}
	}
}

func TestStockDeltaIsNeverZero(t *testing.T) {
	delta := load(t).Components.Schemas["AdjustStockRequest"].Value.Properties["delta"].Value
	for _, right := range []float64{1, -1, 1e9, -1e9} {
		require.NoError(t, delta.VisitJSON(right))
	}
	for _, wrong := range []float64{0, 1e9 + 1, -1e9 - 1, 0.5} {
		assert.Error(t, delta.VisitJSON(wrong), "takes %v", wrong)
	}
}
