package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/signer-api.json anew")

// document is the parts of OpenAPI 3.1 that the tests read.
type document struct {
	OpenAPI    string                          `json:"openapi"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components struct {
		Schemas   map[string]any      `json:"schemas"`
		Responses map[string]response `json:"responses"`
	} `json:"components"`
}

type operation struct {
	OperationID string `json:"operationId"`
	Security    []map[string][]string
	RequestBody *struct {
		Content map[string]media
	} `json:"requestBody"`
	Responses map[string]response
}

type response struct {
	Ref         string `json:"$ref"`
	Description string
	Content     map[string]media
}

// resolve follows a response's reference.
func (d document) resolve(r response) response {
	if name, ok := strings.CutPrefix(r.Ref, "#/components/responses/"); ok {
		return d.Components.Responses[name]
	}
	return r
}

type media struct {
	Schema  any
	Example any
}

func readDocument(t testing.TB) (d document) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(openAPI))
	dec.UseNumber()
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOpenAPI: every route is in the document and no other, docs has the same
// file, and its examples are valid by its schemas.
func TestOpenAPI(t *testing.T) {
	const docs = "../../docs/signer-api.json"
	if *update {
		if err := os.WriteFile(docs, openAPI, 0o644); err != nil { // #nosec G306 -- a document
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(docs); err != nil || !bytes.Equal(b, openAPI) {
		t.Errorf("%s is another file (%v); go test ./signer/api -run TestOpenAPI -update", docs, err)
	}
	d := readDocument(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %q", d.OpenAPI)
	}
	h := newHouse(t, nil)
	if got := h.send(t, http.MethodGet, "/openapi.json", "", ""); got.status != 200 || got.body != string(openAPI) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("served: %d, %d bytes", got.status, len(got.body))
	}
	documented := 0
	for _, methods := range d.Paths {
		documented += len(methods)
	}
	routes := h.Routes()
	if documented != len(routes) {
		t.Errorf("%d operations, %d routes", documented, len(routes))
	}
	for _, r := range routes {
		o, ok := d.Paths[r.Path][strings.ToLower(r.Method)]
		if !ok || o.OperationID != r.Name || (o.RequestBody != nil) != (r.MaxBody > 0) {
			t.Errorf("%s %s is not documented as %s", r.Method, r.Path, r.Name)
			continue
		}
		if o.RequestBody != nil {
			d.example(t, r.Name+" request", o.RequestBody.Content["application/json"])
		}
		for status, response := range o.Responses {
			response = d.resolve(response)
			if response.Description == "" {
				t.Errorf("%s %s has no description", r.Name, status)
			}
			if m, ok := response.Content["application/json"]; ok && m.Example != nil {
				d.example(t, r.Name+" "+status, m)
			}
		}
	}
}

func (d document) example(t *testing.T, name string, m media) {
	t.Helper()
	if err := d.valid(m.Schema, m.Example); err != nil {
		t.Errorf("%s: example: %v", name, err)
	}
}

// TestOpenAPI_Answers: what the API really answers is documented, statuses and
// shapes, for good requests and bad ones on every route.
func TestOpenAPI_Answers(t *testing.T) {
	d := readDocument(t)
	h := newHouse(t, func(_ *house, m []Module, c *Config) { m[0].Legacy = true; c.FailLimit = 0 })
	b, e := h.proxy(t, "MOD_A", false).String(), h.proxy(t, "MOD_A", true).String()
	bodies := map[string]string{
		pathLegacy: `{"type":"consensus","pubkey":"` + keyOne + `","object_root":"` + vectorRoot + `"}`, blsPath: signBody("pubkey", keyOne, 1, 1),
		proxyBLSPath: signBody("proxy", b, 1, 1), proxyECDSAPath: signBody("proxy", e, 1, 1), pathGenerate: `{"pubkey":"` + keyOne + `","scheme":"bls"}`,
		pathIntents: h.intentBody(e, "x", nil), pathReload: `{}`, pathRevoke: `{"module_id":"MOD_B"}`, pathProxy: `{"proxy":"` + h.proxy(t, "MOD_B", true).String() + `"}`, pathPubkeys: "", pathStatus: "", pathOpenAPI: "",
	}
	for _, r := range h.Routes() {
		good, ok := bodies[r.Path]
		if !ok {
			t.Fatalf("no body for %s", r.Path)
		}
		module, secret := "MOD_A", secretA
		if r.Path == pathReload || r.Path == pathRevoke || r.Path == pathProxy {
			module, secret = "", secretAdmin
		}
		try := []reply{
			h.send(t, r.Method, r.Path, good, h.moduleToken(module, secret, r.Path, good), "Accept", "application/json"),
			h.send(t, r.Method, r.Path, good, "", "Accept", "application/json"),
			h.send(t, r.Method, r.Path, good, h.moduleToken(module, "x", r.Path, good), "Accept", "application/json"),
			h.send(t, r.Method, r.Path, good, "", "Origin", "http://x"),
		}
		if r.MaxBody > 0 {
			large := `{"x":"` + strings.Repeat("x", r.MaxBody) + `"}`
			for _, body := range []string{`{}`, `[`, large, strings.Replace(good, `"nonce":1`, `"nonce":1,"x":1`, 1), strings.Replace(good, keyOne, "0x"+strings.Repeat("11", 48), 1), strings.Replace(good, "0x01", "0x02", 1), strings.Replace(good, "MOD_B", "MOD_X", 1)} {
				try = append(try, h.send(t, r.Method, r.Path, body, h.moduleToken(module, secret, r.Path, body), "Accept", "application/json"))
			}
			try = append(try, h.send(t, r.Method, r.Path, good, h.moduleToken(module, secret, r.Path, good), "Accept", "application/json", "Content-Type", "text/plain"))
		}
		if try[0].status != 200 {
			t.Errorf("%s: %d %s", r.Name, try[0].status, try[0].body)
		}
		o := d.Paths[r.Path][strings.ToLower(r.Method)]
		for _, got := range try {
			response, ok := o.Responses[strconv.Itoa(got.status)]
			if !ok {
				t.Errorf("%s answers %d %s, which is not documented", r.Name, got.status, got.body)
				continue
			}
			if response = d.resolve(response); got.body == "" {
				continue
			}
			var value any
			dec := json.NewDecoder(strings.NewReader(got.body))
			dec.UseNumber()
			if err := dec.Decode(&value); err != nil {
				t.Errorf("%s %d: %v: %s", r.Name, got.status, err, got.body)
			} else if err := d.valid(response.Content["application/json"].Schema, value); err != nil {
				t.Errorf("%s %d: %v: %s", r.Name, got.status, err, got.body)
			}
		}
	}
}

// valid checks a value by the part of JSON Schema that the document uses.
func (d document) valid(schema, value any) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("no schema: %v", schema)
	}
	if ref, ok := s["$ref"].(string); ok {
		return d.valid(d.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")], value)
	}
	if one, ok := s["oneOf"].([]any); ok {
		n := 0
		for _, x := range one {
			if d.valid(x, value) == nil {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d of the alternatives hold", n)
		}
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%v is not one of %v", value, enum)
	}
	switch v := value.(type) {
	case map[string]any:
		return d.validObject(s, v)
	case []any:
		return d.validList(s, v)
	case string:
		return validText(s, v)
	case json.Number:
		return validNumber(s, v)
	}
	return fmt.Errorf("a value of no type in use: %v", value)
}

func (d document) validObject(s, v map[string]any) error {
	if t := s["type"]; t != nil && t != "object" {
		return fmt.Errorf("an object, want %v", t)
	}
	required, _ := s["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s is missing", name)
		}
	}
	properties, _ := s["properties"].(map[string]any)
	for name, x := range v {
		p, ok := properties[name]
		if !ok && s["additionalProperties"] == false {
			return fmt.Errorf("%s is unknown", name)
		}
		if !ok {
			continue
		}
		if err := d.valid(p, x); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (d document) validList(s map[string]any, v []any) error {
	if s["type"] != "array" {
		return fmt.Errorf("a list, want %v", s["type"])
	}
	for _, x := range v {
		if err := d.valid(s["items"], x); err != nil {
			return err
		}
	}
	return nil
}

func validText(s map[string]any, v string) error {
	if t := s["type"]; t != nil && t != "string" {
		return fmt.Errorf("a string, want %v", t)
	}
	p, _ := s["pattern"].(string)
	if ok, err := regexp.MatchString(strings.ReplaceAll(p, "{1,65536}", "+"), v); err != nil || !ok {
		return fmt.Errorf("%q is not %s (%v)", v, p, err)
	}
	return nil
}

func validNumber(s map[string]any, v json.Number) error {
	n, ok := new(big.Int).SetString(v.String(), 10)
	if s["type"] != "integer" || !ok {
		return fmt.Errorf("%s, want %v", v, s["type"])
	}
	for bound, wrong := range map[string]int{"minimum": -1, "maximum": 1} {
		if b, ok := s[bound].(json.Number); ok {
			limit, _ := new(big.Int).SetString(b.String(), 10)
			if n.Cmp(limit) == wrong {
				return fmt.Errorf("%s, %s %s", v, bound, b)
			}
		}
	}
	return nil
}
