package httpapi

import (
	"context"

	"github.com/flashsale-api/flashsale/gen/server"
	"github.com/flashsale-api/flashsale/internal/action"
	"github.com/flashsale-api/flashsale/internal/sale"
)

// CreateWebhookEndpoint answers POST /api/webhook-endpoints.
func (h *handlers) CreateWebhookEndpoint(ctx context.Context, request server.CreateWebhookEndpointRequestObject) (server.CreateWebhookEndpointResponseObject, error) {
	in := action.CreateEndpointInput{Key: value(request.Params.IdempotencyKey), URL: request.Body.URL}
	for _, name := range request.Body.Types {
		in.Types = append(in.Types, sale.EventType(name))
	}
	result, err := h.Actions.CreateEndpoint.Do(ctx, in)
	if err != nil {
		return nil, err
	}
	endpoint := secretBody(result.Value)
	return server.CreateWebhookEndpoint201JSONResponse{
		Body: endpoint,
		Headers: server.CreateWebhookEndpoint201ResponseHeaders{
			Location:           "/api/webhook-endpoints/" + endpoint.ID,
			IdempotentReplayed: replayed(result.Replayed),
		},
	}, nil
}

// ListWebhookEndpoints answers GET /api/webhook-endpoints.
func (h *handlers) ListWebhookEndpoints(ctx context.Context, request server.ListWebhookEndpointsRequestObject) (server.ListWebhookEndpointsResponseObject, error) {
	var after sale.EndpointID
	if request.Params.Cursor != nil {
		id, err := readCursor(*request.Params.Cursor, sale.ParseEndpointID)
		if err != nil {
			return nil, err
		}
		after = id
	}
	page, err := h.Actions.ListEndpoints.Do(ctx, limitOf(request.Params.Limit), after)
	if err != nil {
		return nil, err
	}
	body := server.ListWebhookEndpoints200JSONResponse{Data: make([]server.WebhookEndpoint, len(page.Endpoints))}
	for i, endpoint := range page.Endpoints {
		body.Data[i] = endpointBody(endpoint)
	}
	if page.Next != nil {
		body.NextCursor = new(writeCursor(page.Next.String()))
	}
	return body, nil
}

// GetWebhookEndpoint answers GET /api/webhook-endpoints/{endpoint_id}.
func (h *handlers) GetWebhookEndpoint(ctx context.Context, request server.GetWebhookEndpointRequestObject) (server.GetWebhookEndpointResponseObject, error) {
	id, err := endpointID(request.EndpointID)
	if err != nil {
		return nil, err
	}
	endpoint, err := h.Actions.GetEndpoint.Do(ctx, id)
	if err != nil {
		return nil, err
	}
	return server.GetWebhookEndpoint200JSONResponse(endpointBody(endpoint)), nil
}

// DeleteWebhookEndpoint answers DELETE /api/webhook-endpoints/{endpoint_id}.
func (h *handlers) DeleteWebhookEndpoint(ctx context.Context, request server.DeleteWebhookEndpointRequestObject) (server.DeleteWebhookEndpointResponseObject, error) {
	id, err := endpointID(request.EndpointID)
	if err != nil {
		return nil, err
	}
	if err := h.Actions.DeleteEndpoint.Do(ctx, id); err != nil {
		return nil, err
	}
	return server.DeleteWebhookEndpoint204Response{}, nil
}

// RotateWebhookSecret answers POST /api/webhook-endpoints/{endpoint_id}/rotate-secret.
func (h *handlers) RotateWebhookSecret(ctx context.Context, request server.RotateWebhookSecretRequestObject) (server.RotateWebhookSecretResponseObject, error) {
	id, err := endpointID(request.EndpointID)
	if err != nil {
		return nil, err
	}
	result, err := h.Actions.RotateSecret.Do(ctx, action.RotateSecretInput{Key: value(request.Params.IdempotencyKey), ID: id})
	if err != nil {
		return nil, err
	}
	return server.RotateWebhookSecret200JSONResponse{
		Body:    secretBody(result.Value),
		Headers: server.RotateWebhookSecret200ResponseHeaders{IdempotentReplayed: replayed(result.Replayed)},
	}, nil
}

func endpointID(text string) (sale.EndpointID, error) {
	id, err := sale.ParseEndpointID(text)
	if err != nil {
		return id, sale.Invalid("/path/endpoint_id", "must be the id of a webhook endpoint")
	}
	return id, nil
}

// secretBody is an endpoint in the answer that made its secret.
func secretBody(view action.EndpointView) server.WebhookEndpoint {
	body := endpointBody(view.Endpoint)
	body.Secret = optional(view.Secret)
	return body
}

func endpointBody(endpoint sale.Endpoint) server.WebhookEndpoint {
	body := server.WebhookEndpoint{
		ID:                      endpoint.ID.String(),
		URL:                     endpoint.URL,
		Types:                   make([]server.EventType, len(endpoint.Types)),
		Status:                  server.WebhookEndpointStatusEnabled,
		DisabledReason:          optional(endpoint.DisabledReason),
		DisabledAt:              utc(endpoint.DisabledAt),
		FailingSince:            utc(endpoint.FailingSince),
		PreviousSecretExpiresAt: utc(endpoint.PreviousUntil),
		CreatedAt:               endpoint.CreatedAt.UTC(),
	}
	for i, name := range endpoint.Types {
		body.Types[i] = server.EventType(name)
	}
	if endpoint.DisabledAt != nil {
		body.Status = server.WebhookEndpointStatusDisabled
	}
	return body
}
