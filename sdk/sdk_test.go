package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flashsale-api/flashsale/gen/client"
	"github.com/flashsale-api/flashsale/sdk"
	"github.com/flashsale-api/flashsale/test/apitest"
)

// doer is an HTTP client made of a function.
type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(req *http.Request) (*http.Response, error) { return d(req) }

func open(t *testing.T, url string, next doer) *client.ClientWithResponses {
	t.Helper()
	api, err := sdk.New(url, client.WithHTTPClient(next))
	require.NoError(t, err)
	return api
}

var errLost = errors.New("the answer was lost")

// brokenBody breaks off.
func brokenBody() io.ReadCloser {
	return io.NopCloser(io.MultiReader(strings.NewReader(`{"id":`), new(brokenOff)))
}

type brokenOff struct{}

func (*brokenOff) Read([]byte) (int, error) { return 0, errLost }

// losing does every request and loses the first answers of each: the first as a whole,
// the second in its middle.
func losing(keys *[]string) doer {
	var tries atomic.Int64
	return func(req *http.Request) (*http.Response, error) {
		*keys = append(*keys, req.Header.Get("Idempotency-Key"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		switch tries.Add(1) {
		case 1:
			return nil, errors.Join(errLost, resp.Body.Close())
		case 2:
			err = resp.Body.Close()
			resp.Body = brokenBody()
			return resp, err
		default:
			return resp, nil
		}
	}
}

func TestAHoldWhoseAnswersAreLostIsMadeOnceUnderAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	one, other := service.Product(t, 5), service.Product(t, 5)
	var keys []string
	api := open(t, service.URL, losing(&keys))
	reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("ann", 2, other, one))
	require.NoError(t, sdk.Check(reply, err))
	require.Len(t, keys, 3)
	assert.Equal(t, []string{keys[0], keys[0]}, keys[1:])
	assert.Equal(t, keys[0], reply.JSON201.ID, "the key is the hold's id")
	assert.NotNil(t, reply.Headers201.IdempotentReplayed)
	assert.Equal(t, []int64{3, 3}, []int64{service.Stock(t, one), service.Stock(t, other)})
	service.Books(t)
}

func TestAnOrderWhoseAnswersAreLostIsMadeOnceUnderTheCallersKey(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	hold := service.Hold(t, 1, service.Product(t, 5))
	var keys []string
	api := open(t, service.URL, losing(&keys))
	reply, err := api.CreateOrderWithResponse(t.Context(), &client.CreateOrderParams{IdempotencyKey: new("mine")},
		client.CreateOrderRequest{HoldID: hold.ID})
	require.NoError(t, sdk.Check(reply, err))
	assert.Equal(t, []string{"mine", "mine", "mine"}, keys)
	assert.NotNil(t, reply.Headers201.IdempotentReplayed)
}

func TestAnOrderWhoseAnswersAreLostIsMadeOnceUnderItsHoldsID(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	hold := service.Hold(t, 1, service.Product(t, 5))
	var keys []string
	api := open(t, service.URL, losing(&keys))
	reply, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: hold.ID})
	require.NoError(t, sdk.Check(reply, err))
	assert.Equal(t, []string{hold.ID, hold.ID, hold.ID}, keys)
	assert.NotNil(t, reply.Headers201.IdempotentReplayed)
}

func TestARefusalIsAnErrorWithItsCodeAfterOneTry(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	product := service.Product(t, 1)
	service.Hold(t, 1, product)
	tries := 0
	api := open(t, service.URL, func(req *http.Request) (*http.Response, error) {
		tries++
		return http.DefaultClient.Do(req)
	})
	var refusal *sdk.Error
	require.ErrorAs(t, sdk.Check(api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("ann", 1, product))), &refusal)
	assert.Equal(t, client.ProblemCodeAllHeld, refusal.Code)
	assert.Equal(t, http.StatusConflict, refusal.Status)
	assert.Equal(t, product.ID, refusal.Lines[0].ProductID)
	assert.Equal(t, 1, tries)
}

func TestReadsOfAnOpenServiceNeedNoOptions(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	product := service.Product(t, 1)
	api, err := sdk.New(service.URL)
	require.NoError(t, err)
	reply, err := api.GetProductWithResponse(t.Context(), product.ID, nil)
	require.NoError(t, sdk.Check(reply, err))
	unchanged, err := api.GetProductWithResponse(t.Context(), product.ID, &client.GetProductParams{
		IfNoneMatch: new(reply.HTTPResponse.Header.Get("ETag")),
	})
	require.NoError(t, sdk.Check(unchanged, err))
	assert.Equal(t, http.StatusNotModified, unchanged.StatusCode())
}

