package apitest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
)

const streamMediaType = "text/event-stream"

// isStream says whether an answer does not end by itself.
func isStream(response *http.Response) bool {
	return response.StatusCode == http.StatusOK && response.Header.Get("Content-Type") == streamMediaType
}

// Stream is a product's live stock.
type Stream struct {
	lines *bufio.Reader
	leave context.CancelFunc
}

// Watch listens to a product until the test's end. lastEvent is the id of the
// last event that the listener knows, nil for none.
func (a *API) Watch(tb testing.TB, product client.ProductID, lastEvent *string) *Stream {
	tb.Helper()
	ctx, leave := context.WithCancel(context.WithoutCancel(tb.Context()))
	tb.Cleanup(leave)
	response, err := a.WatchStock(ctx, product, &client.WatchStockParams{LastEventID: lastEvent})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		leave()
		_ = response.Body.Close() // it was left
	})
	require.True(tb, isStream(response), response.Status)
	return &Stream{lines: bufio.NewReader(response.Body), leave: leave}
}

// Leave ends the listening.
func (s *Stream) Leave() { s.leave() }

// Block is what the stream says up to its next empty line: comments without their
// colon, fields by name.
type Block struct {
	Comments []string
	Fields   map[string]string
}

// Block waits for the next one.
func (s *Stream) Block() (Block, error) {
	block := Block{Fields: map[string]string{}}
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return block, fmt.Errorf("read the stream: %w", err)
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			return block, nil
		case name == "":
			block.Comments = append(block.Comments, value)
		default:
			block.Fields[name] = strings.TrimPrefix(value, " ")
		}
	}
}

// Event waits for the next one, and checks it against the contract.
func (s *Stream) Event() (client.StockEvent, error) {
	for {
		block, err := s.Block()
		if err != nil {
			return client.StockEvent{}, err
		}
		if block.Fields["data"] != "" {
			return checkEvent(block)
		}
	}
}

func checkEvent(block Block) (client.StockEvent, error) {
	var event client.StockEvent
	var members any
	contract, err := readContract()
	if err != nil {
		return event, err
	}
	data := []byte(block.Fields["data"])
	if err := errors.Join(json.Unmarshal(data, &event), json.Unmarshal(data, &members)); err != nil {
		return event, fmt.Errorf("the event %v is no JSON: %w", block, err)
	}
	if err := contract.doc.Components.Schemas["StockEvent"].Value.VisitJSON(members); err != nil {
		return event, fmt.Errorf("the event %v breaks the contract: %w", block, err)
	}
	if block.Fields["event"] != "stock" || block.Fields["id"] != strconv.FormatInt(event.Version, 10) {
		return event, fmt.Errorf("the event %v has another name or id than the contract says", block)
	}
	return event, nil
}
