package chaos

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/api"
	"github.com/flashsale-api/flashsale/internal/testenv"
	"github.com/flashsale-api/flashsale/test/apitest"
)

const (
	badRequests = 3000
	badAtOnce   = 8
	// maxHead is less than the bytes of path and headers that net/http hands on: it answers
	// larger ones by itself, with a bare 431.
	maxHead = 12 << 10
	// keptIDs bounds the ids of each kind that are sent again.
	keptIDs = 200

	webhookOperation = "receivePaymentWebhook"
	streamOperation  = "watchStock"
)

// Requests are made from the contract and then broken: values of wrong types, sizes and
// forms, members that are missing, doubled or unknown, bytes that are no text, deep,
// large and compressed bodies, headers and paths of anything. Each is answered, none with
// an internal error, and every answer is one that the contract gives.
func TestEveryAnswerToABrokenRequestFollowsTheContract(t *testing.T) {
	t.Parallel()
	count, seed := testenv.Number(t, "FLASHSALE_TEST_BAD_REQUESTS", badRequests), testenv.Seed(t)
	doc, err := openapi3.NewLoader().LoadFromData(api.Spec)
	require.NoError(t, err)
	shop := &badShop{ids: map[string][]string{}, answers: map[string]int{}}
	service := apitest.Start(t, apitest.Settings{Record: apitest.NewRecord()})
	shop.stock(t, service)
	require.NoError(t, apitest.Together(badAtOnce, func(i int) error {
		m := newMischief(rand.New(rand.NewPCG(seed, uint64(i))), doc, shop)
		for range count / badAtOnce {
			if err := m.send(t.Context(), service); err != nil {
				return err
			}
		}
		return nil
	}))
	service.Books(t)
	assert.Len(t, shop.operations(), len(newMischief(nil, doc, shop).operations), "an operation was never asked for")
	t.Logf("%d operations were answered %v", len(shop.operations()), shop.statuses())
}

// badShop is what those who send broken requests share: ids that exist, and how they
// were answered.
type badShop struct {
	mu      sync.Mutex
	ids     map[string][]string // by the prefix of their kind
	answers map[string]int      // by operation and status
}

func (s *badShop) stock(t *testing.T, service *apitest.API) {
	t.Helper()
	for range 3 {
		order := service.Order(t, 1, service.Product(t, 1_000_000))
		hold := service.Hold(t, 2, service.Product(t, 1_000_000))
		s.keep(order.ID, order.HoldID, hold.ID, hold.Lines[0].ProductID)
	}
}

func (s *badShop) keep(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		prefix, _, _ := strings.Cut(id, "_")
		s.ids[prefix] = append(s.ids[prefix], id)
		if len(s.ids[prefix]) > keptIDs {
			s.ids[prefix] = s.ids[prefix][1:]
		}
	}
}

func (s *badShop) id(dice *rand.Rand, prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[prefix][dice.IntN(len(s.ids[prefix]))]
}

func (s *badShop) note(operation string, answer *apitest.Answer) {
	s.mu.Lock()
	s.answers[fmt.Sprint(operation, " ", answer.Status)]++
	s.mu.Unlock()
	if location := answer.Header.Get("Location"); answer.Status == http.StatusCreated && location != "" {
		s.keep(location[strings.LastIndexByte(location, '/')+1:])
	}
}

func (s *badShop) operations() map[string]bool {
	asked := map[string]bool{}
	for line := range s.answers {
		operation, _, _ := strings.Cut(line, " ")
		asked[operation] = true
	}
	return asked
}

// statuses is how often each was answered.
func (s *badShop) statuses() map[string]int {
	statuses := map[string]int{}
	for line, times := range s.answers {
		_, status, _ := strings.Cut(line, " ")
		statuses[status] += times
	}
	return statuses
}

// asking is an operation of the contract.
type asking struct {
	*openapi3.Operation
	method, path string
	parameters   openapi3.Parameters
}

// mischief makes broken requests.
type mischief struct {
	nonsense
	shop       *badShop
	operations []asking
}