// saying answers every request alike and counts them.
func saying(tries *int, status int, retryAfter, body string) doer {
	return func(req *http.Request) (*http.Response, error) {
		*tries++
		header := http.Header{"Content-Type": {"text/html"}}
		if strings.HasPrefix(body, "{") {
			header.Set("Content-Type", "application/problem+json")
		}
		if retryAfter != "" {
			header.Set("Retry-After", retryAfter)
		}
		return &http.Response{
			StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewBufferString(body)), Request: req,
		}, nil
	}
}

func TestOnlyWhatMayDoBetterIsTriedAgainAsLongAsItIsWorthWaiting(t *testing.T) {
	t.Parallel()
	const second = time.Second
	for name, c := range map[string]struct {
		status           int
		after, body      string
		limit            time.Duration
		tries            int
		earliest, latest time.Duration
	}{
		"overloaded":                  {503, "1", `{"code":"overloaded"}`, 0, 4, 3 * second, 4500 * time.Millisecond},
		"no Retry-After":              {503, "", `{"code":"unavailable"}`, 0, 4, 350 * time.Millisecond, 525 * time.Millisecond},
		"a proxy":                     {502, "", `<html>`, 0, 4, 350 * time.Millisecond, 525 * time.Millisecond},
		"an equal one is under way":   {409, "1", `{"code":"idempotency_in_progress"}`, 0, 4, 3 * second, 4500 * time.Millisecond},
		"all held":                    {409, "1", `{"code":"all_held"}`, 0, 1, 0, 0},
		"a conflict of somebody else": {409, "", `<html>`, 0, 1, 0, 0},
		"a fault":                     {500, "", `{"code":"internal_error"}`, 0, 1, 0, 0},
		"too long a pause":            {503, "6", `{"code":"unavailable"}`, 0, 1, 0, 0},
		"an absurd pause":             {503, "99999999999999999999", `{"code":"unavailable"}`, 0, 1, 0, 0},
		"a long pause":                {503, "10000000000", `{"code":"unavailable"}`, 0, 1, 0, 0},
		"a pause until a far date":    {503, "Fri, 31 Dec 2100 23:59:59 GMT", `{"code":"unavailable"}`, 0, 1, 0, 0},
		"a pause until a past date":   {503, "Fri, 31 Dec 1999 23:59:59 GMT", `{"code":"unavailable"}`, 0, 4, 350 * time.Millisecond, 525 * time.Millisecond},
		"a negative pause":            {503, "-1", `{"code":"unavailable"}`, 0, 4, 350 * time.Millisecond, 525 * time.Millisecond},
		"no pause":                    {503, "0", `{"code":"unavailable"}`, 0, 4, 350 * time.Millisecond, 525 * time.Millisecond},
		"a redirect":                  {302, "", `<html>`, 0, 1, 0, 0},
		"a pause past the deadline":   {503, "2", `{"code":"unavailable"}`, 4 * second, 2, 2 * second, 3 * second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				tries, began := 0, time.Now()
				api := open(t, "http://shop.test", saying(&tries, c.status, c.after, c.body))
				var refusal *sdk.Error
				require.ErrorAs(t, sdk.Check(api.GetProductWithResponse(ctx, "prod_", nil)), &refusal)
				assert.Equal(t, c.status, refusal.Status)
				assert.Equal(t, c.tries, tries)
				assert.GreaterOrEqual(t, time.Since(began), c.earliest)
				assert.LessOrEqual(t, time.Since(began), c.latest)
			})
		})
	}
}

// The first try had its effect, and what the later ones say is true of themselves alone.
func TestNothingWasDoneIsNotSaidAfterATryThatMayHaveDoneIt(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	product := service.Product(t, 5)
	for name, first := range map[string]func(*http.Response) (*http.Response, error){
		"a lost answer": func(resp *http.Response) (*http.Response, error) { return nil, errors.Join(errLost, resp.Body.Close()) },
		"a proxy's word": func(resp *http.Response) (*http.Response, error) {
			tries := 0
			gateway, err := saying(&tries, http.StatusGatewayTimeout, "", "<html>")(resp.Request)
			return gateway, errors.Join(err, resp.Body.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			overloaded := saying(&tries, http.StatusServiceUnavailable, "", `{"code":"overloaded"}`)
			api := open(t, service.URL, func(req *http.Request) (*http.Response, error) {
				if tries > 0 {
					return overloaded(req)
				}
				tries++
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return nil, err
				}
				return first(resp)
			})
			before := service.Stock(t, product)
			reply, err := api.CreateHoldWithResponse(t.Context(), nil, apitest.Wish("ann", 1, product))
			require.Equal(t, before-1, service.Stock(t, product))
			assert.Equal(t, 4, tries)
			err = sdk.Check(reply, err)
			var refusal *sdk.Error
			if errors.As(err, &refusal) {
				assert.Equal(t, http.StatusGatewayTimeout, refusal.Status)
			} else {
				require.ErrorIs(t, err, errLost)
			}
		})
	}
}

