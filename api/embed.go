// Package api holds the HTTP contract, which the server and the client are
// generated from.
package api

import _ "embed"

// Spec is the OpenAPI document of the HTTP API, in YAML.
//
//go:embed openapi.yaml
var Spec []byte