func newMischief(dice *rand.Rand, doc *openapi3.T, shop *badShop) *mischief {
	m := &mischief{nonsense: nonsense{dice}, shop: shop}
	for _, path := range doc.Paths.InMatchingOrder() {
		item := doc.Paths.Value(path)
		operations := item.Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			m.operations = append(m.operations, asking{
				Operation: operations[method], method: method, path: path,
				parameters: slices.Concat(item.Parameters, operations[method].Parameters),
			})
		}
	}
	return m
}

// send makes one request. An error is an answer that should not be.
func (m *mischief) send(ctx context.Context, service *apitest.API) error {
	op := m.operations[m.dice.IntN(len(m.operations))]
	target, header := m.target(op), m.header(op)
	if len(target)+len(strings.Join(header, "")) > maxHead {
		return nil
	}
	body := m.body(op, &header)
	if op.OperationID == webhookOperation {
		var signed http.Header
		var err error
		if body, signed, err = m.event(service); err != nil {
			return err
		}
		if !m.seldom() {
			header = []string{"Content-Type", "application/json"}
		}
		for name := range signed {
			header = append(header, name, signed.Get(name))
		}
	}
	method := op.method
	if m.seldom() {
		method = []string{http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, "BREW", http.MethodPost}[m.dice.IntN(6)]
	}
	if op.OperationID == streamOperation && method == http.MethodGet {
		method = http.MethodHead // its success would not end
	}
	answer, err := service.Send(ctx, method, target, body, header...)
	if err == nil && answer.Status == http.StatusInternalServerError {
		err = fmt.Errorf("internal error: %s", answer.Body)
	}
	if err != nil {
		return fmt.Errorf("%s %s %q %.2000q: %w", method, target, header, body, err)
	}
	m.shop.note(op.OperationID, answer)
	return nil
}

// event is what a payment provider that knows the secret says, broken before it is
// signed or after.
func (m *mischief) event(service *apitest.API) (string, http.Header, error) {
	kinds := []string{apitest.Succeeded, apitest.Failed, apitest.Refunded}
	event := apitest.Event{
		ID: m.word("msg"), Kind: kinds[m.dice.IntN(len(kinds))], OrderID: m.shop.id(m.dice, "ord"),
		PaymentID: m.word("pay"), Amount: apitest.Price, Currency: "USD",
	}
	text, _, err := service.Standard(event)
	if err != nil {
		return "", nil, err
	}
	body := m.broken(string(text))
	if m.often() {
		values := []string{strconv.Itoa(apitest.Price), `"` + event.Kind + `"`, `"` + event.OrderID + `"`, `"` + event.PaymentID + `"`, `"USD"`}
		body = strings.Replace(body, values[m.dice.IntN(len(values))], m.anyJSON(), 1)
	}
	header, err := service.SignStandard(event.ID, []byte(body))
	if m.rarely() {
		body = m.broken(body) + " "
	}
	return body, header, err
}

// target fills an operation's path and adds a query.
func (m *mischief) target(op asking) string {
	path, query := op.path, []string(nil)
	for _, ref := range op.parameters {
		switch p := ref.Value; p.In {
		case openapi3.ParameterInPath:
			value := strings.ReplaceAll(m.text(p.Schema.Value), "/", "")
			path = strings.Replace(path, "{"+p.Name+"}", url.PathEscape(cmp.Or(value, "_")), 1)
		case openapi3.ParameterInQuery:
			for m.often() {
				query = append(query, p.Name+"="+url.QueryEscape(m.text(p.Schema.Value)))
			}
		}
	}
	if m.seldom() {
		query = append(query, []string{"%", "a;b", "limit", "limit=1&limit=2", "cursor=%ff", "=", "unknown=1"}[m.dice.IntN(7)])
	}
	return path + "?" + strings.Join(query, "&")
}

// header is names and values by turns: of the operation's own, and the media type.
func (m *mischief) header(op asking) []string {
	var header []string
	for _, ref := range op.parameters {
		if p := ref.Value; p.In == openapi3.ParameterInHeader && m.often() {
			header = append(header, p.Name, m.headerText(m.text(p.Schema.Value)))
		}
	}
	return header
}

