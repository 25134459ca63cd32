package moduletest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sidecar/modules/remote"
)

// Wire are the checks of a module's HTTP side that a client which keeps to the
// schema never notices.
func Wire(url string, secret remote.Secret) []Check {
	w := wire{strings.TrimRight(url, "/"), secret}
	ask := `{"versions":[1]}`
	of := func(name, method, path, token, media, body string, want ...int) Check {
		return Check{Name: "wire/" + name, Run: func(ctx context.Context) error { return w.wants(ctx, method, path, token, media, body, want) }}
	}
	const info, media = "/module/v1/info", "application/json"
	token := string(secret)
	return []Check{
		{Name: "wire/info", Run: w.info},
		of("no_secret", http.MethodPost, info, "", media, ask, 401, 403),
		of("wrong_secret", http.MethodPost, info, "not "+token, media, ask, 401, 403),
		of("secret_before_body", http.MethodPost, "/module/v1/commit", "", media, "{", 401, 403),
		of("unknown_field", http.MethodPost, info, token, media, `{"versions":[1],"added_later":{"x":1}}`, 200),
		of("newer_sidecar", http.MethodPost, info, token, media, `{"versions":[9,1]}`, 200),
		of("no_common_version", http.MethodPost, info, token, media, `{"versions":[9]}`, 400),
		of("malformed", http.MethodPost, "/module/v1/slot", token, media, "{", 400),
		of("not_an_object", http.MethodPost, "/module/v1/commit", token, media, "[1]", 400),
		of("media_type", http.MethodPost, info, token, "text/plain", ask, 415),
		of("get", http.MethodGet, info, token, "", "", 404, 405),
		of("other_path", http.MethodPost, "/module/v1/other", token, media, ask, 404),
		{Name: "wire/events", Run: w.events},
	}
}

type wire struct {
	url    string
	secret remote.Secret
}

func (w wire) do(ctx context.Context, method, path, token, media, body string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(text), err
}

func (w wire) wants(ctx context.Context, method, path, token, media, body string, want []int) error {
	status, text, err := w.do(ctx, method, path, token, media, body)
	if err != nil {
		return err
	}
	for _, s := range want {
		if status == s {
			return nil
		}
	}
	return fmt.Errorf("%s %s: status %d, want %v: %.200s", method, path, status, want, text)
}

// info wants exactly the fields of the schema.
func (w wire) info(ctx context.Context) error {
	status, text, err := w.do(ctx, http.MethodPost, "/module/v1/info", string(w.secret), "application/json", `{"versions":[1]}`)
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("info: status %d, %w: %.200s", status, err, text)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return err
	}
	var p problems
	for _, name := range []string{"version", "id", "commitment_types", "constraint_types"} {
		if _, ok := fields[name]; !ok {
			p.addf("info lacks %s: %s", name, text)
		}
		delete(fields, name)
	}
	for name := range fields {
		p.addf("info has a field %s, which the sidecar refuses", name)
	}
	return p.err()
}