// A read has done nothing in any case, so its last answer is the one that counts.
func TestAReadIsToldTheLastAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		overloaded := saying(&tries, http.StatusServiceUnavailable, "", `{"code":"overloaded"}`)
		api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
			if tries == 0 {
				tries++
				return nil, errLost
			}
			return overloaded(req)
		})
		var refusal *sdk.Error
		require.ErrorAs(t, sdk.Check(api.GetProductWithResponse(t.Context(), "prod_", nil)), &refusal)
		assert.Equal(t, client.ProblemCodeOverloaded, refusal.Code)
		assert.Equal(t, 4, tries)
	})
}

func TestATryThatTheCallerHasNoTimeForCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		api := open(t, "http://shop.test", saying(&tries, http.StatusServiceUnavailable, "1", `{"code":"overloaded"}`))
		const calls = 200 // that would spend more than there is
		for range calls {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			_, err := api.GetProductWithResponse(ctx, "prod_", nil)
			require.NoError(t, err)
			cancel()
		}
		require.Equal(t, calls, tries)
		_, err := api.GetProductWithResponse(t.Context(), "prod_", nil)
		require.NoError(t, err)
		assert.Equal(t, calls+4, tries)
	})
}

func TestALongOutageAddsNoMoreThanAFifthToTheLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const requests, saved = 1000, 100
		tries, status := 0, http.StatusServiceUnavailable
		api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
			return saying(&tries, status, "", `{"code":"unavailable"}`)(req)
		})
		ask := func(times int) (tried int) {
			before := tries
			for range times {
				_, err := api.GetProductWithResponse(t.Context(), "prod_", nil)
				require.NoError(t, err)
			}
			return tries - before
		}
		assert.Equal(t, 4, ask(1), "a client begins with tries to spare")
		assert.InDelta(t, requests+saved+requests/5, ask(requests), 4)
		assert.InDelta(t, requests+requests/5, ask(requests), 1)

		status = http.StatusNotFound
		assert.Equal(t, requests, ask(requests))
		status = http.StatusServiceUnavailable
		assert.InDelta(t, requests+saved+requests/5, ask(requests), 1, "it has saved up no more than before")
	})
}

func TestAChangeWithoutAKeyIsSentAgainOnlyWhenNothingWasDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for body, want := range map[string]int{
			`{"code":"overloaded"}`: 4, `{"code":"unavailable"}`: 4, `{"code":"outcome_unknown"}`: 1, `<html>`: 1,
		} {
			tries := 0
			api := open(t, "http://shop.test", saying(&tries, http.StatusServiceUnavailable, "", body))
			reply, err := api.DeleteWebhookEndpointWithResponse(t.Context(), "whe_")
			require.Error(t, sdk.Check(reply, err))
			assert.Equal(t, want, tries, body)
		}
		tries := 0
		api := open(t, "http://shop.test", func(*http.Request) (*http.Response, error) {
			tries++
			return nil, errLost
		})
		_, err := api.DeleteWebhookEndpointWithResponse(t.Context(), "whe_")
		require.ErrorIs(t, err, errLost)
		assert.Equal(t, 1, tries)
	})
}

func TestARedirectedOrderIsNoOrder(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	defer elsewhere.Close()
	var refusal *sdk.Error
	api, err := sdk.New(elsewhere.URL)
	require.NoError(t, err)
	require.ErrorAs(t, sdk.Check(api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: "hold_"})), &refusal)
	assert.Equal(t, http.StatusFound, refusal.Status, "it goes nowhere else")
	for _, options := range [][]client.ClientOption{nil, {client.WithHTTPClient(elsewhere.Client())}} {
		api, err := sdk.New(elsewhere.URL, options...)
		require.NoError(t, err)
		reply, err := api.CreateOrderWithResponse(t.Context(), nil, client.CreateOrderRequest{HoldID: "hold_"})
		assert.Error(t, sdk.Check(reply, err))
	}
}

func TestASilentServerIsGivenUpThoughTheCallHasNoDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
			tries++
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		_, err := api.GetProductWithResponse(t.Context(), "prod_", nil)
		require.ErrorContains(t, err, "no answer within 30s")
		assert.Equal(t, 4, tries)
	})
}