// body makes one for an operation that takes any, with the headers that speak of it.
func (m *mischief) body(op asking, header *[]string) string {
	if op.RequestBody == nil {
		return ""
	}
	content := op.RequestBody.Value.Content
	mediaType := slices.Sorted(maps.Keys(content))[0]
	var text strings.Builder
	m.write(&text, content[mediaType].Schema.Value)
	body := m.broken(text.String())
	switch {
	case m.rarely():
		mediaType = []string{"text/plain", "application/json; charset=latin1", "application/json;", "*/*", ";"}[m.dice.IntN(5)]
	case m.rarely():
		*header, body = append(*header, "Content-Encoding", "gzip"), compressed(body)
	}
	*header = append(*header, "Content-Type", mediaType)
	return body
}

// write writes a value of a schema, or nearly so.
func (m *mischief) write(text *strings.Builder, schema *openapi3.Schema) {
	switch {
	case m.seldom():
		text.WriteString(m.anyJSON())
	case len(schema.OneOf)+len(schema.AnyOf) > 0:
		choices := slices.Concat(schema.OneOf, schema.AnyOf)
		m.write(text, choices[m.dice.IntN(len(choices))].Value)
	case schema.Type.Is(openapi3.TypeObject):
		m.writeObject(text, schema)
	case schema.Type.Is(openapi3.TypeArray):
		text.WriteString("[")
		for i := range m.dice.IntN(4) {
			text.WriteString(strings.Repeat(",", min(i, 1)))
			m.write(text, schema.Items.Value)
		}
		text.WriteString("]")
	case schema.Type.Is(openapi3.TypeString):
		text.WriteString(m.quoted(m.text(schema)))
	case schema.Type.Is(openapi3.TypeBoolean):
		text.WriteString([]string{"true", "false"}[m.dice.IntN(2)])
	default:
		text.WriteString(m.text(schema))
	}
}

func (m *mischief) writeObject(text *strings.Builder, schema *openapi3.Schema) {
	text.WriteString("{")
	comma := ""
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		times := 1
		switch {
		case m.seldom():
			times = m.dice.IntN(3)
		case !slices.Contains(schema.Required, name):
			times = m.dice.IntN(2)
		}
		for range times {
			text.WriteString(comma + m.quoted(name) + ":")
			m.write(text, schema.Properties[name].Value)
			comma = ","
		}
	}
	text.WriteString("}")
}

// text is one that a schema takes, most of the time.
func (m *mischief) text(schema *openapi3.Schema) string {
	switch {
	case m.seldom():
		return m.junk()
	case len(schema.Enum) > 0:
		return fmt.Sprint(schema.Enum[m.dice.IntN(len(schema.Enum))])
	case schema.Type.Is(openapi3.TypeInteger), schema.Type.Is(openapi3.TypeNumber):
		return m.number(schema)
	case schema.Format == "date-time":
		return []string{"2026-03-01T12:00:00Z", "9999-12-31T23:59:59.9999999Z", "0001-01-01T00:00:00+23:59", "2016-12-31T23:59:60Z"}[m.dice.IntN(4)]
	case strings.HasPrefix(schema.Pattern, "^prod_"), strings.HasPrefix(schema.Pattern, "^hold_"), strings.HasPrefix(schema.Pattern, "^ord_"):
		prefix, _, _ := strings.Cut(schema.Pattern[1:], "_")
		return m.shop.id(m.dice, prefix)
	case strings.Contains(schema.Pattern, "[A-Z]{3}"):
		return []string{"USD", "EUR", "JPY"}[m.dice.IntN(3)]
	default:
		return m.word("w")
	}
}

// number is one at or about a schema's bounds.
func (m *mischief) number(schema *openapi3.Schema) string {
	bound := 1.0
	switch {
	case schema.Max != nil && m.often():
		bound = *schema.Max
	case schema.Min != nil:
		bound = *schema.Min
	}
	if m.often() {
		bound += float64(m.dice.IntN(5) - 2)
	}
	return fmt.Sprintf("%.0f", bound)
}
