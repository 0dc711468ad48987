package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/internal/sale"
)

// titles are what the picture's arrows say of themselves.
func titles(t *testing.T, drawn []byte) []string {
	t.Helper()
	var found []string
	decoder := xml.NewDecoder(strings.NewReader(string(drawn)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "title" {
			var title string
			require.NoError(t, decoder.DecodeElement(&title, &start))
			found = append(found, title)
		}
	}
}

// shows tells whether an arrow of this beginning names the trigger.
func shows(titles []string, beginning string, trigger sale.Trigger) bool {
	for _, title := range titles {
		triggers, ok := strings.CutPrefix(title, beginning+": ")
		if ok && strings.Contains(", "+triggers+", ", ", "+string(trigger)+", ") {
			return true
		}
	}
	return false
}

func TestThePictureShowsEveryTransition(t *testing.T) {
	t.Parallel()
	drawn, err := picture(sale.Next)
	require.NoError(t, err)
	all := titles(t, drawn)
	for _, trigger := range sale.Triggers() {
		for _, status := range sale.OrderStatuses() {
			way := sale.Next(status, trigger)
			if way.To != "" {
				assert.True(t, shows(all, string(status)+" to "+string(way.To), trigger), "%s of %s", trigger, status)
			}
			if way.Else != "" {
				assert.True(t, shows(all, string(status)+" or else to "+string(way.Else), trigger), "%s of %s", trigger, status)
			}
		}
	}
}

func TestThePageTellsEveryPair(t *testing.T) {
	t.Parallel()
	told, err := page(sale.Next)
	require.NoError(t, err)
	rows := map[string][]string{}
	for line := range strings.Lines(string(told)) {
		if cells := strings.Split(strings.Trim(line, "| \n"), " | "); len(cells) > 1 {
			name, _, _ := strings.Cut(cells[0], "<br>")
			rows[name] = cells[1:]
		}
	}
	for _, trigger := range sale.Triggers() {
		cells := rows["`"+string(trigger)+"`"]
		require.Len(t, cells, len(sale.OrderStatuses()), trigger)
		for i, status := range sale.OrderStatuses() {
			way := sale.Next(status, trigger)
			switch {
			case way.To != "":
				assert.True(t, strings.HasPrefix(cells[i], "**→ "+string(way.To)+"**"), "%s of %s", trigger, status)
			case way.Refusal == "":
				assert.True(t, strings.HasPrefix(cells[i], "stays"), "%s of %s", trigger, status)
			}
			for _, fact := range []string{
				string(way.Else), string(way.Outcome), string(way.Reason), string(way.Tells), string(way.Refusal),
			} {
				assert.Contains(t, cells[i], fact, "%s of %s", trigger, status)
			}
		}
	}
}

func TestAChangeOfTheMachineThatThePictureHasNoRouteForFails(t *testing.T) {
	t.Parallel()
	_, err := picture(func(status sale.OrderStatus, trigger sale.Trigger) sale.Transition {
		if status == sale.OrderRefunded && trigger == sale.TriggerCancel {
			return sale.Transition{To: sale.OrderCancelled, Step: sale.StepCancel}
		}
		return sale.Next(status, trigger)
	})
	require.ErrorContains(t, err, "refunded to cancelled: cancel")
	_, err = picture(func(status sale.OrderStatus, trigger sale.Trigger) sale.Transition {
		if trigger == sale.TriggerExpiry {
			return sale.Transition{}
		}
		return sale.Next(status, trigger)
	})
	require.ErrorContains(t, err, `no arrow for the route from "pending_payment" to "expired"`)
}

func TestThePictureAndThePageAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	require.NoError(t, run([]string{first}))
	require.NoError(t, run([]string{second}))
	for _, name := range []string{pictureFile, pageFile} {
		one, err := os.ReadFile(filepath.Join(first, name))
		require.NoError(t, err)
		other, err := os.ReadFile(filepath.Join(second, name))
		require.NoError(t, err)
		assert.NotEmpty(t, one)
		assert.Equal(t, string(one), string(other), name)
	}
}