func TestAnswersOfAProxyAreErrorsWithTheirStatus(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"code":503}`, `"upstream"`, ``, `{"code":"sold_out"}`} {
		api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: http.StatusForbidden, Header: http.Header{"Content-Type": {"application/json"}},
				Body: io.NopCloser(strings.NewReader(body)), Request: req,
			}, nil
		})
		var refusal *sdk.Error
		require.ErrorAs(t, sdk.Check(api.GetProductWithResponse(t.Context(), "prod_", nil)), &refusal, body)
		assert.Equal(t, http.StatusForbidden, refusal.Status)
		assert.Empty(t, refusal.Code)
	}
}

func TestNewRefusesWhatIsNoURLOfAServer(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "localhost:8080", "ftp://localhost", "http://"} {
		_, err := sdk.New(url)
		assert.Error(t, err, url)
	}
}

func TestACrowdDoesNotComeBackAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		earliest, latest := time.Hour, time.Duration(0)
		for range 30 {
			tries, began := 0, time.Now()
			api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
				if tries > 0 {
					return saying(&tries, http.StatusNotFound, "", `{"code":"product_not_found"}`)(req)
				}
				return saying(&tries, http.StatusServiceUnavailable, "1", `{"code":"overloaded"}`)(req)
			})
			_, err := api.GetProductWithResponse(t.Context(), "prod_", nil)
			require.NoError(t, err)
			require.Equal(t, 2, tries)
			earliest, latest = min(earliest, time.Since(began)), max(latest, time.Since(began))
		}
		assert.Greater(t, latest-earliest, 100*time.Millisecond, "of the half second that lots are drawn for")
	})
}

func TestCancellingEndsThePause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tries, began := 0, time.Now()
		api := open(t, "http://shop.test", saying(&tries, http.StatusServiceUnavailable, "5", "{}"))
		time.AfterFunc(time.Second, cancel)
		reply, err := api.GetProductWithResponse(ctx, "prod_", nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, reply.StatusCode())
		assert.Equal(t, 1, tries)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestCancellingAfterALostAnswerTellsBoth(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		api := open(t, "http://shop.test", func(*http.Request) (*http.Response, error) {
			cancel()
			return nil, errLost
		})
		_, err := api.GetProductWithResponse(ctx, "prod_", nil)
		require.ErrorIs(t, err, errLost)
		assert.ErrorIs(t, err, context.Canceled)
	})
}

func TestACrowdsConnectionsAreKeptForTheNext(t *testing.T) {
	t.Parallel()
	const crowd = 100
	var connections atomic.Int64
	here, answer := make(chan struct{}), make(chan struct{})
	busy := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		here <- struct{}{}
		<-answer
	}))
	busy.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	busy.Start()
	defer busy.Close()
	api, err := sdk.New(busy.URL)
	require.NoError(t, err)
	for range 2 {
		var asking sync.WaitGroup
		for range crowd {
			asking.Go(func() {
				_, err := api.GetLivenessWithResponse(t.Context())
				assert.NoError(t, err)
			})
		}
		for range crowd { // all are there before one is answered
			<-here
		}
		for range crowd {
			answer <- struct{}{}
		}
		asking.Wait()
	}
	assert.EqualValues(t, crowd, connections.Load())
}

func TestAStreamLastsUntilItIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var try context.Context
		api := open(t, "http://shop.test", func(req *http.Request) (*http.Response, error) {
			try = req.Context()
			header := http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}
			return &http.Response{StatusCode: http.StatusOK, Header: header, Body: http.NoBody, Request: req}, nil
		})
		resp, err := api.WatchStock(t.Context(), "prod_", nil)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, try.Err())
		require.NoError(t, resp.Body.Close())
		assert.Error(t, try.Err(), "nothing of it is left")
	})
}

func TestAStreamIsGivenAsItComes(t *testing.T) {
	t.Parallel()
	service := apitest.Start(t, apitest.Settings{})
	product := service.Product(t, 1)
	api, err := sdk.New(service.URL)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := api.WatchStock(ctx, product.ID, nil)
	require.NoError(t, err)
	defer func() { assert.NoError(t, resp.Body.Close()) }()
	_, err = io.ReadFull(resp.Body, make([]byte, 1))
	assert.NoError(t, err)
}

func TestHoldKeyNeedsProducts(t *testing.T) {
	t.Parallel()
	for _, products := range [][]client.ProductID{nil, {"hold_01kjma0fm0ek0tz2p1tewg37hq"}, {"prod_01kjma0fm0ek0tz2p1tewg37hq", ""}} {
		_, err := sdk.HoldKey(products...)
		assert.Error(t, err)
	}
}
