package api

import (
	"context"
	_ "embed"

	"sidecar/internal/httpd"
)

// openAPI describes the API. docs/signer-api.json is the same file.
//
//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(context.Context, httpd.Request) (httpd.Response, error) {
	return httpd.Response{ContentType: "application/json", Body: openAPI}, nil
}
