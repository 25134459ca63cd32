package gateway

import (
	"context"
	_ "embed"
	"net/http"

	"sidecar/internal/httpd"
)

// openAPI and openRPC describe the API. docs/gateway-api.json and
// docs/gateway-rpc.json are the same files.
var (
	//go:embed openapi.json
	openAPI []byte
	//go:embed openrpc.json
	openRPC []byte
)

// describeRoutes serve the descriptions.
func (g *Gateway) describeRoutes() []httpd.Route {
	route := func(name string, text []byte) httpd.Route {
		return httpd.Route{Name: name, Method: http.MethodGet, Path: "/" + name + ".json", Timeout: requestTimeout,
			Serve: g.limited(false, func(context.Context, httpd.Request) (httpd.Response, error) {
				return httpd.Response{ContentType: "application/json", Body: text}, nil
			})}
	}
	return []httpd.Route{route("openapi", openAPI), route("openrpc", openRPC)}
}
